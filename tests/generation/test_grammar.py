import re
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from pixsearch.config import QueryType
from pixsearch.generation.grammar import (
    GrammarState,
    Limits,
    Phase,
    TokenClass,
    advance,
    allowed_next,
    force_search,
    inject_evidence,
)

LETTERS = {
    TokenClass.TEXT: "t",
    TokenClass.SEG: "g",
    TokenClass.SEARCH: "<",
    TokenClass.SEARCH_END: ">",
    TokenClass.REGION: "r",
    TokenClass.WHOLE: "w",
    TokenClass.END: ".",
}
EVIDENCE = "e"
# (text | phrase <seg> | <search> payload </search> evidence)* end
GRAMMAR = re.compile(r"(t|(?<=t)g|<(r|w|t+)>e)*\.")

limits = st.builds(
    Limits,
    types=st.frozensets(st.sampled_from(list(QueryType))),
    can_ground=st.booleans(),
    max_searches=st.integers(0, 4),
    query_tokens=st.integers(1, 5),
    evidence_tokens=st.integers(2, 20),
    max_new_tokens=st.integers(1, 40),
    answer_tokens=st.integers(0, 10),
    max_length=st.integers(30, 120),
)


def walk(limits: Limits, choices: Sequence[int], prompt_length: int) -> tuple[str, GrammarState]:
    """A trajectory that picks among what is allowed as `choices` say, in letters."""
    state, written, step = GrammarState(length=prompt_length), "", 0
    while state.phase is not Phase.ENDED:
        if state.phase is Phase.EVIDENCE:
            state, written = inject_evidence(state, limits.evidence_tokens), written + EVIDENCE
            continue
        allowed = [one for one in TokenClass if one in allowed_next(state, limits)]
        chosen = allowed[choices[step % len(choices)] % len(allowed)]
        state, written, step = advance(state, chosen), written + LETTERS[chosen], step + 1
    return written, state


walks = st.tuples(limits, st.lists(st.integers(0, 59), min_size=1, max_size=40), st.integers(1, 25))


@settings(max_examples=50, deadline=None)
@given(walks)
def test_every_admitted_trajectory_parses(drawn: tuple[Limits, list[int], int]) -> None:
    written, _ = walk(*drawn)
    assert GRAMMAR.fullmatch(written), written


@settings(max_examples=50, deadline=None)
@given(walks)
def test_no_limit_is_exceeded(drawn: tuple[Limits, list[int], int]) -> None:
    limits, _, _ = drawn
    written, state = walk(*drawn)
    assert written.count("<") == state.searches <= limits.max_searches
    assert len(written.replace(EVIDENCE, "")) == state.sampled <= limits.max_new_tokens
    assert state.length <= limits.max_length
    assert all(len(words) <= limits.query_tokens for words in re.findall(r"<(t+)>", written))


@settings(max_examples=50, deadline=None)
@given(walks)
def test_barred_types_are_never_asked(drawn: tuple[Limits, list[int], int]) -> None:
    limits, _, _ = drawn
    written, _ = walk(*drawn)
    for query_type, letter in (("text", "t"), ("image", "w"), ("region", "r")):
        assert query_type in limits.types or f"<{letter}" not in written
    assert limits.can_ground or "g" not in written
    first_region = written.find("r")
    assert first_region < 0 or "g" in written[:first_region]


@settings(max_examples=50, deadline=None)
@given(walks)
def test_room_for_the_answer_is_kept_after_a_search(drawn: tuple[Limits, list[int], int]) -> None:
    limits, _, _ = drawn
    written, _ = walk(*drawn)
    before = written[: written.rfind(EVIDENCE) + 1].replace(EVIDENCE, "")
    kept_back = max(1, limits.answer_tokens)
    assert not before or limits.max_new_tokens - len(before) >= kept_back


def test_a_forced_search_counts() -> None:
    limits = Limits(
        types=frozenset(QueryType),
        can_ground=True,
        max_searches=1,
        query_tokens=8,
        evidence_tokens=8,
        max_new_tokens=50,
        answer_tokens=8,
        max_length=100,
    )
    state = force_search(GrammarState(length=10), 3)
    assert state.phase is Phase.EVIDENCE
    assert (state.sampled, state.length) == (0, 13)
    state = inject_evidence(state, 8)
    assert TokenClass.SEARCH not in allowed_next(state, limits)
