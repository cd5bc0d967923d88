"""Answers by a deadline: searches end when time is short, then the answers do."""

import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Lock, Thread

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pixsearch.generation.choosing import greedy
from pixsearch.generation.row import Row
from pixsearch.queries import Passage, Query, Search, SearchFailed
from pixsearch.tokens import TokenIds


class Deadline:
    """When searching ends and when answering ends; begun anew for each call of an engine.

    Before the first `begin` the time for both is up.

    Args:
        clock: seconds from any beginning.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._search_end = self._answer_end = float("-inf")

    def begin(self, *, search_seconds: float, answer_seconds: float) -> None:
        """Both are counted from now."""
        now = self._clock()
        self._search_end, self._answer_end = now + search_seconds, now + answer_seconds

    @property
    def seconds_to_search(self) -> float:
        return max(0.0, self._search_end - self._clock())

    @property
    def may_search(self) -> bool:
        return self._clock() < self._search_end

    @property
    def may_go_on(self) -> bool:
        return self._clock() < self._answer_end


class SearchByDeadline:
    """A `Search` that fails rather than be late.

    The searcher is asked in a thread of its own. One that does not come back in time is left to
    itself; until it does, later searches wait for it within their own time.
    """

    def __init__(self, search: Search, deadline: Deadline) -> None:
        self._search = search
        self._deadline = deadline
        self._busy = Lock()

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        """
        Raises:
            SearchFailed: there is no time, or not enough; or the searcher raised it.
        """
        seconds = self._deadline.seconds_to_search
        if not seconds or not self._busy.acquire(timeout=seconds):
            raise _too_late()
        outcome: SimpleQueue[list[list[Passage]] | Exception] = SimpleQueue()
        Thread(target=self._ask, args=(list(queries), outcome), daemon=True).start()
        try:
            found = outcome.get(timeout=self._deadline.seconds_to_search)
        except Empty:
            raise _too_late() from None
        if isinstance(found, Exception):
            raise found
        return found

    def _ask(
        self, queries: list[Query], outcome: "SimpleQueue[list[list[Passage]] | Exception]"
    ) -> None:
        try:
            outcome.put(self._search(queries))
        except Exception as error:  # raised again by whoever waits
            outcome.put(error)
        finally:
            self._busy.release()


class ChooseByDeadline:
    """A `Choose`: the likeliest token, but no search when time is short, and the end when it is up.

    A search that is being written when time gets short is closed, and finds nothing. An answer that
    ends because time is up keeps the words that it has.
    """

    def __init__(self, deadline: Deadline, ids: TokenIds) -> None:
        self._deadline = deadline
        self._ids = ids

    def __call__(
        self, logits: Float[Tensor, "num_rows vocabulary"], rows: Sequence[Row]
    ) -> Int[Tensor, " num_rows"]:
        if self._deadline.may_search:
            return greedy(logits, rows)
        logits = logits.clone()
        logits[:, self._ids.search] = -torch.inf  # words and the end may stand in its place
        tokens = greedy(logits, rows)
        _take_where_allowed(self._ids.search_end, logits, tokens)
        if not self._deadline.may_go_on:
            _take_where_allowed(self._ids.end, logits, tokens)
        return tokens


def _take_where_allowed(
    token: int,
    logits: Float[Tensor, "num_rows vocabulary"],
    tokens: Int[Tensor, " num_rows"],
) -> None:
    """Put `token` in place of those of the rows in which it may come."""
    tokens[torch.isfinite(logits[:, token])] = token


def _too_late() -> SearchFailed:
    return SearchFailed("the time for searching is up", is_temporary=False)
