"""The engine of a plain model: a forced search or none, then transformers' own `generate`."""

import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import BatchFeature, LogitsProcessor

from pixsearch.config import Control, ForcedFirst, GenerationOptions, PolicyOptions, QueryType
from pixsearch.generation.answering import AnyEngine, check_requests
from pixsearch.generation.baseline.model import PlainModel
from pixsearch.generation.baseline.prompt import (
    PlainPrompt,
    cut_passages,
    make_prompt,
    render_prompt,
)
from pixsearch.generation.events import Event, Finished
from pixsearch.generation.failures import Found, SearchUnderFailure
from pixsearch.generation.limits import max_length
from pixsearch.generation.records import (
    EngineStats,
    FinishReason,
    Request,
    SearchRecord,
    Trajectory,
)
from pixsearch.generation.region_query import Asked, ask_region
from pixsearch.queries import Query, Search
from pixsearch.rendering import Rendered, TokenKind

FORCED = {
    ForcedFirst.text_query: QueryType.text,
    ForcedFirst.whole_image: QueryType.image,
    ForcedFirst.region: QueryType.region,
}


def refuse_policy(policy: PolicyOptions, model_type: str) -> None:
    """See that a policy asks nothing of a model that a plain one cannot do.

    Args:
        model_type: transformers' name of its kind.

    Raises:
        ValueError: the model itself would have to search, or the policy is a control experiment.
    """
    is_forced = policy.forced_first is not ForcedFirst.none
    may_search = bool(policy.allow) and policy.max_searches > is_forced
    if may_search or policy.control is not Control.none:
        raise ValueError(
            f"policy={policy.name}: the checkpoint is a plain {model_type!r} model, which does not "
            "search in its answer; choose policy=no_search, text_query, whole_image or "
            "pipeline"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Row:
    """One request, its search and its prompt; `limit` is of new tokens."""

    request: Request
    search: SearchRecord | None
    rendered: Rendered
    limit: int


class PlainEngine(AnyEngine):
    """Answers requests by a plain model, greedily.

    Each batch, of requests with an image or of those without:
        1. one retrieval for the queries that the policy forces;
        2. question, passages and image go through the model's own template and processor;
        3. transformers generates; each answer ends at its first end token or at its limit.

    The model makes no masks. Options that are about what a model decides (`answer_tokens`,
    `policy.query_tokens`) have no meaning here.

    Args:
        search: the retriever; the caller binds `policy.k` and `policy.region_crop` to it.

    Raises:
        ValueError: the policy is none for a plain model.
        FloatingPointError: (when it answers) a logit is not a number.
        SearchFailed: (when it answers) a search failed, unless
            `policy.on_search_failure=answer_without`.
    """

    def __init__(
        self, plain: PlainModel, search: Search, policy: PolicyOptions, options: GenerationOptions
    ) -> None:
        refuse_policy(policy, plain.model.config.model_type)
        self.stats = EngineStats()
        self._plain = plain
        self._search = SearchUnderFailure(search, policy, self.stats)
        self._policy = policy
        self._options = options

    def stream(self, requests: Iterable[Request]) -> Generator[Event, None, None]:
        """Answer all requests, which are drawn at once; nothing is told on the way."""
        drawn = list(requests)
        check_requests(drawn)
        for has_image in (True, False):  # not every processor takes both at once
            group = [one for one in drawn if (one.image is not None) is has_image]
            for start in range(0, len(group), self._options.batch_size):
                for trajectory in self._answer(group[start : start + self._options.batch_size]):
                    yield Finished(request_id=trajectory.request_id, trajectory=trajectory)

    def _answer(self, requests: Sequence[Request]) -> list[Trajectory]:
        """One batch, which begins and ends for all of them at once."""
        start = time.monotonic()
        searches = self._search_for(requests)
        prompts, records = [], []
        for request, record in zip(requests, searches, strict=True):
            evidence, num_injected = cut_passages(
                record.passages if record else (),
                max_tokens=self._policy.evidence_tokens,
                plain=self._plain,
            )
            prompts.append(
                make_prompt(request, evidence, self._plain, instruction=self._options.instruction)
            )
            records.append(record and replace(record, num_injected=num_injected))
        inputs = self._process(prompts)
        rows = self._rows(prompts, records, inputs)
        new_ids = self._generate(inputs, rows)
        seconds = time.monotonic() - start
        return [self._trajectory(*each, seconds) for each in zip(rows, new_ids, strict=True)]

    def _search_for(self, requests: Sequence[Request]) -> list[SearchRecord | None]:
        """The forced search of each request; none of image or region where there is no image."""
        query_type = FORCED.get(self._policy.forced_first)
        by_text = query_type is QueryType.text
        if query_type is None or (not by_text and requests[0].image is None):
            return [None] * len(requests)
        asked = [self._ask(one, query_type) for one in requests]
        start = time.monotonic()
        found = self._search.find([one.query for one in asked if one.query is not None])
        seconds = time.monotonic() - start
        records = []
        for one in asked:
            result = Found() if one.query is None else found.pop(0)
            self.stats.failed_searches += result.failed is not None
            records.append(
                replace(one.record, passages=result.passages, failed=result.failed, seconds=seconds)
            )
        return records

    def _ask(self, request: Request, query_type: QueryType) -> Asked:
        record = SearchRecord(type=query_type, forced=True)
        if query_type is QueryType.text:
            query = Query.of_text(request.asked)
            return Asked(record=replace(record, text=query.text), query=query)
        if query_type is QueryType.image:
            query = Query.of_image(request.image, question=request.asked)
            return Asked(record=record, query=query)
        asked = ask_region(request, request.found_region(), record, self._policy, place=0)
        self.stats.empty_masks += asked.record.empty_mask_action is not None
        return asked

    def _process(self, prompts: Sequence[PlainPrompt]) -> BatchFeature:
        """What the model is given, padded on the left."""
        inputs = self._plain.processor.apply_chat_template(
            [prompt.messages for prompt in prompts],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left"},
        )
        self.stats.vision_encodes += sum(prompt.request.image is not None for prompt in prompts)
        return inputs.to(self._plain.model.device, self._plain.model.dtype)

    def _rows(
        self,
        prompts: Sequence[PlainPrompt],
        records: Sequence[SearchRecord | None],
        inputs: BatchFeature,
    ) -> list[_Row]:
        is_token = inputs["attention_mask"].bool()
        rows = []
        for prompt, record, ids, kept in zip(
            prompts, records, inputs["input_ids"], is_token, strict=True
        ):
            rendered = render_prompt(prompt, ids[kept].tolist(), self._plain)
            limit = self._limit(prompt.request, rendered)
            rows.append(_Row(request=prompt.request, search=record, rendered=rendered, limit=limit))
        return rows

    def _limit(self, request: Request, rendered: Rendered) -> int:
        """Of new tokens.

        Raises:
            ValueError: none fits behind the prompt.
        """
        longest = max_length(
            self._options,
            num_image_tokens=rendered.token_kind.count(TokenKind.IMAGE),
            num_positions=self._plain.num_positions,
        )
        room = longest - len(rendered)
        if room < 1:
            raise ValueError(
                f"request {request.id}: the prompt takes {len(rendered)} tokens, which leaves "
                f"none for an answer within generation.max_length={longest}; raise it, lower "
                "policy.evidence_tokens or shorten the question"
            )
        return min(room, self._options.max_new_tokens)

    @torch.no_grad()
    def _generate(self, inputs: BatchFeature, rows: Sequence[_Row]) -> list[list[int]]:
        """The new ids of each row, cut behind the end token or at the row's limit."""
        sequences = self._plain.model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=max(row.limit for row in rows),
            pad_token_id=self._plain.pad_id,
            logits_processor=[_RefuseNan([row.request.id for row in rows])],
        )
        new = sequences[:, inputs["input_ids"].shape[1] :].tolist()
        self.stats.prefill_forwards += 1
        self.stats.decode_steps += len(new[0]) - 1
        self.stats.forwards += len(new[0])
        return [self._cut(ids, row.limit) for ids, row in zip(new, rows, strict=True)]

    def _cut(self, ids: list[int], limit: int) -> list[int]:
        ends = [place for place, token in enumerate(ids) if token in self._plain.end_ids]
        return ids[: min(ends[0] + 1, limit)] if ends else ids[:limit]

    def _trajectory(self, row: _Row, new_ids: list[int], seconds: float) -> Trajectory:
        row.rendered.extend(new_ids, TokenKind.GENERATED, supervised=True)
        self.stats.processed.update(row.rendered.token_kind[:-1])  # the last is never processed
        has_ended = new_ids[-1] in self._plain.end_ids
        text = self._plain.tokenizer.decode(new_ids, skip_special_tokens=True).strip()
        return Trajectory(
            request_id=row.request.id,
            rendered=row.rendered,
            answer_text=text,
            all_text=text,
            searches=(row.search,) if row.search else (),
            grounded=(),
            finish_reason=FinishReason.end if has_ended else FinishReason.length,
            seconds=seconds,
        )


class _RefuseNan(LogitsProcessor):
    """Stops at a NaN; minus infinity is what other processors bar tokens by."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def __call__(
        self,
        input_ids: Int[Tensor, "num_rows length"],
        scores: Float[Tensor, "num_rows vocabulary"],
    ) -> Float[Tensor, "num_rows vocabulary"]:
        _refuse_not_finite((~scores.isnan().any(dim=-1)).tolist(), self._names)
        return scores


def _refuse_not_finite(is_finite: Sequence[bool], ids: Sequence[str]) -> None:
    """See that the logits of all requests are numbers: an argmax would take a NaN for a word.

    Raises:
        FloatingPointError: names the requests whose logits are not.
    """
    broken = [one for one, is_so in zip(ids, is_finite, strict=True) if not is_so]
    if broken:
        raise FloatingPointError(
            f"the logits of {', '.join(broken)} are not finite: load the model in another dtype, "
            "or copy its checkpoint anew"
        )
