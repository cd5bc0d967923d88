"""What is known of trajectories that are composed and wait to be drawn."""

from array import array

import numpy as np
from jaxtyping import Bool

from pixsearch.line_store import digest
from pixsearch.trajectories.counts import Counts
from pixsearch.trajectories.sources import BrokenRecord, SourcedQuestion


class Composed:
    """Lines of a file of trajectories, in eleven bytes each.

    They are ordered by a number that the seed draws: the same for a question whatever others there
    are.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn, self._searches, self._group = array("Q"), array("b"), array("H")
        self._groups: dict[tuple[str, str], int] = {}

    def add(self, record: SourcedQuestion | BrokenRecord, kind: str, *, searches: bool) -> None:
        """Note the next line, and whether its answer searches."""
        self._drawn.append(int(digest([self._seed, record.key])[:16], 16))
        self._searches.append(searches)
        self._group.append(self._groups.setdefault((record.source, kind), len(self._groups)))

    def source_of(self, row: int) -> str:
        return [*self._groups][self._group[row]][0]

    def within_share(self, share: float) -> Bool[np.ndarray, " num_lines"]:
        """Which lines are written: as many answers without a search as their share allows."""
        kept = self._searching()
        plain = self.in_order(~kept)
        most = len(plain) if share == 1 else round(int(kept.sum()) * share / (1 - share))
        kept[plain[:most]] = True
        return kept

    def in_order(self, kept: Bool[np.ndarray, " num_lines"]) -> list[int]:
        """Rows, in the order that was drawn."""
        rows = np.flatnonzero(kept)
        return rows[np.argsort(np.asarray(self._drawn)[rows], kind="stable")].tolist()

    def count(self, kept: Bool[np.ndarray, " num_lines"], counts: Counts) -> None:
        """Note each line in its column."""
        searching, group_of = self._searching(), np.asarray(self._group)
        columns = {
            "with_search": kept & searching,
            "without_search": kept & ~searching,
            "beyond_share": ~kept,
        }
        for (source, kind), group in self._groups.items():
            for column, lines in columns.items():
                counts.note(source, kind, column, int((lines & (group_of == group)).sum()))

    def _searching(self) -> Bool[np.ndarray, " num_lines"]:
        return np.array(self._searches, dtype=bool)
