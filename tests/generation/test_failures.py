"""A search that fails: the run ends, or goes on and says so (`policy.on_search_failure`)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pixsearch.config import GenerationOptions, OnSearchFailure, PolicyOptions
from pixsearch.generation import Engine, EngineStats, Request
from pixsearch.generation.failures import SearchUnderFailure
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


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited, in no time."""
    waited: list[float] = []
    monkeypatch.setattr("pixsearch.generation.failures.time.sleep", waited.append)
    return waited


def test_error_ends_the_run_and_says_what_else_there_is() -> None:
    search, stats = Failing(), EngineStats()
    with pytest.raises(SearchFailed, match=r"no answer; .*on_search_failure=error ends the"):
        SearchUnderFailure(search, PolicyOptions(), stats).find(ASKED)
    assert len(search.calls) == 1


def test_retry_asks_again_and_no_earlier_than_it_was_told(waits: list[float]) -> None:
    search = Failing(failures=2)
    found = SearchUnderFailure(search, RETRY, EngineStats()).find(ASKED[:1])
    assert [len(one.passages) for one in found] == [1]
    assert (len(search.calls), waits) == (3, [3.0, 3.0])


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
    assert (stats.searches, stats.search_calls, stats.failed_searches) == (3, 1, 1)


def test_no_passages_are_no_failure() -> None:
    stats = EngineStats()
    (found,) = SearchUnderFailure(lambda _: [[]], ANSWER_WITHOUT, stats).find(ASKED[:1])
    assert (found.passages, found.failed, stats.failed_searches) == ((), None, 0)


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
