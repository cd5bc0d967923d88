"""How many of the nearest vectors an approximate index finds."""

from collections.abc import Callable

import faiss
import numpy as np
from jaxtyping import Float32, Int64

from pixsearch.retrieval.vectors import Vectors

NUM_RECALL_QUERIES = 1000
NUM_NEAREST = 10
CHUNK = 65_536  # vectors compared with all queries at a time

Nearest = Callable[
    [Float32[np.ndarray, "num_queries dimension"], int],
    tuple[Float32[np.ndarray, "num_queries k"], Int64[np.ndarray, "num_queries k"]],
]
"""Queries and k -> scores and places of what an index finds, as `faiss.Index.search` has it."""


def recall_at_10(nearest: Nearest, vectors: Vectors) -> float:
    """Share of the exact ten nearest that are found, over up to 1,000 held-out queries.

    The queries are those of `held_out_queries`: held out, yet where real queries lie.
    """
    queries = held_out_queries(vectors)
    k = min(NUM_NEAREST, len(vectors))
    exact, found = exact_nearest(queries, vectors, k), nearest(queries, k)[1]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(exact, found, strict=True)]
    return float(np.mean(shared) / k)


def held_out_queries(vectors: Vectors) -> Float32[np.ndarray, "num_queries dimension"]:
    """Documents' vectors, each with seeded noise of half its own length.

    A vector of zeros, of a text without a word, takes the mean length instead: a query of zeros
    finds nothing.
    """
    generator = np.random.default_rng(0)
    count = min(NUM_RECALL_QUERIES, len(vectors))
    chosen = generator.choice(len(vectors), count, replace=False, shuffle=False)
    noise = generator.standard_normal((count, vectors.dimension)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    documents = vectors.take(np.sort(chosen))
    lengths = np.linalg.norm(documents, axis=1, keepdims=True)
    return documents + 0.5 * np.where(lengths > 0, lengths, lengths.mean()) * noise


def exact_nearest(
    queries: Float32[np.ndarray, "num_queries dimension"], vectors: Vectors, k: int
) -> Int64[np.ndarray, "num_queries k"]:
    """Places of the k vectors with the largest inner product, a chunk of vectors at a time."""
    scores = np.empty((len(queries), 0), dtype=np.float32)
    places = np.empty((len(queries), 0), dtype=np.int64)
    start = 0
    for chunk in vectors.chunks(CHUNK):
        best, found = faiss.knn(
            queries, chunk, min(k, len(chunk)), metric=faiss.METRIC_INNER_PRODUCT
        )
        scores = np.concatenate([scores, best], axis=1)
        places = np.concatenate([places, found + start], axis=1)
        kept = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, places = (np.take_along_axis(each, kept, axis=1) for each in (scores, places))
        start += len(chunk)
    return places
