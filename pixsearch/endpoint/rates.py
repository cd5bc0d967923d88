"""Keeps requests within so many a minute, for several threads together."""

import threading
import time
from collections.abc import Callable


class Rate:
    """So much a minute, spread evenly: none is saved up while nothing is asked.

    Args:
        per_minute: None for no limit.
        clock, sleep: seconds that only grow, and waiting for some.
    """

    def __init__(
        self,
        per_minute: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._per_second = None if per_minute is None else per_minute / 60
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free = 0.0  # when all that was taken so far has passed

    def take(self, amount: int) -> None:
        """Wait until it may begin, then count so much."""
        if self._per_second is None:
            return
        with self._lock:
            now = self._clock()
            begins = max(now, self._free)
            self._free = begins + amount / self._per_second
        if begins > now:
            self._sleep(begins - now)

    def correct(self, amount: int) -> None:
        """Count so much more, or less, than was taken."""
        if self._per_second is not None:
            with self._lock:
                self._free += amount / self._per_second
