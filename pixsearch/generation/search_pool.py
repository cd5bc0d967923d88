"""Searches in threads of their own, those of many rows in one call."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from pixsearch.generation.failures import Found
from pixsearch.queries import Query

MAX_HUNG = 8  # calls given up that have not come back, from which on no further one is made

Find = Callable[[Sequence[Query], float], "list[Found | Exception]"]
"""Queries, and the time on `time.monotonic` until which they may be asked again."""


@dataclass(kw_only=True, eq=False)
class _Asked:
    ticket: Hashable
    query: Query
    until: float


@dataclass(kw_only=True, eq=False)
class _Worker:
    """A thread.

    Attributes:
        asked: those of its call for whom somebody still waits.
        is_busy: it makes a call.
        until: when that call is late.
        given_up: its call was late.
    """

    asked: list[_Asked] = field(default_factory=list)
    is_busy: bool = False
    until: float = math.inf
    given_up: bool = False
    thread: threading.Thread = field(init=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """What came of a query; `found` is None if it did not come back in time."""

    ticket: Hashable
    found: Found | Exception | None


class SearchPool:
    """Sends queries that are asked within a short window in one call, and gives up on late ones.

    A call cannot be ended from outside: a thread whose call is late is given up, and another takes
    its place. Threads are daemons, so that one that hangs does not keep the process alive.

    Args:
        find: asks the searcher; it must not raise.
        num_threads: calls at a time.
        window_seconds: in which queries are gathered, from the first on.
        timeout_seconds: of a query, from when it is asked.
        wake: is called, from any thread, when something has come back.
    """

    def __init__(
        self,
        find: Find,
        *,
        num_threads: int,
        window_seconds: float,
        timeout_seconds: float,
        wake: Callable[[], object],
    ) -> None:
        self._find = find
        self._num_threads = num_threads
        self._window = window_seconds
        self._timeout = timeout_seconds
        self._wake = wake
        self._changed = threading.Condition()
        self._gathered: list[_Asked] = []
        self._send_at = math.inf
        self._workers: list[_Worker] = []
        self._answered: deque[Answered] = deque()
        self._closed = False

    def ask(self, ticket: Hashable, query: Query) -> None:
        """Send a query soon; `take_answered` will name the ticket once."""
        now = time.monotonic()
        with self._changed:
            self._gathered.append(_Asked(ticket=ticket, query=query, until=now + self._timeout))
            self._send_at = min(self._send_at, now + self._window)
            self._start_thread()
            self._changed.notify()

    def hurry(self) -> None:
        """Send what is gathered: nobody else can ask before it comes back."""
        with self._changed:
            if self._gathered:
                self._send_at = -math.inf
                self._changed.notify()

    def forget(self, ticket: Hashable) -> None:
        """Nobody waits for this query any longer."""
        with self._changed:
            self._gathered = [one for one in self._gathered if one.ticket != ticket]
            for worker in self._workers:
                worker.asked = [one for one in worker.asked if one.ticket != ticket]

    def take_answered(self) -> list[Answered]:
        """What has come back since the last time, and what is late."""
        with self._changed:
            self._give_up_late()
            taken = list(self._answered)
            self._answered.clear()
        return taken

    @property
    def next_timeout(self) -> float:
        """When `take_answered` has something to do at the latest, on `time.monotonic`: a query is
        late, or a call that nobody waits for is in the way of what is gathered. Infinite if there
        is no such time."""
        with self._changed:
            times = [one.until for one in self._pending()]
            if self._gathered:
                times += [one.until for one in self._workers if one.is_busy and not one.given_up]
            return min(times, default=math.inf)

    def close(self) -> None:
        """Send nothing more, and end the threads; those that make a call end when it does."""
        with self._changed:
            self._closed = True
            self._gathered.clear()
            free = [worker.thread for worker in self._workers if not worker.is_busy]
            self._changed.notify_all()
        for thread in free:
            thread.join()

    def _pending(self) -> list[_Asked]:
        return self._gathered + [one for worker in self._workers for one in worker.asked]

    def _start_thread(self) -> None:
        """See that as many threads wait for queries as may, if all that are there are busy."""
        useful = [worker for worker in self._workers if not worker.given_up]
        if len(useful) == self._num_threads or not all(worker.is_busy for worker in useful):
            return
        if len(self._workers) - len(useful) >= MAX_HUNG:
            return  # what is gathered will be late
        worker = _Worker()
        self._workers.append(worker)
        worker.thread = threading.Thread(
            target=self._work, args=[worker], name="search", daemon=True
        )
        worker.thread.start()

    def _give_up_late(self) -> None:
        now = time.monotonic()
        late = [one for one in self._pending() if one.until <= now]
        self._answered.extend(Answered(ticket=one.ticket, found=None) for one in late)
        self._gathered = [one for one in self._gathered if one not in late]
        for worker in self._workers:
            worker.given_up |= worker.is_busy and worker.until <= now
            worker.asked = [one for one in worker.asked if one not in late]
        if self._gathered:
            self._start_thread()

    def _work(self, worker: _Worker) -> None:
        while asked := self._take_gathered(worker):
            self._send(asked, worker)
            del asked  # the tickets, which a thread that waits is not to keep alive
            if worker.given_up:
                break
        with self._changed:
            self._workers.remove(worker)
            if self._gathered:
                self._start_thread()

    def _send(self, asked: Sequence[_Asked], worker: _Worker) -> None:
        found = self._find([one.query for one in asked], worker.until)
        now = time.monotonic()
        with self._changed:
            for one, result in zip(asked, found, strict=True):
                if one in worker.asked:  # neither given up nor forgotten
                    in_time = result if now < one.until else None
                    self._answered.append(Answered(ticket=one.ticket, found=in_time))
            worker.asked, worker.is_busy = [], False
        self._wake()

    def _take_gathered(self, worker: _Worker) -> list[_Asked]:
        """Wait until a window has passed; nothing if the pool was closed."""
        with self._changed:
            while not self._closed:
                left = self._send_at - time.monotonic()
                if self._gathered and left <= 0:
                    asked, self._gathered, self._send_at = self._gathered, [], math.inf
                    worker.asked, worker.is_busy = list(asked), True
                    worker.until = min(one.until for one in asked)
                    return asked
                self._changed.wait(left if self._gathered else None)
            return []
