"""One request in flight: its ids so far, where it stands in the grammar, what it found."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from pixsearch.chat import ChatRenderer
from pixsearch.config import QueryType
from pixsearch.generation import grammar
from pixsearch.generation.grammar import GrammarState, Limits, Phase, TokenClass
from pixsearch.generation.records import (
    FinishReason,
    GroundedRecord,
    Mask,
    Request,
    SearchRecord,
    Trajectory,
)
from pixsearch.model import ImageFeatures
from pixsearch.rendering import Rendered, TokenKind


@dataclass(kw_only=True, eq=False)
class GroundedPhrase:
    """A phrase whose mask may be asked for.

    Attributes:
        position: index of its `<seg>`; where phrases are tagged, of its last word.
        words: index of its first word, where phrases are tagged.
        earlier: the grounded phrases before it.
        states: prompt the mask decoder; None until they are computed.
        prompt, mask_logits: kept for later phrases, where masks prompt the next.
        mask: None until it is decoded.
    """

    position: int
    features: ImageFeatures
    words: int | None = None
    earlier: tuple["GroundedPhrase", ...] = ()
    states: Float[Tensor, "num_states hidden"] | None = None
    prompt: Float[Tensor, " channels"] | None = None
    mask_logits: Float[Tensor, "low low"] | None = None
    mask: Mask | None = None


@dataclass(kw_only=True, eq=False)
class Row:
    """One request from its prompt to its end token.

    Attributes:
        longest: tokens that it can grow to.
        slot: of the cache, while it holds one.
        entered: how many rows entered before it.
        asked_at: when its search was sent, on `time.monotonic`; infinite while none is on its way.
        num_processed: how many of its ids stand in the cache; the rest is pending.
        num_counted: how many were ever processed; more than the former where it lost its slot.
        search_start: index of the last `<search>`.
        states: of the processed ids, kept where a tagger will read them.
        num_tagged: how many ids the tagger has read.
        opened: when it was, on the clock that `seconds` of a trajectory are of.
        wanted_search: `<search>` was the likeliest token at least once where it was barred.
    """

    request: Request
    rendered: Rendered
    limits: Limits
    state: GrammarState
    longest: int = 0
    features: ImageFeatures | None = None
    slot: int | None = None
    entered: int = 0
    asked_at: float = math.inf
    num_processed: int = 0
    num_counted: int = 0
    search_start: int = -1
    states: list[Float[Tensor, "chunk hidden"]] = field(default_factory=list)
    num_tagged: int = 0
    grounded: list[GroundedPhrase] = field(default_factory=list)
    searches: list[SearchRecord] = field(default_factory=list)
    wanted_search: bool = False
    finish_reason: FinishReason | None = None
    opened: float = field(default_factory=time.monotonic)

    @cached_property
    def first_placeholder(self) -> int:
        """Place of the image in the sequence; 0 without one."""
        kinds = self.rendered.token_kind
        return kinds.index(TokenKind.IMAGE) if TokenKind.IMAGE in kinds else 0

    @property
    def pending_ids(self) -> list[int]:
        return self.rendered.input_ids[self.num_processed :]

    @property
    def num_pending(self) -> int:
        return len(self.rendered) - self.num_processed

    @property
    def awaits_evidence(self) -> bool:
        return self.state.phase is Phase.EVIDENCE

    @property
    def last_sampled(self) -> int:
        """The id that was sampled last; an end token that the model did not write stands behind."""
        written_end = self.rendered.token_kind[-1] is TokenKind.PROMPT
        return self.rendered.input_ids[-2 if written_end else -1]

    @property
    def is_in_query(self) -> bool:
        """Whether its last token belongs to a search."""
        return self.state.phase in (Phase.PAYLOAD, Phase.SYMBOL, Phase.EVIDENCE)

    @property
    def is_forced_search(self) -> bool:
        """Whether the search that is open was written by the engine."""
        return self.rendered.token_kind[self.search_start] is TokenKind.PROMPT

    @property
    def payload_ids(self) -> list[int]:
        """Ids between the last `<search>` and its `</search>`."""
        return self.rendered.input_ids[self.search_start + 1 : -1]

    @property
    def num_region_searches(self) -> int:
        return sum(search.type is QueryType.region for search in self.searches)

    def append(self, token: int, token_class: TokenClass) -> None:
        """Take a sampled token, which may come here; a `<seg>` opens a grounded phrase."""
        position = len(self.rendered)
        if token_class is TokenClass.SEG:
            self.add_phrase(GroundedPhrase(position=position, features=self.features))
        elif token_class is TokenClass.SEARCH:
            self.search_start = position
        elif token_class is TokenClass.END:
            self.finish_reason = self._finish_reason()
        self.rendered.extend([token], TokenKind.GENERATED, supervised=True)
        self.state = grammar.advance(self.state, token_class)

    def add_phrase(self, phrase: GroundedPhrase) -> None:
        """Take a grounded phrase, the last so far."""
        phrase.earlier = tuple(self.grounded)
        self.grounded.append(phrase)

    def ground(self, phrases: Sequence[GroundedPhrase]) -> None:
        """Take the phrases that a tagger found."""
        for phrase in phrases:
            self.add_phrase(phrase)
        self.state = grammar.ground(self.state, len(phrases))

    def end(self, token: int) -> None:
        """Close an answer that ended in words, by the end token; the model did not write it."""
        self.finish_reason = self._finish_reason()
        self.rendered.extend([token], TokenKind.PROMPT)
        self.state = grammar.advance(self.state, TokenClass.END)

    def force_search(self, payload_ids: Sequence[int]) -> None:
        """Write `<search> … </search>` in the model's place.

        The ids are of kind PROMPT: they were given to the model, so they are neither scored as its
        words nor ever supervised.
        """
        self.search_start = len(self.rendered)
        self.rendered.extend(payload_ids, TokenKind.PROMPT)
        self.state = grammar.force_search(self.state, len(payload_ids))

    def inject(self, evidence_ids: Sequence[int], record: SearchRecord) -> None:
        """Append the evidence of the search that was open."""
        self.rendered.extend(evidence_ids, TokenKind.EVIDENCE)
        self.searches.append(record)
        self.state = grammar.inject_evidence(self.state, len(evidence_ids))

    def trajectory(self, renderer: ChatRenderer, *, with_mask_logits: bool = False) -> Trajectory:
        """The finished answer; all its masks are decoded."""
        grounded = (
            replace(
                self.grounded_record(one, renderer),
                mask_logits=one.mask_logits if with_mask_logits else None,
            )
            for one in self.grounded
        )
        return Trajectory(
            request_id=self.request.id,
            rendered=self.rendered,
            answer_text=renderer.answer_text(self.rendered),
            all_text=renderer.answer_text(self.rendered, after_last_search=False),
            searches=tuple(self.searches),
            grounded=tuple(grounded),
            finish_reason=self.finish_reason,
            seconds=time.monotonic() - self.opened,
        )

    def grounded_record(self, phrase: GroundedPhrase, renderer: ChatRenderer) -> GroundedRecord:
        """A phrase whose mask is decoded, in words."""
        return GroundedRecord(
            phrase=self._words_of(phrase, renderer), mask=phrase.mask, position=phrase.position
        )

    def forget_processed(self) -> None:
        """Be processed anew from the first id on: the slot was lost."""
        self.num_processed = 0
        self.states.clear()

    def forget(self) -> None:
        """Let go of what a finished answer no longer needs; its row may live on."""
        self.states.clear()
        self.grounded.clear()
        self.features = None

    def _finish_reason(self) -> FinishReason:
        if grammar.is_last_token(self.state, self.limits):
            return FinishReason.length
        return FinishReason.forced_answer if self.wanted_search else FinishReason.end

    def _words_of(self, phrase: GroundedPhrase, renderer: ChatRenderer) -> str:
        """Its tagged words, or those between a `<seg>` and the special token before it."""
        ids, kinds = self.rendered.input_ids, self.rendered.token_kind
        if phrase.words is not None:
            return renderer.tokenizer.decode(ids[phrase.words : phrase.position + 1]).strip()
        start = phrase.position
        special = renderer.ids.never_in_text
        while kinds[start - 1] is TokenKind.GENERATED and ids[start - 1] not in special:
            start -= 1
        return renderer.tokenizer.decode(ids[start : phrase.position]).strip()
