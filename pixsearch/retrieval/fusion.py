"""One ranking of several, and the search of texts by vectors and by words together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from pixsearch.config import FusionOptions
from pixsearch.retrieval.hits import Hit
from pixsearch.retrieval.index import Index, TextIndex

# The order of summing changes the last digits, and must not order equal sums. Unequal ones differ
# by 1 / constant³ at least, which is why there are so many.
DECIMALS = 12


def fused(rankings: Sequence[Sequence[Hit]], k: int, *, constant: int) -> list[Hit]:
    """The k best by reciprocal rank fusion: 1 / (constant + rank), summed over the rankings.

    Ranks count from 1; scores within a ranking play no part, so that cosines and BM25 may meet.
    Equal ones come in the order of the knowledge base.

    >>> fused([[Hit(7, 0.9), Hit(3, 0.8)], [Hit(3, 12.0)]], 2, constant=60)
    [Hit(row=3, score=0.032522474881), Hit(row=7, score=0.016393442623)]
    """
    scores: dict[int, float] = {}
    for hits in rankings:
        for rank, hit in enumerate(hits, start=1):
            scores[hit.row] = scores.get(hit.row, 0.0) + 1 / (constant + rank)
    rounded = {row: round(score, DECIMALS) for row, score in scores.items()}
    ordered = sorted(rounded.items(), key=lambda item: (-item[1], item[0]))
    return [Hit(row=row, score=score) for row, score in ordered[:k]]


@dataclass(frozen=True, kw_only=True)
class HybridIndex:
    """Vectors and words together, each by its own index over the same documents."""

    dense: TextIndex
    words: Index
    options: FusionOptions

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """At most k documents for each query, best of both first."""
        depth = max(k, self.options.candidates)
        found = (index.search(queries, depth) for index in (self.dense, self.words))
        both = zip(*found, strict=True)
        return [fused(rankings, k, constant=self.options.constant) for rankings in both]

    def scores(
        self, queries: Sequence[str], rows: Sequence[Sequence[int]]
    ) -> list[Float64[np.ndarray, " num_rows"]]:
        """See `TextIndex`; by vectors alone, as two given documents have no rank."""
        return self.dense.scores(queries, rows)
