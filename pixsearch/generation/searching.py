"""From rows that closed a search to rows that hold the evidence."""

from collections.abc import Sequence
from dataclasses import replace

from pixsearch.chat import ChatRenderer
from pixsearch.config import PolicyOptions, QueryType
from pixsearch.generation.failures import Found, SearchUnderFailure
from pixsearch.generation.masks import MaskDecoding
from pixsearch.generation.records import EngineStats, SearchRecord
from pixsearch.generation.region_query import Asked, ask_region
from pixsearch.generation.row import Row
from pixsearch.queries import Query, Search


class Searching:
    """Asks the searcher once for all rows that closed a search at the same step.

    Args:
        search: the retriever, with the number of passages and the region crop bound by the caller.
    """

    def __init__(
        self,
        *,
        search: Search,
        policy: PolicyOptions,
        renderer: ChatRenderer,
        masks: MaskDecoding,
        stats: EngineStats,
    ) -> None:
        self._search = SearchUnderFailure(search, policy, stats)
        self._policy = policy
        self._renderer = renderer
        self._masks = masks
        self._stats = stats

    def answer(self, rows: Sequence[Row]) -> None:
        """Append to each row, which must await it, the evidence of its search.

        Raises:
            ValueError: an empty mask under `policy.on_empty_mask=error`.
            SearchFailed: a search failed, unless `policy.on_search_failure=answer_without`.
        """
        by_region = [row for row in rows if self._type_of(row) is QueryType.region]
        self._masks.decode(row.grounded[-1] for row in by_region if not row.is_forced_search)
        asked = [self._ask(row) for row in rows]
        found = self._search.find([one.query for one in asked if one.query is not None])
        for row, one in zip(rows, asked, strict=True):
            result = Found() if one.query is None else found.pop(0)
            evidence_ids, injected = self._renderer.evidence_ids(
                result.passages,
                question=row.request.question,
                max_tokens=self._policy.evidence_tokens,
            )
            record = replace(
                one.record,
                passages=result.passages,
                num_injected=len(injected),
                failed=result.failed,
            )
            row.inject(evidence_ids, record)

    def _type_of(self, row: Row) -> QueryType:
        first = row.payload_ids[0]
        symbols = {
            self._renderer.ids.region: QueryType.region,
            self._renderer.ids.whole: QueryType.image,
        }
        return symbols.get(first, QueryType.text)

    def _ask(self, row: Row) -> Asked:
        query_type = self._type_of(row)
        record = SearchRecord(type=query_type, forced=row.is_forced_search, step=row.state.sampled)
        if query_type is QueryType.region:
            return self._ask_region(row, record)
        if query_type is QueryType.image:
            query = Query.of_image(row.request.image, question=row.request.question)
            return Asked(record=record, query=query)
        text = row.request.question if record.forced else self._words(row.payload_ids)
        return Asked(record=replace(record, text=text), query=Query.of_text(text))

    def _ask_region(self, row: Row, record: SearchRecord) -> Asked:
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
