"""What happens when a search fails, as the policy says (`policy.on_search_failure`)."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pixsearch.config import OnSearchFailure, PolicyOptions
from pixsearch.generation.records import EngineStats
from pixsearch.queries import Passage, Query, Search, SearchFailed

logger = logging.getLogger(__name__)

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
    """The searcher, and what the policy does when it does not answer.

    Args:
        search: the retriever, with the number of passages and the region crop bound by the caller.
    """

    def __init__(self, search: Search, policy: PolicyOptions, stats: EngineStats) -> None:
        self._search = search
        self._policy = policy
        self._stats = stats

    def find(self, queries: Sequence[Query]) -> list[Found]:
        """What each query found, all asked in one call.

        Raises:
            SearchFailed: the search failed for good, and the policy is not `answer_without`.
            ValueError: the searcher returned another number of results.
        """
        if not queries:
            return []
        self._stats.search_calls += 1
        self._stats.searches += len(queries)
        if self._policy.on_search_failure is OnSearchFailure.answer_without:
            return self._found_or_failed(queries)
        is_retried = self._policy.on_search_failure is OnSearchFailure.retry
        return self._ask_again(queries, retries=self._policy.search_retries * is_retried)

    def _ask_again(self, queries: Sequence[Query], *, retries: int) -> list[Found]:
        for retry in range(retries + 1):
            try:
                return self._ask(queries)
            except SearchFailed as failed:
                if retry == retries or not failed.is_temporary:
                    raise _with_remedy(failed, self._policy) from failed
                wait = max(failed.retry_after, RETRY_SECONDS * 2**retry)
                logger.warning("search failed, retry %d in %.1f s: %s", retry + 1, wait, failed)
            time.sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    def _found_or_failed(self, queries: Sequence[Query]) -> list[Found]:
        """Where a batch fails each query is asked alone: one that cannot be answered loses none."""
        try:
            return self._ask(queries)
        except SearchFailed as failed:
            if len(queries) > 1:
                return [found for query in queries for found in self._found_or_failed([query])]
            self._stats.failed_searches += 1
            logger.warning("answering without a search that failed: %s", failed)
            return [Found(failed=str(failed))]

    def _ask(self, queries: Sequence[Query]) -> list[Found]:
        found = list(self._search(queries))
        if len(found) != len(queries):
            raise ValueError(
                f"the searcher returned {len(found)} results for {len(queries)} queries; "
                "it must return one list of passages per query"
            )
        return [Found(passages=tuple(passages)) for passages in found]


def _with_remedy(failed: SearchFailed, policy: PolicyOptions) -> SearchFailed:
    is_retried = policy.on_search_failure is OnSearchFailure.retry
    again = "" if is_retried else "retry asks again, "
    remedy = f"policy.on_search_failure={policy.on_search_failure} ends the run, {again}"
    return SearchFailed(f"{failed}; {remedy}answer_without goes on", is_temporary=False)
