"""Some of the examples of a dataset."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int64

from pixsearch.datasets.example import Example
from pixsearch.datasets.image_index import ImageIndex
from pixsearch.datasets.lazy import LazyExamples

Rows = range | Int64[np.ndarray, " num_rows"]
"""Places in a sequence; a range needs no memory."""


class SomeExamples(Sequence):
    """The examples of a dataset at `rows`, in that order.

    The base is a bare `Sequence`, as that of `LazyExamples` is.
    """

    def __init__(self, dataset: Sequence, rows: Rows) -> None:
        self._dataset = dataset
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        return self._dataset[self._row(index)]

    def image_id(self, index: int) -> str | None:
        """The `image_id` of the example at a place, found without decoding anything."""
        return self._dataset[self._row(index)].image_id

    def undecoded(self, index: int) -> Example | None:
        """The example at a place as it is stored, not looked into; None if it cannot be built."""
        return self._dataset[self._row(index)]

    def image_index(self) -> ImageIndex:
        """Which of the examples show the same image; nothing is decoded.

        Where the dataset does not know it from its files, every example is built once.
        """
        known = self._dataset.images if isinstance(self._dataset, LazyExamples) else None
        if known is not None:
            return known.at(self._rows)
        return ImageIndex.of(self.image_id(place) for place in range(len(self)))

    def at(self, places: Rows) -> "SomeExamples":
        """Those of them at some places."""
        return SomeExamples(self._dataset, self._rows_at(places))

    def usable(self, places: Iterable[int]) -> list[Example]:
        """The examples at some places that can be used; here all of them."""
        return [self[place] for place in places]

    def _rows_at(self, places: Rows) -> Rows:
        if isinstance(places, range):
            return self._rows[places.start : places.stop : places.step]
        if isinstance(self._rows, range):
            return self._rows.start + self._rows.step * places
        return self._rows[places]

    def _row(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        return int(self._rows[index])


def image_index_of(dataset: Sequence) -> ImageIndex:
    """Of any sequence of examples."""
    if not isinstance(dataset, SomeExamples):
        dataset = SomeExamples(dataset, range(len(dataset)))
    return dataset.image_index()


def image_id_at(dataset: Sequence, index: int) -> str | None:
    """The `image_id` of an example of any sequence of examples."""
    if isinstance(dataset, SomeExamples):
        return dataset.image_id(index)
    return dataset[index].image_id
