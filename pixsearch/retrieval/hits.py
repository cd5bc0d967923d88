"""From the nearest vectors to the nearest documents: folding, order and ties, for every engine."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

# Scores are rounded before they are compared: engines sum in another order for large batches, and
# the order of near-equal hits must not depend on what else is asked in the same call.
SCORE_DECIMALS = 5
SPARE_VECTORS = 1  # fetched beyond those that are needed, to see whether the last one is tied
MISS = -1  # in the place of a row: nothing more was found

Fetch = Callable[
    [Float32[np.ndarray, "num dimension"], int],
    tuple[Float32[np.ndarray, "num fetched"], Int64[np.ndarray, "num fetched"]],
]
"""An engine: queries and how many vectors to fetch for each -> scores, best first, and the rows of
the documents that the vectors belong to. A row may come several times; `MISS` stands at the end."""


class Hit(NamedTuple):
    """A document that was found.

    Hundreds are made in a call: a named tuple is as safe as a frozen dataclass and takes a fifth of
    the time.

    Attributes:
        row: its place in the knowledge base.
        score: cosine similarity (of its best image), BM25's score, or what a fusion gives.
    """

    row: int
    score: float


_new_hit = partial(tuple.__new__, Hit)  # what Hit(row, score) comes to, in half the time


@dataclass(frozen=True, kw_only=True)
class VectorCounts:
    """What an engine holds.

    Attributes:
        total: vectors.
        most_per_document: of one document.
        most_fetched: that it can fetch for a query, `total` where it has no limit.
    """

    total: int
    most_per_document: int
    most_fetched: int


def search_documents(
    fetch: Fetch, vectors: Float32[np.ndarray, "num dimension"], k: int, counts: VectorCounts
) -> list[list[Hit]]:
    """At most k documents for each vector, best first; fewer if there are none, or ANN missed.

    Several vectors of one document fold into one hit, its best. Documents with the same score come
    in the order of the knowledge base. A zero vector (a text without words) is near to nothing: no
    hits. What is found for a query does not depend on the others.

    Raises:
        ValueError: a vector that is not finite.
    """
    assert k > 0
    hits: list[list[Hit]] = [[] for _ in vectors]
    open_queries = _queries_with_words(vectors)
    limit = min(max(k, counts.most_fetched), counts.total)
    fetched = min(k * min(counts.most_per_document, 2) + SPARE_VECTORS, limit)
    while len(open_queries):
        asked = vectors if len(open_queries) == len(vectors) else vectors[open_queries]
        scores, rows = fetch(asked, fetched)
        best_scores, best_rows = best_documents(scores, rows, k, folds=counts.most_per_document > 1)
        for query, found in zip(
            open_queries.tolist(), as_hits(best_scores, best_rows), strict=True
        ):
            hits[query] = found
        if fetched == limit:
            break
        # Queries that are decided are not asked again: an approximate index finds more the more it
        # is asked for, and what it finds must not hang on the other queries.
        open_queries = open_queries[_is_open(scores, rows, best_scores, k)]
        fetched = min(2 * fetched, limit)
    return hits


def best_documents(
    scores: Float32[np.ndarray, "num fetched"],
    rows: Int64[np.ndarray, "num fetched"],
    k: int,
    *,
    folds: bool,
) -> tuple[Float64[np.ndarray, "num best"], Int64[np.ndarray, "num best"]]:
    """The k best documents of each query, with scores rounded; filled up with -inf and `MISS`.

    Args:
        folds: a row may come several times; the best of its scores counts.
    """
    rounded = np.round(scores.astype(np.float64), SCORE_DECIMALS)
    rounded[rows == MISS] = -np.inf
    if not (rounded[:, :-1] > rounded[:, 1:]).all():
        order = np.lexsort((rows, -rounded), axis=1)
        rounded, rows = _reordered(order, rounded, rows)
    if folds:
        is_again = _comes_again(rows)
        rounded, rows = np.where(is_again, -np.inf, rounded), np.where(is_again, MISS, rows)
        rounded, rows = _reordered(np.argsort(is_again, axis=1, kind="stable"), rounded, rows)
    return rounded[:, :k], rows[:, :k]


def as_hits(
    scores: Float64[np.ndarray, "num best"], rows: Int64[np.ndarray, "num best"]
) -> list[list[Hit]]:
    """Records of what `best_documents` gave, without the misses."""
    counts = (rows != MISS).sum(axis=1).tolist()
    return [
        list(map(_new_hit, zip(of_rows[:count], of_scores, strict=False)))
        for of_rows, of_scores, count in zip(rows.tolist(), scores.tolist(), counts, strict=True)
    ]


def refuse_not_finite(vectors: Float32[np.ndarray, "num dimension"], *, what: str) -> None:
    """Raises ValueError if a vector holds NaN or infinity."""
    is_finite = np.isfinite(vectors)
    if not is_finite.all():
        number = int(np.argmin(is_finite.all(axis=1)))
        raise ValueError(f"{what} (number {number}) is not finite: check the encoder's weights")


def refuse_dimension(vectors: Float32[np.ndarray, "num dimension"], dimension: int) -> None:
    """Raises ValueError if queries have another number of dimensions than the index."""
    if vectors.shape[1] != dimension:
        raise ValueError(
            f"a query has {vectors.shape[1]} dimensions, the index {dimension}: "
            "encode queries as the documents were"
        )


def _queries_with_words(
    vectors: Float32[np.ndarray, "num dimension"],
) -> Int64[np.ndarray, " num_with_words"]:
    """Places of the vectors that are not zero; all are seen to be finite."""
    squares = np.vecdot(vectors, vectors)
    if (np.isfinite(squares) & (squares > 0)).all():  # one pass; the exact question takes three
        return np.arange(len(vectors))
    refuse_not_finite(vectors, what="a query's vector")
    return np.flatnonzero(vectors.any(axis=1))


def _reordered(
    order: Int64[np.ndarray, "num fetched"], *arrays: Shaped[np.ndarray, "num fetched"]
) -> list[np.ndarray]:
    return [np.take_along_axis(array, order, axis=1) for array in arrays]


def _is_open(
    scores: Float32[np.ndarray, "num fetched"],
    rows: Int64[np.ndarray, "num fetched"],
    best_scores: Float64[np.ndarray, "num best"],
    k: int,
) -> Bool[np.ndarray, " num"]:
    """Whether vectors that were not fetched could change a query's hits.

    That is so unless the engine has no more to give, or there are k documents, all of them better
    than the last vector that came: the engine keeps any of several equal ones, which of them come
    first is the knowledge base's say.
    """
    last = np.round(scores[:, -1].astype(np.float64), SCORE_DECIMALS)
    assert best_scores.shape[1] == k
    return (rows[:, -1] != MISS) & (best_scores[:, -1] <= last)


def _comes_again(rows: Int64[np.ndarray, "num fetched"]) -> Bool[np.ndarray, "num fetched"]:
    """Whether the same row stands further left."""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, 1)
    is_again = np.zeros(rows.shape, dtype=bool)
    np.put_along_axis(is_again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
    return is_again
