"""From rows that closed a search to rows that hold the evidence."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pixsearch.chat import ChatRenderer
from pixsearch.config import GenerationOptions, PolicyOptions, QueryType
from pixsearch.generation.events import Failure, FailureKind, not_finite
from pixsearch.generation.failures import Found, SearchUnderFailure
from pixsearch.generation.limits import check_passages
from pixsearch.generation.masks import MaskDecoding
from pixsearch.generation.records import EngineStats, SearchRecord
from pixsearch.generation.region_query import Asked, EmptyMask, ask_region
from pixsearch.generation.row import Row
from pixsearch.generation.search_pool import Answered, SearchPool
from pixsearch.queries import Query, Search, SearchFailed, calls_at_a_time


class Searching:
    """Asks the searcher for rows that closed a search, and gives them what came back.

    Args:
        search: the retriever, with the number of passages and the region crop bound by the caller.
        wake: is called, from any thread, when something has come back.
    """

    def __init__(
        self,
        *,
        search: Search,
        policy: PolicyOptions,
        options: GenerationOptions,
        renderer: ChatRenderer,
        masks: MaskDecoding,
        stats: EngineStats,
        wake: Callable[[], object],
    ) -> None:
        self._search = SearchUnderFailure(search, policy, stats)
        self._policy = policy
        self._options = options
        self._renderer = renderer
        self._masks = masks
        self._stats = stats
        self._wake = wake
        self._asked: dict[Row, SearchRecord] = {}  # on their way
        self._skipped: list[Row] = []
        self.pool = SearchPool(
            lambda queries, until: self._search.find_each(queries, until=until),
            num_threads=options.search_threads or calls_at_a_time(search),
            window_seconds=options.search_window_ms / 1000,
            timeout_seconds=options.search_timeout_seconds,
            wake=wake,
        )

    def ask(self, rows: Sequence[Row]) -> dict[Row, SearchRecord | Failure]:
        """Send the queries of rows that closed a search; masks they ask with are decoded together.

        Returns:
            For each row what it asks, or why it cannot.
        """
        by_region = [row for row in rows if self._type_of(row) is QueryType.region]
        own = [row for row in by_region if not row.is_forced_search]
        broken = self._masks.decode(row.grounded[-1] for row in own)
        found: dict[Row, SearchRecord | Failure] = {}
        for row in rows:
            is_broken = row in own and row.grounded[-1] in broken
            found[row] = not_finite(row.request.id, "a mask is") if is_broken else self._ask(row)
        return found

    def take_answered(self) -> dict[Row, SearchRecord | Failure]:
        """Inject the evidence of searches that have come back, each row's when it is there.

        Returns:
            For each such row its record, or why it cannot go on.
        """
        skipped = [Answered(ticket=row, found=Found()) for row in self._skipped]
        self._skipped = []
        answered = [*skipped, *self.pool.take_answered()]
        return {one.ticket: self._take(one) for one in answered if one.ticket in self._asked}

    def forget(self, row: Row) -> None:
        """Let go of a row that will not be there when its search comes back."""
        if self._asked.pop(row, None) is not None:
            self.pool.forget(row)

    def _ask(self, row: Row) -> SearchRecord | Failure:
        try:
            asked = self._query_of(row)
        except EmptyMask as error:
            return Failure(kind=FailureKind.empty_mask, error=error)
        except Exception as error:  # a control's code, which is the caller's
            return Failure(kind=FailureKind.error, error=error)
        self._asked[row] = asked.record
        row.asked_at = time.monotonic()
        if asked.query is None:
            self._skipped.append(row)
            self._wake()
        else:
            self._stats.waits += 1
            self.pool.ask(row, asked.query)
        return asked.record

    def _take(self, answered: Answered) -> SearchRecord | Failure:
        row: Row = answered.ticket
        record = self._asked.pop(row)
        seconds = time.monotonic() - row.asked_at
        self._stats.wait_seconds += seconds
        row.asked_at = math.inf
        try:
            result = self._result_of(answered)
            if isinstance(result, Found):
                return self._inject(row, replace(record, seconds=seconds), result)
        except Exception as error:  # of whatever kind: what came back is this row's alone
            result = error
        is_search = isinstance(result, SearchFailed)
        kind = FailureKind.search if is_search else FailureKind.error
        return Failure(kind=kind, error=result)

    def _result_of(self, answered: Answered) -> Found | Exception:
        if answered.found is None:
            seconds = self._options.search_timeout_seconds
            return self._search.without(
                f"no answer within generation.search_timeout_seconds={seconds:g}"
            )
        if isinstance(answered.found, Found):
            try:
                check_passages(answered.found.passages, self._options)
            except SearchFailed as failed:
                return self._search.without(str(failed))
        return answered.found

    def _inject(self, row: Row, record: SearchRecord, found: Found) -> SearchRecord:
        evidence_ids, injected = self._renderer.evidence_ids(
            found.passages,
            question=row.request.question,
            max_tokens=self._policy.evidence_tokens,
        )
        complete = replace(
            record, passages=found.passages, num_injected=len(injected), failed=found.failed
        )
        self._stats.failed_searches += complete.failed is not None
        row.inject(evidence_ids, complete)
        return complete

    def _type_of(self, row: Row) -> QueryType:
        first = next(iter(row.payload_ids), None)  # none: of a forced text that encodes to nothing
        symbols = {
            self._renderer.ids.region: QueryType.region,
            self._renderer.ids.whole: QueryType.image,
        }
        return symbols.get(first, QueryType.text)

    def _query_of(self, row: Row) -> Asked:
        query_type = self._type_of(row)
        record = SearchRecord(type=query_type, forced=row.is_forced_search, step=row.state.sampled)
        if query_type is QueryType.region:
            return self._region_query(row, record)
        if query_type is QueryType.image:
            query = Query.of_image(row.request.image, question=row.request.asked)
            return Asked(record=record, query=query)
        text = row.request.asked if record.forced else self._words(row.payload_ids)
        return Asked(record=replace(record, text=text), query=Query.of_text(text))

    def _region_query(self, row: Row, record: SearchRecord) -> Asked:
        """A query by the mask of the last grounded phrase, by the request's own region where it is
        forced, or by a control's in its place."""
        request = row.request
        mask = request.found_region() if record.forced else row.grounded[-1].mask
        if request.region_override is not None:
            mask = request.region_override(row.num_region_searches, mask)
        self._stats.empty_masks += not mask.any()
        return ask_region(request, mask, record, self._policy, place=row.num_region_searches)

    def _words(self, ids: list[int]) -> str:
        return self._renderer.tokenizer.decode(ids, skip_special_tokens=True).strip()
