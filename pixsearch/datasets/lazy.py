"""A sequence whose examples are built when asked for."""

from collections.abc import Callable, Sequence
from typing import Any

from pixsearch.datasets.example import Example


class LazyExamples(Sequence):
    """Examples over an index of records; nothing is drawn at random: an index has one meaning.

    The base is a bare `Sequence`, since type checks at run time look into a `Sequence[Example]`,
    and that would build an example.

    Args:
        build: makes an example of a record; a module's function or a `partial` of one, so that it
            can be sent to worker processes.
    """

    def __init__(self, records: Sequence[Any], build: Callable[[Any], Example]) -> None:
        self._records = records
        self._build = build

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]
        return self._build(self._records[index])
