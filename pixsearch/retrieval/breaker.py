"""Leaves a server alone that does not answer, so that nobody waits for it in vain."""

import threading
import time
from collections.abc import Callable

from pixsearch.queries import SearchFailed


class CircuitBreaker:
    """Opens after so many failures in a row; a while later one request at a time tries again.

    Safe for several threads.

    Args:
        name: of the server, for the error.
        failures: in a row, behind which it opens.
        seconds: that it stays open.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        name: str,
        *,
        failures: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._most = failures
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0

    def check(self) -> None:
        """See that a request may be sent now.

        Raises:
            SearchFailed: it may not.
        """
        with self._lock:
            if self._failures < self._most:
                return
            left = self._open_until - self._clock()
            if left > 0:
                raise SearchFailed(
                    f"{self._name}: {self._failures} tries in a row had no answer, the next is in "
                    f"{left:.1f} s",
                    retry_after=left,
                )
            self._open_until = self._clock() + self._seconds  # this one tries, others still wait

    def note_answer(self) -> None:
        """The server is there."""
        with self._lock:
            self._failures = 0

    def note_failure(self) -> None:
        """The server did not answer, or not as it should."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._most:
                self._open_until = self._clock() + self._seconds
