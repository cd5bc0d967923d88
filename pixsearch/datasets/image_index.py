"""Which examples of a dataset show the same image, known without looking into the examples."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

NO_IMAGE = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageIndex:
    """The images of a dataset's rows, by number.

    Attributes:
        numbers: the same for rows of the same image; `NO_IMAGE` without one.
        id_of: the `image_id` (`pixsearch.datasets.example`) of a number.
    """

    numbers: Int64[np.ndarray, " num_rows"]
    id_of: Callable[[int], str]

    @classmethod
    def of(cls, image_ids: Iterable[str | None]) -> "ImageIndex":
        """Of the rows' image ids, in their order."""
        known: dict[str, int] = {}
        numbers = [
            NO_IMAGE if image_id is None else known.setdefault(image_id, len(known))
            for image_id in image_ids
        ]
        return cls(numbers=np.array(numbers, dtype=np.int64), id_of=[*known].__getitem__)

    def at(self, rows: "range | Int64[np.ndarray, ' num_kept']") -> "ImageIndex":
        """Of some of the rows."""
        kept = slice(rows.start, rows.stop, rows.step) if isinstance(rows, range) else rows
        return ImageIndex(numbers=self.numbers[kept], id_of=self.id_of)

    def shown(self) -> list[int]:
        """The numbers of all images that occur."""
        return [number for number in np.unique(self.numbers).tolist() if number != NO_IMAGE]

    def rows_without(self, numbers: Iterable[int]) -> Int64[np.ndarray, " num_kept"]:
        """The rows that show none of some images, in their order."""
        left_out = np.fromiter(numbers, dtype=np.int64)
        return np.flatnonzero(~np.isin(self.numbers, left_out))

    def groups(self) -> "RowGroups":
        """Rows of one image together, a row without an image alone, in the order of the first."""
        rows = np.arange(len(self.numbers))
        _, firsts, places = np.unique(self.numbers, return_index=True, return_inverse=True)
        leaders = np.where(self.numbers == NO_IMAGE, rows, firsts[places])
        order = np.argsort(leaders, kind="stable")
        begins = np.flatnonzero(np.diff(leaders[order], prepend=-1))
        return RowGroups(rows=order, begins=begins)


@dataclass(frozen=True, kw_only=True, eq=False)
class RowGroups:
    """Rows in groups.

    Attributes:
        rows: those of one group behind those of another.
        begins: where each group begins.
    """

    rows: Int64[np.ndarray, " num_rows"]
    begins: Int64[np.ndarray, " num_groups"]

    def __len__(self) -> int:
        return len(self.begins)

    def in_order(self, groups: Int64[np.ndarray, " num_groups"]) -> Int64[np.ndarray, " num_rows"]:
        """The rows, with the groups in another order.

        >>> groups = RowGroups(rows=np.array([0, 2, 1]), begins=np.array([0, 2]))
        >>> groups.in_order(np.array([1, 0])).tolist()
        [1, 0, 2]
        """
        lengths = np.diff(self.begins, append=len(self.rows))[groups]
        shifts = self.begins[groups] - (np.cumsum(lengths) - lengths)
        return self.rows[np.arange(len(self.rows)) + np.repeat(shifts, lengths)]
