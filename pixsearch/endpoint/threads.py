"""Work in several threads at once, on items that are taken only when they are needed."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Results in the order in which they are ready; at most twice the workers are under way.

    Where `work` raises, so does this; what has not begun then is not begun.
    """
    pending: set[Future[Result]] = set()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.add(pool.submit(work, item))
                if len(pending) >= 2 * workers:
                    ready, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (each.result() for each in ready)
            while pending:
                ready, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in ready)
        finally:
            for each in pending:
                each.cancel()
