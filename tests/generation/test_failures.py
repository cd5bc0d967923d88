"""A search that fails: the request ends, or goes on and says so (`policy.on_search_failure`)."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pixsearch.config import GenerationOptions, OnSearchFailure, PolicyOptions
from pixsearch.generation import Engine, EngineStats, Request
from pixsearch.generation.failures import Found, SearchUnderFailure
from pixsearch.model import PixSearch
from pixsearch.queries import Passage, Query, SearchFailed
from pixsearch.rendering import TokenKind
from tests.generation.scripted import QUESTION, RecordingSearch, Scripted, ids_of, picture

ANSWER_WITHOUT = PolicyOptions(on_search_failure=OnSearchFailure.answer_without)
RETRY = PolicyOptions(on_search_failure=OnSearchFailure.retry, search_retries=2)
ASKED = [Query.of_text(text) for text in ("one", "bad", "two")]


class Failing(RecordingSearch):
    """Fails while `failures` last, and for ever where a query is `bad`."""

    def __init__(self, failures: int = 0, *, is_temporary: bool = True) -> None:
        super().__init__()
        self.failures = failures
        self.is_temporary = is_temporary

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        found = super().__call__(queries)
        self.failures -= 1
        if self.failures >= 0 or any(query.text == "bad" for query in queries):
            raise SearchFailed("no answer", is_temporary=self.is_temporary, retry_after=3.0)
        return found


class Raising:
    """A searcher of somebody else, with errors of its own kinds."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        raise self._error


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited, in no time."""
    waited: list[float] = []
    monkeypatch.setattr("pixsearch.generation.failures.time.sleep", waited.append)
    return waited


def test_error_ends_the_request_and_says_what_else_there_is() -> None:
    search, stats = Failing(), EngineStats()
    with pytest.raises(
        SearchFailed, match=r"no answer; .*on_search_failure=error ends the request"
    ):
        SearchUnderFailure(search, PolicyOptions(), stats).find(ASKED)
    assert len(search.calls) == 1


def test_retry_asks_again_and_no_earlier_than_it_was_told(waits: list[float]) -> None:
    search, stats = Failing(failures=2), EngineStats()
    found = SearchUnderFailure(search, RETRY, stats).find(ASKED[:1])
    assert [len(one.passages) for one in found] == [1]
    assert (len(search.calls), waits) == (3, [3.0, 3.0])
    assert (stats.searches, stats.search_calls) == (3, 3)


@pytest.mark.parametrize(
    "error",
    [TimeoutError("late"), ConnectionError("reset"), KeyError("result"), RuntimeError("protocol")],
)
def test_the_policy_is_for_whatever_a_searcher_raises(error: Exception, waits: list[float]) -> None:
    search, words = Raising(error), f"the searcher raised {type(error).__name__}: {error}"
    (found,) = SearchUnderFailure(search, ANSWER_WITHOUT, EngineStats()).find(ASKED[:1])
    assert found.failed == words
    for policy, num_waits in ((PolicyOptions(), 0), (RETRY, 2)):
        waits.clear()
        with pytest.raises(SearchFailed) as failed:
            SearchUnderFailure(search, policy, EngineStats()).find(ASKED[:1])
        assert str(failed.value).startswith(words)
        assert len(waits) == num_waits


@pytest.mark.parametrize("error", [ValueError("no image index"), AssertionError("ours")])
def test_a_mistake_is_no_failed_search(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        SearchUnderFailure(Raising(error), ANSWER_WITHOUT, EngineStats()).find(ASKED[:1])


def test_retry_ends_after_so_many(waits: list[float]) -> None:
    search = Failing(failures=9)
    with pytest.raises(SearchFailed, match="answer_without goes on"):
        SearchUnderFailure(search, RETRY, EngineStats()).find(ASKED[:1])
    assert len(search.calls) == 3


def test_what_will_not_pass_is_not_asked_again(waits: list[float]) -> None:
    search = Failing(failures=1, is_temporary=False)
    with pytest.raises(SearchFailed):
        SearchUnderFailure(search, RETRY, EngineStats()).find(ASKED[:1])
    assert (len(search.calls), waits) == (1, [])


def test_one_bad_query_loses_no_other() -> None:
    search, stats = Failing(), EngineStats()
    found = SearchUnderFailure(search, ANSWER_WITHOUT, stats).find(ASKED)
    assert [one.failed for one in found] == [None, "no answer", None]
    assert [len(one.passages) for one in found] == [1, 0, 1]
    assert (stats.searches, stats.search_calls) == (6, 4)  # together, then each alone


def test_no_passages_are_no_failure() -> None:
    (found,) = SearchUnderFailure(lambda _: [[]], ANSWER_WITHOUT, EngineStats()).find(ASKED[:1])
    assert (found.passages, found.failed) == ((), None)


def test_queries_of_a_batch_that_was_retried_are_asked_once_more_alone(waits: list[float]) -> None:
    search = Failing(failures=99)
    found = SearchUnderFailure(search, RETRY, EngineStats()).find_each(ASKED)
    assert [type(one) for one in found] == [SearchFailed] * 3
    assert [len(call) for call in search.calls] == [3, 3, 3, 1, 1, 1]
    assert len(waits) == 2


def test_a_batch_that_will_not_pass_is_asked_query_by_query(waits: list[float]) -> None:
    search = Failing(is_temporary=False)
    found = SearchUnderFailure(search, RETRY, EngineStats()).find_each(ASKED)
    assert [isinstance(one, Found) for one in found] == [True, False, True]


@pytest.mark.parametrize("policy", [PolicyOptions(), RETRY, ANSWER_WITHOUT])
def test_nothing_is_asked_alone_when_nobody_waits_any_longer(
    policy: PolicyOptions, waits: list[float]
) -> None:
    search = Failing()
    found = SearchUnderFailure(search, policy, EngineStats()).find_each(ASKED, until=0.0)
    assert (len(found), len(search.calls), waits) == (3, 1, [])


def test_a_search_that_is_late_and_then_fails_counts_once(model: PixSearch) -> None:
    goes_on, failed = threading.Event(), threading.Event()

    def search(queries: Sequence[Query]) -> list[list[Passage]]:
        assert goes_on.wait(60)
        failed.set()
        raise SearchFailed("no answer")

    engine = Engine(
        model,
        search,
        ANSWER_WITHOUT,
        GenerationOptions(search_timeout_seconds=0.1),
        choose=Scripted({"one": ids_of(model, ":search", "cup", ":search_end", "Osmeth")}),
    )
    (late,) = engine.generate([Request(id="one", question=QUESTION)])
    goes_on.set()
    assert failed.wait(60)
    while any(thread.name == "search" for thread in threading.enumerate()):
        time.sleep(0.005)
    assert "search_timeout_seconds" in late.searches[0].failed
    assert engine.stats.failed_searches == 1


def test_an_answer_without_reads_empty_evidence_and_records_why(model: PixSearch) -> None:
    """Two rows search at the same step; the search of one fails."""
    words = {"good": "Where is Tarnwick", "lost": "bad"}
    script = {
        name: ids_of(model, ":search", text, ":search_end", "Osmeth")
        for name, text in words.items()
    }
    engine = Engine(
        model,
        Failing(),
        replace(ANSWER_WITHOUT, evidence_tokens=60),
        GenerationOptions(),
        choose=Scripted(script),
    )
    requests = [Request(id=name, question=QUESTION, image=picture()) for name in words]
    good, lost = engine.generate(requests)
    assert good.searches[0].failed is None
    assert good.searches[0].num_injected == 1
    assert (lost.searches[0].failed, lost.searches[0].passages) == ("no answer", ())
    kinds = zip(lost.rendered.input_ids, lost.rendered.token_kind, strict=True)
    evidence = [token for token, kind in kinds if kind is TokenKind.EVIDENCE]
    assert evidence == model.renderer.evidence_ids([], question=QUESTION)[0]
    assert lost.answer_text == good.answer_text
    assert engine.stats.as_dict()["failed_searches"] == 1
