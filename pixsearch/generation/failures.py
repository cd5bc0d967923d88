"""What happens when a search fails, as the policy says (`policy.on_search_failure`)."""

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from traceback import format_exc

from pixsearch.config import OnSearchFailure, PolicyOptions
from pixsearch.generation.records import EngineStats
from pixsearch.queries import Passage, Query, Search, SearchFailed

logger = logging.getLogger(__name__)

MISTAKES = (ValueError, AssertionError)
"""What a searcher raises where options, index or code are wrong: no policy goes on behind that."""

RETRY_SECONDS = 1.0  # before the first retry; twice as long before each further one


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one query found.

    Attributes:
        failed: why the search failed, in which case there are no passages; None if it did not.
    """

    passages: tuple[Passage, ...] = ()
    failed: str | None = None


class SearchUnderFailure:
    """The searcher, and what the policy does when it does not answer. For any number of threads.

    Args:
        search: the retriever, with the number of passages and the region crop bound by the caller.
    """

    def __init__(self, search: Search, policy: PolicyOptions, stats: EngineStats) -> None:
        self._search = search
        self._policy = policy
        self._stats = stats
        self._lock = threading.Lock()  # for the stats

    def find(self, queries: Sequence[Query], *, until: float = math.inf) -> list[Found]:
        """What each query found, all asked in one call.

        Args:
            until: on `time.monotonic`; a retry that would begin later does not.

        Raises:
            SearchFailed: the search failed for good, and the policy is not `answer_without`.
            ValueError: the searcher returned another number of results, or raised it.
        """
        if not queries:
            return []
        return self._find(queries, until, self._retries)

    def find_each(
        self, queries: Sequence[Query], *, until: float = math.inf
    ) -> list[Found | Exception]:
        """`find`, where what one query raises is its own; it loses no other."""
        try:
            return list(self.find(queries, until=until))
        except Exception as error:  # of whatever kind: it ends those who asked, see `Session`
            whole = error
        if len(queries) == 1:
            return [whole]
        return [self._find_alone(query, whole, until) for query in queries]

    def without(self, reason: str) -> Found:
        """What an answer goes on with under `answer_without`.

        Raises:
            SearchFailed: the policy is another.
        """
        failed = SearchFailed(reason)
        if self._policy.on_search_failure is not OnSearchFailure.answer_without:
            raise _with_remedy(failed, self._policy)
        return _note_failed(failed)

    @property
    def _retries(self) -> int:
        is_retried = self._policy.on_search_failure is OnSearchFailure.retry
        return self._policy.search_retries * is_retried

    def _find(self, queries: Sequence[Query], until: float, retries: int) -> list[Found]:
        if self._policy.on_search_failure is OnSearchFailure.answer_without:
            return self._found_or_failed(queries, until)
        return self._ask_again(queries, retries, until)

    def _find_alone(self, query: Query, whole: Exception, until: float) -> Found | Exception:
        """What a query of a batch that failed finds alone; the failure of the batch if it is late.

        It is not retried where the batch has been.
        """
        if time.monotonic() >= until:
            return whole
        was_retried = isinstance(whole, SearchFailed) and whole.is_temporary
        try:
            (found,) = self._find([query], until, 0 if was_retried else self._retries)
        except Exception as error:
            return error
        return found

    def _ask_again(self, queries: Sequence[Query], retries: int, until: float) -> list[Found]:
        for retry in range(retries + 1):
            try:
                return self._ask(queries)
            except SearchFailed as failed:
                wait = max(failed.retry_after, RETRY_SECONDS * 2**retry)
                is_last = retry == retries or time.monotonic() + wait > until
                if is_last or not failed.is_temporary:
                    raise _with_remedy(failed, self._policy) from failed
                logger.warning(
                    "search failed, retry %d in %.1f s: %s", retry + 1, wait, str(failed)
                )
            time.sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    def _found_or_failed(self, queries: Sequence[Query], until: float) -> list[Found]:
        """Where a batch fails each query is asked alone: one that cannot be answered loses none.

        None is asked later than `until`, when nobody waits for it any longer.
        """
        try:
            return self._ask(queries)
        except SearchFailed as failed:
            whole = failed
        found: list[Found] = []
        for query in queries:
            is_over = len(queries) == 1 or time.monotonic() >= until
            found += [_note_failed(whole)] if is_over else self._found_or_failed([query], until)
        return found

    def _ask(self, queries: Sequence[Query]) -> list[Found]:
        """One call. Whatever a searcher raises, which may be anybody's code, is a failed search."""
        with self._lock:
            self._stats.search_calls += 1
            self._stats.searches += len(queries)
        try:
            found = list(self._search(queries))
        except (SearchFailed, *MISTAKES):
            raise
        except Exception as error:
            # as text: a log may keep what it is given, and rows hang on the error's frames
            logger.warning("the searcher raised an error of its own\n%s", format_exc())
            kind = type(error).__name__
            raise SearchFailed(f"the searcher raised {kind}: {error}") from error
        if len(found) != len(queries):
            raise ValueError(
                f"the searcher returned {len(found)} results for {len(queries)} queries; "
                "it must return one list of passages per query"
            )
        return [Found(passages=tuple(passages)) for passages in found]


def _note_failed(failed: SearchFailed) -> Found:
    logger.warning("answering without a search that failed: %s", str(failed))
    return Found(failed=str(failed))


def _with_remedy(failed: SearchFailed, policy: PolicyOptions) -> SearchFailed:
    is_retried = policy.on_search_failure is OnSearchFailure.retry
    again = "" if is_retried else "retry asks again, "
    remedy = f"policy.on_search_failure={policy.on_search_failure} ends the request, {again}"
    return SearchFailed(
        f"{failed}; {remedy}answer_without goes on",
        is_temporary=failed.is_temporary,
        retry_after=failed.retry_after,
    )
