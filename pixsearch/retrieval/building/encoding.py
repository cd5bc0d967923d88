"""Items -> vectors, in batches of items of like length."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from pixsearch.retrieval.building.sources import Source

Encode = Callable[[list[Any]], Float[np.ndarray, "num dimension"]]
"""An encoder's method: items of a source to their vectors."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How the items of a source become vectors.

    Attributes:
        window: items that are read and sorted by size together; no more are held in memory.
    """

    source: Source
    dimension: int
    batch_size: int
    window: int

    def windows(
        self, first: int, last: int, encode: Encode
    ) -> Iterator[tuple[int, Float32[np.ndarray, "num dimension"]]]:
        """The vectors of the items at places `first` to `last` - 1, in order: (place, vectors).

        Windows and batches hang on `first` alone, so that an interrupted build goes on with the
        very batches of one that was not.

        Raises:
            ValueError: an item that cannot be read, or whose vector is not finite.
        """
        items = self.source.items(first, last)
        while window := list(islice(items, self.window)):
            vectors = self._encoded(window, encode)
            self._refuse_not_finite(vectors, first)
            yield first, vectors
            first += len(window)

    def _encoded(
        self, items: Sequence[Any], encode: Encode
    ) -> Float32[np.ndarray, "num dimension"]:
        vectors = np.empty((len(items), self.dimension), dtype=np.float32)
        longest_first = np.argsort([-self.source.size(item) for item in items], kind="stable")
        for start in range(0, len(items), self.batch_size):
            batch = longest_first[start : start + self.batch_size]
            vectors[batch] = encode([items[place] for place in batch])
        return vectors

    def _refuse_not_finite(self, vectors: Float32[np.ndarray, "num dimension"], first: int) -> None:
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if bad.size:
            raise ValueError(
                f"the vector of {self.source.name(first + int(bad[0]))} is not finite: check the "
                "encoder's weights"
            )
