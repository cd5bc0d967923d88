"""One request in flight: its ids so far, where it stands in the grammar, what it found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from pixsearch.chat import ChatRenderer
from pixsearch.config import (
    ForcedFirst,
    GenerationOptions,
    GroundBy,
    PolicyOptions,
    QueryType,
)
from pixsearch.generation import grammar
from pixsearch.generation.grammar import GrammarState, Limits, Phase, TokenClass
from pixsearch.generation.limits import max_length
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
        num_processed: how many of its ids the model has processed; the rest is pending.
        search_start: index of the last `<search>`.
        states: of the processed ids, kept where a tagger will read them.
        num_tagged: how many ids the tagger has read.
        wanted_search: `<search>` was the likeliest token at least once where it was barred.
    """

    request: Request
    rendered: Rendered
    limits: Limits
    state: GrammarState
    features: ImageFeatures | None = None
    num_processed: int = 0
    search_start: int = -1
    states: list[Float[Tensor, "chunk hidden"]] = field(default_factory=list)
    num_tagged: int = 0
    grounded: list[GroundedPhrase] = field(default_factory=list)
    searches: list[SearchRecord] = field(default_factory=list)
    wanted_search: bool = False
    finish_reason: FinishReason | None = None

    @cached_property
    def first_placeholder(self) -> int:
        """Place of the image in the sequence; 0 without one."""
        kinds = self.rendered.token_kind
        return kinds.index(TokenKind.IMAGE) if TokenKind.IMAGE in kinds else 0

    @property
    def pending_ids(self) -> list[int]:
        return self.rendered.input_ids[self.num_processed :]

    @property
    def awaits_evidence(self) -> bool:
        return self.state.phase is Phase.EVIDENCE

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

    def trajectory(self, renderer: ChatRenderer) -> Trajectory:
        """The finished answer; all its masks are decoded."""
        return Trajectory(
            request_id=self.request.id,
            rendered=self.rendered,
            answer_text=renderer.answer_text(self.rendered),
            all_text=renderer.answer_text(self.rendered, after_last_search=False),
            searches=tuple(self.searches),
            grounded=tuple(
                GroundedRecord(
                    phrase=self._words_of(one, renderer),
                    mask=one.mask,
                    position=one.position,
                )
                for one in self.grounded
            ),
            finish_reason=self.finish_reason,
        )

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


def open_row(
    request: Request,
    *,
    renderer: ChatRenderer,
    policy: PolicyOptions,
    options: GenerationOptions,
    num_image_tokens: int | None = None,
    num_positions: int | None = None,
) -> Row:
    """Render a request's prompt, with the forced first query if the policy has one.

    Args:
        num_image_tokens: placeholders of its image; where that is the same number for every image,
            the renderer knows it.
        num_positions: that the language model was made for.

    Raises:
        ValueError: prompt and one search that the policy allows do not fit `generation.max_length`
            or `generation.max_new_tokens`.
    """
    rendered = renderer.render_prompt(request.conversation, num_image_tokens=num_image_tokens)
    besides = renderer.num_evidence_tokens(request.question)
    limits = _limits(
        request,
        policy,
        options,
        evidence_tokens=policy.evidence_tokens + besides,
        ground_by=renderer.ground_by,
        longest=max_length(
            options,
            num_image_tokens=rendered.token_kind.count(TokenKind.IMAGE),
            num_positions=num_positions,
        ),
    )
    state = GrammarState(length=len(rendered))
    row = Row(request=request, rendered=rendered, limits=limits, state=state)
    _force_first(row, renderer, policy.forced_first)
    _check_length(row, options)
    _check_room_to_search(row, options)
    return row


def _check_length(row: Row, options: GenerationOptions) -> None:
    """See that a prompt leaves room."""
    needed = len(row.rendered) + _first_search_tokens(row) + max(1, options.answer_tokens)
    if needed > row.limits.max_length:
        raise ValueError(
            f"request {row.request.id}: prompt, one search, shortest answer take {needed} tokens, "
            f"generation.max_length={row.limits.max_length}; raise it, lower "
            "policy.evidence_tokens or shorten the question"
        )


def _check_room_to_search(row: Row, options: GenerationOptions) -> None:
    """See that limits do not bar what the policy allows."""
    may_search = row.limits.types and row.limits.max_searches > row.state.searches
    answer_tokens = max(1, options.answer_tokens)
    if may_search and grammar.SHORTEST_SEARCH + answer_tokens > options.max_new_tokens:
        raise ValueError(
            f"generation.max_new_tokens={options.max_new_tokens} leaves no room for a search of "
            f"{grammar.SHORTEST_SEARCH} tokens beside generation.answer_tokens={answer_tokens}: "
            "raise the one, lower the other, or set policy.max_searches=0"
        )


def _first_search_tokens(row: Row) -> int:
    """What the first search still takes, its evidence included; 0 if there is none."""
    if row.awaits_evidence:
        return row.limits.evidence_tokens
    if row.limits.types and row.limits.max_searches > 0:
        return grammar.SHORTEST_SEARCH + row.limits.evidence_tokens
    return 0


def longest_row(rows: Sequence[Row]) -> int:
    """Tokens that the longest of these rows can grow to; so much the cache must hold."""
    return max(min(row.limits.max_length, _most_tokens(row)) for row in rows)


def _most_tokens(row: Row) -> int:
    limits = row.limits
    num_searches = max(limits.max_searches, row.state.searches)
    return len(row.rendered) + limits.max_new_tokens + num_searches * limits.evidence_tokens


def _limits(
    request: Request,
    policy: PolicyOptions,
    options: GenerationOptions,
    *,
    evidence_tokens: int,
    ground_by: GroundBy,
    longest: int,
) -> Limits:
    has_image = request.image is not None
    types = _allowed_types(policy)
    return Limits(
        types=types if has_image else types & {QueryType.text},
        can_ground=has_image and ground_by is GroundBy.seg,
        tags_phrases=has_image and ground_by is GroundBy.span,
        max_searches=policy.max_searches,
        query_tokens=policy.query_tokens,
        evidence_tokens=evidence_tokens,
        max_new_tokens=options.max_new_tokens,
        answer_tokens=options.answer_tokens,
        max_length=longest,
    )


def _allowed_types(policy: PolicyOptions) -> frozenset[QueryType]:
    """Checked here for those who set options in Python; a YAML's are when it is composed."""
    unknown = sorted(set(policy.allow) - set(QueryType))
    if unknown:
        raise ValueError(
            f"policy.allow: {', '.join(unknown)} is no query type; use {', '.join(QueryType)}"
        )
    return frozenset(QueryType(name) for name in policy.allow)


def _force_first(row: Row, renderer: ChatRenderer, forced: ForcedFirst) -> None:
    """Open the forced first search; none of image or region where there is no image."""
    question = row.request.question
    if forced is ForcedFirst.text_query:
        row.force_search(renderer.payload_ids(QueryType.text, question))
    elif forced is ForcedFirst.whole_image and row.request.image is not None:
        row.force_search(renderer.payload_ids(QueryType.image, None))
    elif forced is ForcedFirst.region and row.request.image is not None:
        row.force_search(renderer.payload_ids(QueryType.region, None))
