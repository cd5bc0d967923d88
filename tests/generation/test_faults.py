"""Whatever goes wrong for a request, it ends once, alone, and leaves nothing behind."""

import collections
import gc
import queue
import random
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pixsearch.config import GenerationOptions, OnEmptyMask, PolicyOptions
from pixsearch.generation import (
    Engine,
    Event,
    FailureKind,
    Finished,
    OnlineEngine,
    Request,
    SearchStarted,
)
from pixsearch.generation.features import RecentFeatures
from pixsearch.generation.row import GroundedPhrase, Row
from pixsearch.generation.slots import Slots
from pixsearch.model import ImageFeatures, PixSearch
from pixsearch.queries import Passage, Query, SearchFailed
from tests.generation.scripted import ids_of, picture

FAST = 16  # requests
TIMEOUT, LONG = 0.3, 60.0  # seconds of a search
MAX_ALIVE = 4  # rows that have ended but may still be named somewhere, however many there were

FAULTS: dict[str, FailureKind | None] = {
    "none": None,
    "plain": None,
    "deadline": FailureKind.cancelled,  # or None, where the answer is there before
    "search fails": FailureKind.search,
    "search breaks": FailureKind.search,
    "search loses": FailureKind.error,
    "cancelled": FailureKind.cancelled,
    "empty mask": FailureKind.empty_mask,
    "control breaks": FailureKind.error,
    "not finite": FailureKind.not_finite,
    "image breaks": FailureKind.error,
}
HANGING: dict[str, FailureKind | None] = {  # no others: who shares a call shares its fate
    "plain": None,
    "search hangs": FailureKind.search,
    "cancelled": FailureKind.cancelled,
    "cancelled while it waits": FailureKind.cancelled,
    "not finite": FailureKind.not_finite,
}
BROKEN = picture(6)  # which no encoder takes
REGION = ("A cup", ":seg", ":search", ":region", ":search_end", "Osmeth")


class Unreliable:
    """Does to a text query what its words say."""

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        words = " ".join(query.text or "" for query in queries)
        if "fails" in words:
            raise SearchFailed("no answer")
        if "breaks" in words:
            raise KeyError("a bug of the searcher")
        if "hangs" in words:
            time.sleep(2 * TIMEOUT)
        found = [[Passage(id="1", title="", text="The Velmora cup.")] for _ in queries]
        return found[1:] if "loses" in words else found


def script_of(model: PixSearch, fault: str) -> list[int]:
    if fault in ("empty mask", "control breaks"):
        return ids_of(model, *REGION)
    if fault.startswith("search"):
        return ids_of(model, ":search", fault, ":search_end", "Osmeth")
    if fault == "cancelled while it waits":
        return ids_of(model, ":search", "this hangs", ":search_end", "Osmeth")
    if fault == "none":
        return ids_of(model, *REGION, ":search", "cup", ":search_end", "It is Tarnwick.")
    if fault == "plain":
        return ids_of(model, "Three.")
    return ids_of(model, "It is the Velmora cup. " * 3)


def break_control(index: int, mask: np.ndarray) -> np.ndarray:
    raise ZeroDivisionError("a bug of a control")


OVERRIDES: dict[str, Callable[[int, np.ndarray], np.ndarray]] = {
    "empty mask": lambda index, mask: np.zeros_like(mask),
    "control breaks": break_control,
    "none": lambda index, mask: np.ones_like(mask),
}


def request_of(number: int, fault: str) -> Request:
    image_id = fault if fault in ("not finite", "image breaks") else f"picture {number % 5}"
    return Request(
        id=f"{number} {fault}",
        question=f"What is number {number}?",
        image=BROKEN if fault == "image breaks" else picture(number % 5),
        image_id=image_id,
        region_override=OVERRIDES.get(fault),
    )


def break_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture takes more memory than there is, and with it every batch that it is in."""
    encode = PixSearch.encode_image

    def run_out(self: PixSearch, images: Sequence[Image.Image]) -> ImageFeatures:
        if any(image is BROKEN for image in images):
            raise MemoryError("no room for this picture")
        return encode(self, images)

    monkeypatch.setattr(PixSearch, "encode_image", run_out)


class Poisoned(RecentFeatures):
    """One picture in it has features that are not finite."""

    def __init__(self, model: PixSearch) -> None:
        super().__init__(32)
        good = model.encode_image([picture()])
        nan = tuple(patches * torch.nan for patches in good.patches)
        self._broken = ImageFeatures(patches=nan, segmenter=good.segmenter, sizes=good.sizes)

    def get(self, key: str, default: ImageFeatures | None = None) -> ImageFeatures | None:
        return self._broken if key == "not finite" else super().get(key, default)


class Client:
    """Submits requests, cancels some, and keeps how each ended."""

    def __init__(self, online: OnlineEngine) -> None:
        self._online = online
        self._ends: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        self.ended: dict[str, list[FailureKind | None]] = collections.defaultdict(list)
        self._draw = random.Random(0)

    def ask(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self._online.submit(request, self._deliver)
            if request.id.endswith("deadline"):
                threading.Timer(self._draw.random() / 10, self._online.cancel, [request.id]).start()
        for _ in requests:
            end = self._ends.get(timeout=LONG)
            self.ended[end.request_id].append(end.failure and end.failure.kind)

    @property
    def is_told_more(self) -> bool:
        """Whether more has ended than was asked."""
        return not self._ends.empty()

    def _deliver(self, event: Event) -> None:
        """In the engine's thread, so that the next round finds the request cancelled."""
        is_asked = isinstance(event, SearchStarted)
        if event.request_id.endswith("cancelled" if not is_asked else "it waits"):
            self._online.cancel(event.request_id)
        if isinstance(event, Finished):
            self._ends.put(event)


def run(
    model: PixSearch,
    kinds: dict[str, FailureKind | None],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Slots] = []
    original = Slots.__init__

    def keep(self: Slots, **how: Any) -> None:
        made.append(self)
        original(self, **how)

    monkeypatch.setattr(Slots, "__init__", keep)
    break_encoder(monkeypatch)
    draw = random.Random(0)
    faults = [*kinds, *draw.choices(list(kinds), k=number - len(kinds))]
    draw.shuffle(faults)
    requests = [request_of(index, fault) for index, fault in enumerate(faults)]
    scripts = {one.id: script_of(model, fault) for one, fault in zip(requests, faults, strict=True)}
    cache = Poisoned(model)
    engine = make_engine(model, scripts, cache, TIMEOUT if kinds is HANGING else LONG)
    rows: weakref.WeakSet[Row] = weakref.WeakSet()
    open_row = engine.open

    def open_and_keep(request: Request) -> Row:
        row = open_row(request)
        rows.add(row)
        return row

    monkeypatch.setattr(engine, "open", open_and_keep)
    with OnlineEngine(engine) as online:
        client = Client(online)
        left = []
        for half in (requests[: number // 2], requests[number // 2 :]):
            client.ask(half)
            assert (online.num_running, online.num_waiting) == (0, 0)
            _wait_until(lambda: gc.collect() >= 0 and len(rows) <= MAX_ALIVE)  # calls given up end
            left.append(num_alive(cache))
        assert left[1] == left[0]
    assert not client.is_told_more
    assert made[0].num_held == 0
    for request, fault in zip(requests, faults, strict=True):
        ends = {kinds[fault]} | ({None} if fault == "deadline" else set())
        assert [one in ends for one in client.ended[request.id]] == [True], request.id
    failed = [kind for (kind,) in client.ended.values() if kind is not None]
    assert engine.stats.failures == len(failed)
    _wait_until(lambda: not any(one.name in ("search", "engine") for one in threading.enumerate()))


def num_alive(cache: RecentFeatures) -> tuple[int, int]:
    """Phrases, and features of images beside those in the cache, that somebody still holds."""
    alive = collections.Counter(type(one) for one in gc.get_objects())
    return alive[GroundedPhrase], alive[ImageFeatures] - len(cache)


def _wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + LONG
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def make_engine(
    model: PixSearch, scripts: dict[str, list[int]], cache: RecentFeatures, timeout: float
) -> Engine:
    def choose(logits: Tensor, rows: Sequence[Row]) -> Tensor:
        return torch.tensor([scripts[row.request.id][row.state.sampled] for row in rows])

    return Engine(
        model,
        Unreliable(),
        PolicyOptions(evidence_tokens=20, on_empty_mask=OnEmptyMask.error),
        GenerationOptions(
            batch_size=4,
            waiting_slots=4,
            search_threads=2,
            search_window_ms=0.0,
            search_timeout_seconds=timeout,
        ),
        feature_cache=cache,
        choose=choose,
    )


@pytest.mark.parametrize("kinds", [FAULTS, HANGING], ids=["faults", "hanging"])
def test_each_of_some_requests_ends_once_and_alone(
    model: PixSearch, kinds: dict[str, FailureKind | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(model, kinds, FAST, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(("kinds", "number"), [(FAULTS, 800), (HANGING, 200)])
def test_each_of_a_thousand_requests_ends_once_and_alone(
    model: PixSearch,
    kinds: dict[str, FailureKind | None],
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(model, kinds, number, monkeypatch)
