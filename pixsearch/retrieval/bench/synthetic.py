"""Vectors and documents that are drawn, alike in what the speed of a search hangs on.

Vectors of random directions would all be equally far from each other: no index but Flat finds the
nearest among them, and recall would say nothing. Those of real texts lie about topics and fill few
of their dimensions; so do these. Their numbers order index types; for a corpus of your own the
manifest of its index has the recall.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

RANK = 64  # dimensions that topics and documents fill
SPREAD = 0.7  # of a topic's documents about it, against 1 of the topics about zero
NOISE = 0.1  # in all dimensions
CHUNK = 50_000  # drawn at a time
VOCABULARY = 5000


class Topics:
    """A seeded source of unit vectors that lie about topics."""

    def __init__(self, num_topics: int, dimension: int, *, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._centres = self._normal(num_topics, RANK)
        self._axes = self._normal(RANK, dimension) / np.sqrt(RANK, dtype=np.float32)

    def draw(self, count: int) -> Float32[np.ndarray, "count dimension"]:
        """Vectors of random topics; documents and queries are drawn alike."""
        parts = [self._chunk(min(CHUNK, count - start)) for start in range(0, count, CHUNK)]
        return np.concatenate(parts)

    def _chunk(self, count: int) -> Float32[np.ndarray, "count dimension"]:
        topics = self._centres[self._generator.integers(len(self._centres), size=count)]
        vectors = (topics + SPREAD * self._normal(count, RANK)) @ self._axes
        vectors += NOISE * self._normal(*vectors.shape)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _normal(self, rows: int, columns: int) -> Float32[np.ndarray, "rows columns"]:
        return self._generator.standard_normal((rows, columns), dtype=np.float32)


def write_documents(folder: Path, *, count: int, words: int, seed: int) -> None:
    """A knowledge base of documents with so many random words each."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "corpus.jsonl").open("w") as file:
        file.writelines(_lines(count, words, seed))


def _lines(count: int, words: int, seed: int) -> Iterator[str]:
    generator = np.random.default_rng(seed)
    for number in range(count):
        contents = " ".join(f"w{word:04}" for word in generator.integers(VOCABULARY, size=words))
        record = {"id": f"d{number}", "title": f"Title {number}", "contents": contents}
        yield json.dumps(record) + "\n"
