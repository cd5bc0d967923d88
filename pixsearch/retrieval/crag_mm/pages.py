"""CRAG-MM's web search: texts in, web pages out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from pixsearch.queries import Passage
from pixsearch.retrieval.crag_mm.collection import Collection, Row

WEB_COLLECTION = "web_search_embeddings"
CHUNK_MARK = "_chunk"  # ids are URL_chunk_NUMBER


@dataclass(frozen=True, kw_only=True)
class PageHit:
    """A web page by its best chunk.

    Attributes:
        id: of the chunk.
        score: the chunk's cosine similarity with the query.
        snippet: the search engine's words about the page; the chunk's own are not in the index.
    """

    id: str
    score: float
    name: str
    snippet: str
    url: str

    def passage(self) -> Passage:
        return Passage(
            id=self.url or self.id, title=self.name, text=page_text(self), score=self.score
        )


class WebSearch:
    """The collection of the chunks of web pages."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    def nearest(
        self, vectors: Float32[np.ndarray, "num dimension"], count: int
    ) -> list[list[PageHit]]:
        """The pages of the `count` nearest chunks, for each vector: fewer pages than chunks."""
        found = self.collection.nearest(vectors, count)
        return [[_hit(row) for row in _one_per_page(rows)] for rows in found]


def page_passages(hits: Sequence[PageHit], k: int) -> list[Passage]:
    """The first k pages of the hits."""
    return [hit.passage() for hit in hits[:k]]


def page_text(page: PageHit) -> str:
    """The page's name and its snippet as they are; the address if there is neither.

    >>> page = PageHit(id="a_chunk_0", score=0.9, name="Atomium", snippet="Built for Expo&nbsp;58",
    ...     url="https://atomium.example")
    >>> page_text(page)
    'Atomium\\nBuilt for Expo&nbsp;58'
    """
    return "\n".join(part for part in (page.name, page.snippet) if part) or page.url or page.id


def _one_per_page(rows: Sequence[Row]) -> list[Row]:
    """The best chunk of each page, best first; pages are told apart as the package does.

    It cuts the id at the first mark, so two pages whose addresses hold one may count as one.
    """
    best: dict[str, Row] = {}
    for row in rows:
        best.setdefault(row.id.split(CHUNK_MARK)[0], row)
    return sorted(best.values(), key=lambda row: row.score, reverse=True)


def _hit(row: Row) -> PageHit:
    return PageHit(
        id=row.id,
        score=row.score,
        name=_words(row.metadata, "page_name"),
        snippet=_words(row.metadata, "page_snippet"),
        url=_words(row.metadata, "page_url"),
    )


def _words(metadata: dict[str, Any], field: str) -> str:
    value = metadata.get(field)
    return value.strip() if isinstance(value, str) else ""
