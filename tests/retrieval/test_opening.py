"""What the options put around a searcher."""

from dataclasses import replace

import pytest

from pixsearch.config import (
    FromDocument,
    RegionCrop,
    RerankerOptions,
    RetrievalOptions,
    RetrievalSource,
    TextSearch,
)
from pixsearch.queries import Passage, Query
from pixsearch.retrieval import opening
from pixsearch.retrieval.info import SourceInfo
from pixsearch.retrieval.opening import open_local

CRAG_MM = RetrievalOptions(source=RetrievalSource.crag_mm)


class Source:
    """Finds the words of a query in it, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def search(self, queries, k=5, *, region_crop=RegionCrop.masked_crop):
        self.asked += [query.text for query in queries]
        return [[Passage(id=query.text, title="", text="")] for query in queries]

    def info(self):
        return SourceInfo(manifests={}, corpus_sha256="0", num_documents=1, settings={})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text_search", TextSearch.hybrid),
        ("fuse_question", True),
        ("from_document", FromDocument.nearest),
        ("reranker", RerankerOptions(model="a")),
    ],
)
def test_what_crag_mm_would_leave_aside_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"crag_mm knows no retrieval\.{name}.*: leave it out"):
        replace(CRAG_MM, **{name: value})
    replace(CRAG_MM, **{name: value}, server="http://a")  # whose own options hold


def test_results_of_crag_mm_are_kept_as_those_of_an_index(monkeypatch):
    source = Source()
    monkeypatch.setattr(opening.CragMMSearcher, "open", lambda options: source)
    assert open_local(CRAG_MM) is source
    cached = open_local(replace(CRAG_MM, cache_entries=2))
    for texts in ("ab", "bb", "a"):
        found = cached.search([Query.of_text(text) for text in texts], k=1)
        assert [passages[0].id for passages in found] == list(texts)
    assert source.asked == ["a", "b"]
    assert cached.info() == source.info()
    with pytest.raises(ValueError, match="k=0"):
        cached.search([], k=0)
