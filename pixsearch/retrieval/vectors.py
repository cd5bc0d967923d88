"""Vectors in several arrays, which may be memory-mapped files, read a part at a time."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Int64


class Vectors:
    """Arrays one behind the other, as one array that is never put together."""

    def __init__(self, parts: Sequence[Float32[np.ndarray, "_ dimension"]]) -> None:
        assert parts
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts])
        self.dimension: int = parts[0].shape[1]

    def __len__(self) -> int:
        return int(self._ends[-1])

    def chunks(self, size: int) -> Iterator[Float32[np.ndarray, "_ dimension"]]:
        """All vectors in order, at most `size` at a time; views of the parts, nothing is copied."""
        for part in self._parts:
            for start in range(0, len(part), size):
                yield part[start : start + size]

    def take(self, places: Int64[np.ndarray, " num"]) -> Float32[np.ndarray, "num dimension"]:
        """A copy of the vectors at `places`, which ascend."""
        taken = np.empty((len(places), self.dimension), dtype=np.float32)
        bounds = np.searchsorted(places, [0, *self._ends])
        for part, end, first, last in zip(
            self._parts, self._ends, bounds[:-1], bounds[1:], strict=True
        ):
            taken[first:last] = part[places[first:last] - (end - len(part))]
        return taken
