"""The trajectory grammar as a state machine of one row: what was emitted → what may come next.

    answer   := (text | grounded | search)* end
    grounded := phrase "<seg>"        (where phrases are tagged: the phrase alone)
    search   := "<search>" payload "</search>" "<information>" evidence "</information>"
    payload  := "<region>" | "<whole>" | free text

Pure: no tensors, no tokenizer. `constraints.py` makes masks over the vocabulary of what it allows.
"""

from dataclasses import dataclass, replace
from enum import Enum, IntFlag, auto

from pixsearch.config import QueryType

SHORTEST_SEARCH = 3  # tokens: <search>, one of payload, </search>


class TokenClass(IntFlag):
    """The classes of tokens that may be sampled; a set of them is what may come next.

    `<information>`, `</information>`, padding and placeholders are in none: they are never sampled.
    """

    TEXT = auto()
    SEG = auto()
    SEARCH = auto()
    SEARCH_END = auto()
    REGION = auto()
    WHOLE = auto()
    END = auto()


NOTHING = TokenClass(0)
WORDS_OR_END = TokenClass.TEXT | TokenClass.END
WORDS_OR_CLOSE = TokenClass.TEXT | TokenClass.SEARCH_END
IN_ANSWER = {  # (may ground, may search) → what may come; composed once, flags are slow to join
    (False, False): WORDS_OR_END,
    (False, True): WORDS_OR_END | TokenClass.SEARCH,
    (True, False): WORDS_OR_END | TokenClass.SEG,
    (True, True): WORDS_OR_END | TokenClass.SEG | TokenClass.SEARCH,
}


class Phase(Enum):
    """Where in the grammar a row stands."""

    ANSWER = auto()
    PAYLOAD = auto()  # inside a search; words or nothing so far
    SYMBOL = auto()  # inside a search, after <region> or <whole>
    EVIDENCE = auto()  # after </search>, until the engine has injected what came back
    ENDED = auto()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What policy, options and request allow one row.

    Attributes:
        types: query types that the policy allows and the request makes possible.
        can_ground: <seg> may come; False without an image.
        tags_phrases: phrases are grounded by a tagger, which reads what was written when a search
            is opened.
        query_tokens: longest free-text payload.
        evidence_tokens: most that one search injects, tags and restated question included.
        max_new_tokens: most tokens to be sampled.
        answer_tokens: of these, how many are kept back for the answer after the last search.
        max_length: most tokens of prompt, sampled tokens and evidence together.
    """

    types: frozenset[QueryType]
    can_ground: bool
    tags_phrases: bool = False
    max_searches: int
    query_tokens: int
    evidence_tokens: int
    max_new_tokens: int
    answer_tokens: int
    max_length: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GrammarState:
    """All that the grammar must remember of a row.

    Attributes:
        words: text tokens in a row since the last special token.
        length: tokens of the row so far, the prompt included.
    """

    phase: Phase = Phase.ANSWER
    words: int = 0
    grounded: int = 0
    searches: int = 0
    sampled: int = 0
    length: int = 0


def allowed_next(state: GrammarState, limits: Limits) -> TokenClass:
    """The classes of which the next token must be one; never empty while the row awaits a token."""
    match state.phase:
        case Phase.ANSWER:
            return _allowed_in_answer(state, limits)
        case Phase.PAYLOAD:
            return _allowed_in_payload(state, limits)
        case Phase.SYMBOL:
            return TokenClass.SEARCH_END
        case _:
            return NOTHING


def advance(state: GrammarState, token: TokenClass) -> GrammarState:
    """The state after one sampled token of an allowed class."""
    changed = {"sampled": state.sampled + 1, "length": state.length + 1, "words": 0}
    match token:
        case TokenClass.TEXT:
            changed["words"] = state.words + 1
        case TokenClass.SEG:
            changed["grounded"] = state.grounded + 1
        case TokenClass.SEARCH:
            changed["phase"] = Phase.PAYLOAD
        case TokenClass.REGION | TokenClass.WHOLE:
            changed["phase"] = Phase.SYMBOL
        case TokenClass.SEARCH_END:
            changed |= {"phase": Phase.EVIDENCE, "searches": state.searches + 1}
        case TokenClass.END:
            changed["phase"] = Phase.ENDED
        case _:
            raise AssertionError(f"{token!r} is not one class of tokens")
    return replace(state, **changed)


def ground(state: GrammarState, num_phrases: int) -> GrammarState:
    """The state after a tagger found grounded phrases in what was written."""
    return replace(state, grounded=state.grounded + num_phrases)


def can_open_search(state: GrammarState, limits: Limits) -> bool:
    """Whether a search that is opened here can have a payload, tagged phrases being known."""
    return _payload_starts(state, limits) != NOTHING


def force_search(state: GrammarState, num_tokens: int) -> GrammarState:
    """The state after a search of `num_tokens` that the engine wrote; it counts as one."""
    assert state.phase is Phase.ANSWER
    return replace(
        state,
        phase=Phase.EVIDENCE,
        searches=state.searches + 1,
        length=state.length + num_tokens,
        words=0,
    )


def inject_evidence(state: GrammarState, num_tokens: int) -> GrammarState:
    """The state after the evidence, tags included, was appended."""
    assert state.phase is Phase.EVIDENCE
    return replace(state, phase=Phase.ANSWER, length=state.length + num_tokens)


def is_last_token(state: GrammarState, limits: Limits) -> bool:
    """Whether there is room for one token more and no other."""
    return not _has_room(state, limits, tokens=2)


def _allowed_in_answer(state: GrammarState, limits: Limits) -> TokenClass:
    if is_last_token(state, limits):
        return TokenClass.END
    may_ground = limits.can_ground and state.words > 0
    return IN_ANSWER[may_ground, _may_search(state, limits)]


def _allowed_in_payload(state: GrammarState, limits: Limits) -> TokenClass:
    if state.words == 0:
        return _payload_starts(state, limits)
    is_full = state.words >= limits.query_tokens
    if is_full or not _has_room_after_search(state, limits, tokens=2):  # one word more, </search>
        return TokenClass.SEARCH_END
    return WORDS_OR_CLOSE


def _payload_starts(state: GrammarState, limits: Limits) -> TokenClass:
    """How a payload may begin: the query types that are possible now."""
    starts = NOTHING
    if QueryType.text in limits.types:
        starts |= TokenClass.TEXT
    if QueryType.image in limits.types:
        starts |= TokenClass.WHOLE
    if QueryType.region in limits.types and state.grounded > 0:
        starts |= TokenClass.REGION
    return starts


def _may_search(state: GrammarState, limits: Limits) -> bool:
    return (
        state.searches < limits.max_searches
        and (can_open_search(state, limits) or _may_find_region(limits))
        and _has_room_after_search(state, limits, tokens=SHORTEST_SEARCH)
    )


def _may_find_region(limits: Limits) -> bool:
    """Whether a tagger, once it looks, may find the phrase that a region search needs."""
    return limits.tags_phrases and QueryType.region in limits.types


def _has_room_after_search(state: GrammarState, limits: Limits, *, tokens: int) -> bool:
    """Whether evidence and answer still fit after so many tokens that complete a search."""
    answer = max(1, limits.answer_tokens)  # at least the end token
    return (
        state.sampled + tokens + answer <= limits.max_new_tokens
        and state.length + tokens + limits.evidence_tokens + answer <= limits.max_length
    )


def _has_room(state: GrammarState, limits: Limits, *, tokens: int) -> bool:
    return (
        state.sampled + tokens <= limits.max_new_tokens
        and state.length + tokens <= limits.max_length
    )
