"""Some of the examples of a dataset."""

from collections.abc import Iterable, Sequence

from pixsearch.datasets.example import Example


class SomeExamples(Sequence):
    """The examples of a dataset at `rows`, in that order.

    The base is a bare `Sequence`, as that of `LazyExamples` is.
    """

    def __init__(self, dataset: Sequence, rows: Sequence[int]) -> None:
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

    def at(self, places: Sequence[int]) -> "SomeExamples":
        """Those of them at some places."""
        return SomeExamples(self._dataset, self._rows_at(places))

    def usable(self, places: Iterable[int]) -> list[Example]:
        """The examples at some places that can be used; here all of them."""
        return [self[place] for place in places]

    def _rows_at(self, places: Sequence[int]) -> Sequence[int]:
        if isinstance(places, range):  # whose rows need no memory
            return self._rows[places.start : places.stop : places.step]
        return [self._row(place) for place in places]

    def _row(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        return self._rows[index]


def image_id_at(dataset: Sequence, index: int) -> str | None:
    """The `image_id` of an example of any sequence of examples."""
    if isinstance(dataset, SomeExamples):
        return dataset.image_id(index)
    return dataset[index].image_id
