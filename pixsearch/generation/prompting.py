"""From a request to a row: the prompt, its limits, and that it fits."""

from pixsearch.chat import ChatRenderer
from pixsearch.config import (
    ForcedFirst,
    GenerationOptions,
    GroundBy,
    PolicyOptions,
    QueryType,
)
from pixsearch.generation import grammar
from pixsearch.generation.grammar import GrammarState, Limits
from pixsearch.generation.limits import check_request, max_length
from pixsearch.generation.records import Request
from pixsearch.generation.row import Row
from pixsearch.rendering import TokenKind


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
        ValueError: the request is beyond a limit, or prompt and one search that the policy allows
            do not fit `generation.max_length` or `generation.max_new_tokens`.
    """
    check_request(request, options)
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
    _check_length(row)
    _check_room_to_search(row, options)
    row.longest = _longest(row)
    return row


def _check_length(row: Row) -> None:
    """See that a prompt leaves room."""
    needed = len(row.rendered) + _first_search_tokens(row) + row.limits.answer_tokens
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


def _longest(row: Row) -> int:
    """Tokens that a new row can grow to; so much the cache must hold."""
    limits = row.limits
    num_searches = max(limits.max_searches, row.state.searches)
    grown = len(row.rendered) + limits.max_new_tokens + num_searches * limits.evidence_tokens
    return min(limits.max_length, grown)


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
    most = min(options.max_new_tokens, request.max_new_tokens or options.max_new_tokens)
    return Limits(
        types=types if has_image else types & {QueryType.text},
        can_ground=has_image and ground_by is GroundBy.seg,
        tags_phrases=has_image and ground_by is GroundBy.span,
        max_searches=policy.max_searches,
        query_tokens=policy.query_tokens,
        evidence_tokens=evidence_tokens,
        max_new_tokens=most,
        answer_tokens=max(1, options.answer_tokens * most // options.max_new_tokens),
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
    if forced is ForcedFirst.text_query:
        row.force_search(renderer.payload_ids(QueryType.text, row.request.asked))
    elif forced is ForcedFirst.whole_image and row.request.image is not None:
        row.force_search(renderer.payload_ids(QueryType.image, None))
    elif forced is ForcedFirst.region and row.request.image is not None:
        row.force_search(renderer.payload_ids(QueryType.region, None))
