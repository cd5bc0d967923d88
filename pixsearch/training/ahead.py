"""Work for the next step that is done while this one goes on."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Makes what the step after this one needs, in a thread: `get(3)` begins with that of step 4.

    Args:
        make: hangs on the number of the step alone.
        last: the last step; nothing is made for one after it.
        enabled: False makes each when it is asked for.
    """

    def __init__(self, make: Callable[[int], Made], *, last: int, enabled: bool) -> None:
        self._make = make
        self._last = last
        self._pool = ThreadPoolExecutor(max_workers=1) if enabled else None
        self._next: tuple[int, Future[Made]] | None = None

    def get(self, step: int) -> Made:
        """What was made for a step; an error in making it is raised here, at its own step."""
        waiting, self._next = self._next, None
        made = waiting[1].result() if waiting and waiting[0] == step else self._make(step)
        if self._pool is not None and step < self._last:
            self._next = (step + 1, self._pool.submit(self._make, step + 1))
        elif self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None
        return made
