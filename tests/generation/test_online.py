"""What an engine tells on the way, and how it is used from several threads."""

import queue
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from pixsearch.config import (
    ForcedFirst,
    GenerationOptions,
    OnSearchFailure,
    PolicyOptions,
    QueryType,
    RegionCrop,
)
from pixsearch.generation import (
    Engine,
    Event,
    EvidenceEvent,
    FailureKind,
    Finished,
    MaskEvent,
    OnlineEngine,
    Request,
    SearchStarted,
    TokenEvent,
)
from pixsearch.generation.features import IMAGES_PER_BATCH
from pixsearch.generation.session import ROWS_PER_SLOT
from pixsearch.model import PixSearch
from pixsearch.queries import Passage, Query, SearchFailed, calls_at_a_time, search_under
from pixsearch.rendering import TokenKind
from pixsearch.retrieval.client import RemoteSearcher
from tests.generation.scripted import (
    QUESTION,
    RecordingSearch,
    Scripted,
    gib_of,
    ids_of,
    picture,
    run_script,
)

PARTS = ["The red cup", ":seg", ":search", ":region", ":search_end", "It is the Velmora."]
LONG = 60.0  # seconds that no test takes


class Gate(RecordingSearch):
    """A searcher that does not answer before it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.opened = threading.Event()

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        self.asked.set()
        assert self.opened.wait(LONG)
        return super().__call__(queries)


def make_engine(
    model: PixSearch, names: Sequence[str], search: RecordingSearch | None = None, **options
) -> Engine:
    script = ids_of(model, *PARTS)
    return Engine(
        model,
        search or RecordingSearch(),
        PolicyOptions(evidence_tokens=60),
        GenerationOptions(**options),
        choose=Scripted(dict.fromkeys(names, script)),
    )


def request(name: str) -> Request:
    return Request(id=name, question=QUESTION, image=picture())


def drain(events: queue.SimpleQueue[Event]) -> list[Event]:
    """All events of one request."""
    taken = [events.get(timeout=LONG)]
    while not isinstance(taken[-1], Finished):
        taken.append(events.get(timeout=LONG))
    return taken


def assert_tells_all(model: PixSearch, events: Sequence[Event]) -> None:
    trajectory = events[-1].result()
    tokens = [event for event in events if isinstance(event, TokenEvent)]
    assert [event.token for event in tokens] == ids_of(model, *PARTS)
    assert [event.in_query for event in tokens].count(True) == 3
    words = "".join(event.text for event in tokens)
    assert words.split() == trajectory.all_text.split()
    others = [event for event in events if not isinstance(event, TokenEvent)]
    mask, started, evidence, finished = others
    assert isinstance(mask, MaskEvent)
    assert mask.grounded.phrase == "The red cup"
    assert isinstance(started, SearchStarted)
    assert started.type is QueryType.region
    assert np.array_equal(started.mask, mask.grounded.mask)
    assert isinstance(evidence, EvidenceEvent)
    assert evidence.record is trajectory.searches[0]
    order = [events.index(one) for one in (mask, started, evidence, tokens[-2], finished)]
    assert order == sorted(order)
    assert finished is events[-1]


def test_a_stream_tells_all_that_happens(model: PixSearch) -> None:
    engine = make_engine(model, ["one", "two"])
    events = list(engine.stream(request(name) for name in ("one", "two")))
    for name in ("one", "two"):
        assert_tells_all(model, [event for event in events if event.request_id == name])


def test_requests_are_drawn_when_there_is_room(model: PixSearch) -> None:
    names = [str(number) for number in range(16)]
    drawn, most_ahead, ended = [], 0, 0

    def requests():
        for name in names:
            drawn.append(name)
            yield request(name)

    engine = make_engine(model, names, batch_size=2, waiting_slots=0)
    for _ in engine.finished(requests()):
        ended += 1
        most_ahead = max(most_ahead, len(drawn) - ended)
    assert ended == 16
    assert most_ahead <= 2 + 8  # in flight, and looked at for their images


def test_requests_come_from_any_thread(model: PixSearch) -> None:
    names = [str(number) for number in range(8)]
    taken: dict[str, list[Event]] = {}

    def ask(online: OnlineEngine, name: str) -> None:
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        online.submit(request(name), events.put)
        taken[name] = drain(events)

    with OnlineEngine(make_engine(model, names, batch_size=3)) as online:
        threads = [threading.Thread(target=ask, args=[online, name]) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert online.num_unfinished == online.num_waiting == 0
    for events in taken.values():
        assert_tells_all(model, events)


def test_who_waits_can_be_cancelled_and_frees_its_place(model: PixSearch) -> None:
    gate = Gate()
    engine = make_engine(model, ["one", "two"], gate, batch_size=1, waiting_slots=0)
    queues = {name: queue.SimpleQueue() for name in ("one", "two")}
    with OnlineEngine(engine) as online:
        for name, events in queues.items():
            online.submit(request(name), events.put)
        assert gate.asked.wait(LONG)
        online.cancel("one")
        online.cancel("nobody")
        failure = drain(queues["one"])[-1].failure
        assert failure.kind is FailureKind.cancelled
        assert failure.reason == "request one was cancelled"
        gate.opened.set()
        assert_tells_all(model, drain(queues["two"]))
        assert online.num_running == 0


@pytest.mark.parametrize("end", [FailureKind.search, FailureKind.cancelled])
def test_an_end_is_told_while_another_waits(model: PixSearch, end: FailureKind) -> None:
    """The searches of two are on their way, each in a call of its own; one of them ends."""
    asked = {text: threading.Event() for text in ("cup", "box")}
    ends, opened = threading.Event(), threading.Event()

    def search(queries: Sequence[Query]) -> list[list[Passage]]:
        (query,) = queries
        asked[query.text].set()
        assert (ends if query.text == "cup" else opened).wait(LONG)
        raise SearchFailed("no answer")

    engine = Engine(
        model,
        search,
        PolicyOptions(),
        GenerationOptions(search_threads=2, search_window_ms=0.0),
        choose=Scripted({text: ids_of(model, ":search", text, ":search_end") for text in asked}),
    )
    events = queue.SimpleQueue()
    with OnlineEngine(engine) as online:
        for text, is_asked in asked.items():
            online.submit(request(text), events.put if text == "cup" else lambda event: None)
            assert is_asked.wait(LONG)
        ends.set() if end is FailureKind.search else online.cancel("cup")
        assert drain(events)[-1].failure.kind is end
        assert online.num_unfinished == 1
        ends.set()
        opened.set()


def test_a_closed_engine_cancels_and_takes_nothing_more(model: PixSearch) -> None:
    gate = Gate()
    online = OnlineEngine(make_engine(model, ["one"], gate))
    events = queue.SimpleQueue()
    online.submit(request("one"), events.put)
    with pytest.raises(ValueError, match="request one: one with this id has not ended"):
        online.submit(request("one"), events.put)
    with pytest.raises(ValueError, match="request two: the question is empty"):
        online.submit(Request(id="two", question=" "), events.put)
    assert gate.asked.wait(LONG)
    gate.opened.set()
    online.close()
    assert drain(events)[-1].failure is None or events.empty()
    with pytest.raises(RuntimeError, match="answers no more"):
        online.submit(request("three"), events.put)


def test_an_error_of_the_engine_ends_all_and_is_told(
    model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(PixSearch, "language_states", run_out)
    events = queue.SimpleQueue()
    with OnlineEngine(make_engine(model, ["one"])) as online:
        online.submit(request("one"), events.put)
        failure = drain(events)[-1].failure
        assert (failure.kind, failure.reason) == (FailureKind.error, "out of memory")
        with pytest.raises(RuntimeError, match="out of memory"):
            online.submit(request("two"), events.put)


def test_a_listener_that_raises_ends_its_own_request_alone(model: PixSearch) -> None:
    def raise_error(event: Event) -> None:
        raise KeyError("a bug of a listener")

    names = ["broken", "one"]
    events = queue.SimpleQueue()
    with OnlineEngine(engine := make_engine(model, names)) as online:
        online.submit(request("broken"), raise_error)
        online.submit(request("one"), events.put)
        assert_tells_all(model, drain(events))
        assert online.error is None
    assert online.num_unfinished == 0
    assert engine.stats.failures == 1  # it was cancelled


def test_a_row_that_waits_holds_up_no_other(model: PixSearch) -> None:
    """While the only search hangs, a request without one is answered."""
    gate = Gate()
    script = {"one": ids_of(model, *PARTS), "two": ids_of(model, "There are three.")}
    engine = Engine(
        model,
        gate,
        PolicyOptions(evidence_tokens=60),
        GenerationOptions(batch_size=1),
        choose=Scripted(script),
    )
    order = []
    for finished in engine.finished([request("one"), request("two")]):
        order.append(finished.request_id)
        gate.opened.set()
    assert order == ["two", "one"]
    assert engine.stats.wait_seconds > 0
    assert engine.stats.evictions == 0


@pytest.mark.parametrize("is_short_of", ["slots", "memory"])
def test_more_rows_than_have_room_wait_and_hold_up_no_other(
    model: PixSearch, is_short_of: str
) -> None:
    """While all searches hang, a request without one is answered."""
    limits = {
        "slots": {"batch_size": 1, "waiting_slots": 1},
        "memory": {"max_length": 200, "cache_gib": gib_of(model, 200)},
    }
    gate = Gate()
    waiting = [str(number) for number in range(5)]
    script = dict.fromkeys(waiting, ids_of(model, *PARTS))
    engine = Engine(
        model,
        gate,
        PolicyOptions(evidence_tokens=60),
        GenerationOptions(
            keep_slot_seconds=0.05, search_timeout_seconds=10.0, **limits[is_short_of]
        ),
        choose=Scripted({**script, "plain": ids_of(model, "There are three.")}),
    )
    found = {}
    for finished in engine.finished([request(name) for name in (*waiting, "plain")]):
        found[finished.request_id] = finished.result()
        gate.opened.set()
    assert next(iter(found)) == "plain"
    expected = run_script(model, *PARTS, policy=PolicyOptions(evidence_tokens=60))
    for name in waiting:
        assert found[name].rendered.input_ids == expected.rendered.input_ids
    assert engine.stats.evictions > 0
    assert engine.stats.recomputed_tokens > 0


def test_no_more_are_drawn_than_some_while_all_wait(model: PixSearch) -> None:
    """Each holds features of its image, with a slot or without one."""
    gate, drawn = Gate(), []

    def requests() -> Iterator[Request]:
        for number in range(40):
            drawn.append(number)
            yield Request(id=str(number), question=QUESTION)

    engine = Engine(
        model,
        gate,
        PolicyOptions(forced_first=ForcedFirst.text_query),
        GenerationOptions(
            batch_size=1, waiting_slots=0, keep_slot_seconds=0.0, search_timeout_seconds=0.5
        ),
    )
    first = next(engine.finished(requests()))
    gate.opened.set()
    assert first.failure.kind is FailureKind.search
    assert ROWS_PER_SLOT < len(drawn) <= ROWS_PER_SLOT + IMAGES_PER_BATCH


class TwoCalls:
    """A searcher that takes two calls at a time; one about a cup hangs until it is let go."""

    calls_at_a_time = 2

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.opened = threading.Event()

    def search(
        self, queries: Sequence[Query], k: int, *, region_crop: RegionCrop
    ) -> list[list[Passage]]:
        if queries[0].text == "cup":
            self.asked.set()
            assert self.opened.wait(LONG)
        return [[] for _ in queries]


def test_a_call_that_hangs_holds_up_no_search_where_several_may_be_made(model: PixSearch) -> None:
    searcher = TwoCalls()
    scripts = {text: ids_of(model, ":search", text, ":search_end", "x") for text in ("cup", "box")}
    engine = Engine(
        model,
        search_under(PolicyOptions(), searcher),
        PolicyOptions(),
        GenerationOptions(search_window_ms=0.0, search_timeout_seconds=10.0),
        choose=Scripted(scripts),
    )
    events = queue.SimpleQueue()
    with OnlineEngine(engine) as online:
        online.submit(request("cup"), lambda event: None)
        assert searcher.asked.wait(LONG)
        online.submit(request("box"), events.put)
        assert drain(events)[-1].failure is None
        assert online.num_unfinished == 1
        searcher.opened.set()


def test_a_searcher_says_how_many_calls_it_takes() -> None:
    with RemoteSearcher("http://127.0.0.1:9") as remote:
        assert calls_at_a_time(search_under(PolicyOptions(), remote)) == 4
    assert calls_at_a_time(RecordingSearch()) == 1


def test_a_search_that_is_late_ends_its_row_by_the_policy(model: PixSearch) -> None:
    for action in (OnSearchFailure.error, OnSearchFailure.answer_without):
        gate = Gate()
        engine = Engine(
            model,
            gate,
            PolicyOptions(evidence_tokens=60, on_search_failure=action),
            GenerationOptions(search_timeout_seconds=0.2),
            choose=Scripted({"one": ids_of(model, *PARTS)}),
        )
        (finished,) = engine.finished([request("one")])
        gate.opened.set()
        late = r"no answer within generation.search_timeout_seconds=0.2"
        if action is OnSearchFailure.error:
            assert finished.failure.kind is FailureKind.search
            assert late in finished.failure.reason
        else:
            assert finished.trajectory.searches[0].failed == late.replace("\\", "")
            assert finished.trajectory.counts[TokenKind.EVIDENCE] == 2
