"""Which rows hold a slot of the cache, within its budget; who gives way where it is short."""

from collections.abc import Collection, Iterable, Sequence
from itertools import count

from pixsearch.generation.cache import SlotCache
from pixsearch.generation.records import EngineStats
from pixsearch.generation.row import Row


class Slots:
    """Gives rows their slots.

    Slots are as wide as the longest row may grow. Where the budget does not allow that for all
    rows, they are as wide as it allows. Where there are not enough of them, or one row outgrows
    them, another gives its slot back and is processed anew when there is room: one whose search
    takes long, if there is such a row, else the one that entered last. So the row that entered
    first goes on.

    Args:
        max_slots: rows that hold one at a time.
        budget: tokens that all slots together may hold; not below what a row may grow to.
        in_one_call: see `SlotCache`.
    """

    def __init__(
        self,
        *,
        max_slots: int,
        budget: int,
        stats: EngineStats,
        in_one_call: bool,
    ) -> None:
        self.cache = SlotCache(num_slots=0, width=0, in_one_call=in_one_call)
        self._max_slots = max_slots
        self._budget = budget
        self._stats = stats
        self._holders: list[Row] = []

    @property
    def num_held(self) -> int:
        """Slots that a row holds."""
        return len(self._holders)

    def place(self, rows: Sequence[Row], *, yielding: Collection[Row] = ()) -> list[Row]:
        """Give each of these rows a slot that has room for all its tokens.

        Args:
            yielding: others, which wait for a search that takes long and give way first.

        Returns:
            Those among them that have one now. There are none only where a row that entered before
            them all, and does not yield, holds a slot and leaves no room.
        """
        wanted = sorted({*self._holders, *rows}, key=lambda row: (row in yielding, row.entered))
        kept = list(wanted)
        while len(kept) > 1 and not self._fits(kept):
            kept.pop()
        for row in wanted[len(kept) :]:
            if row.slot is not None:
                self._evict(row)
        self._make_room(kept)
        free = (slot for slot in count() if slot not in {row.slot for row in self._holders})
        for row in kept:
            if row.slot is None:
                row.slot = next(free)
                self._holders.append(row)
        placed = set(kept)
        return [row for row in rows if row in placed]

    def release(self, row: Row, *, is_clean: bool = True) -> None:
        """Take a row's slot back, if it holds one.

        Args:
            is_clean: nothing in it can harm the next row.
        """
        if row.slot is None:
            return
        if not is_clean:
            self.cache.clear(row.slot)
        self._holders.remove(row)
        row.slot = None

    def _evict(self, row: Row) -> None:
        self._stats.evictions += 1
        self.release(row)
        row.forget_processed()

    def _fits(self, rows: Sequence[Row]) -> bool:
        return len(rows) <= self._max_slots and len(rows) * _longest(rows) <= self._budget

    def _make_room(self, rows: Sequence[Row]) -> None:
        """See that there are slots for all these rows, each wide enough."""
        if not rows:
            return
        if len(rows) <= self.cache.num_slots and _longest(rows) <= self.cache.width:
            return
        num_slots, width = self._shape(rows)
        moves = {}
        for slot, row in enumerate(self._holders):
            moves[row.slot] = (slot, row.num_processed)
            row.slot = slot
        self.cache.reshape(num_slots=num_slots, width=width, moves=moves)

    def _shape(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Slots and their width; not below what the cache has, where the budget allows."""
        num_slots = min(self._max_slots, max(_power_of_two(len(rows)), self.cache.num_slots))
        width = max(row.longest for row in rows)
        if num_slots * max(width, self.cache.width) <= self._budget:
            return num_slots, max(width, self.cache.width)
        num_slots = max(len(rows), min(num_slots, self._budget // width))
        return num_slots, min(width, self._budget // num_slots)


def _longest(rows: Iterable[Row]) -> int:
    """Tokens of the longest row as it stands."""
    return max(len(row.rendered) for row in rows)


def _power_of_two(number: int) -> int:
    """The next one from `number` on, so that a cache that grows is seldom copied.

    >>> [_power_of_two(number) for number in (1, 2, 3, 5)]
    [1, 2, 4, 8]
    """
    return 1 << (number - 1).bit_length()
