"""A sequence whose examples are built when asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pixsearch.datasets.example import Example
from pixsearch.datasets.image_index import ImageIndex


@dataclass(frozen=True, kw_only=True)
class BrokenRecord:
    """Stands in an index for a record of which it is known that no example can be made.

    Attributes:
        reason: what is wrong where, and how to mend it.
    """

    reason: str


class LazyExamples(Sequence):
    """Examples over an index of records; nothing is drawn at random: an index has one meaning.

    The base is a bare `Sequence`, since type checks at run time look into a `Sequence[Example]`,
    and that would build an example.

    Args:
        records: a `BrokenRecord` among them is a `ValueError` when its example is asked for.
        build: makes an example of a record; a module's function or a `partial` of one, so that it
            can be sent to worker processes.
        broken: what stands in place of some records, by row, where these are not held in a list.
        images: which rows show the same image, where that is known without building examples.
    """

    def __init__(
        self,
        records: Sequence[Any],
        build: Callable[[Any], Example],
        *,
        broken: Mapping[int, BrokenRecord] = MappingProxyType({}),
        images: ImageIndex | None = None,
    ) -> None:
        self._records = records
        self._build = build
        self._broken = dict(broken)
        self.images = images

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        row = range(len(self))[index]
        record = self._broken.get(row) or self._records[row]
        if isinstance(record, BrokenRecord):
            raise ValueError(record.reason)
        return self._build(record)

    def broken(self) -> list[str]:
        """What is known to be wrong without building an example: a reason for each of them."""
        reasons = [each.reason for each in self._broken.values()]
        if isinstance(self._records, range):
            return reasons
        return reasons + [each.reason for each in self._records if isinstance(each, BrokenRecord)]
