"""Policies, limits and hostile passages: what the engine lets a model do."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixsearch.config import ForcedFirst, GenerationOptions, OnEmptyMask, PolicyOptions, QueryType
from pixsearch.generation import Engine, FinishReason, Request, Trajectory
from pixsearch.model import PixSearch
from pixsearch.rendering import TokenKind
from pixsearch.tokens import SPECIAL_TOKENS
from tests.generation.scripted import QUESTION, RecordingSearch, picture, run_script

REGION_SEARCH = ("The cup", ":seg", ":search", ":region", ":search_end", "Velmora")


class Eager:
    """A `choose` that always takes the first of its favourite tokens that is not barred."""

    def __init__(self, *favourites: int, otherwise: int) -> None:
        self._order = [*favourites, otherwise]

    def __call__(self, logits, rows):
        allowed = logits.isfinite()
        return torch.tensor([next(token for token in self._order if row[token]) for row in allowed])


def search_whenever_allowed(
    model: PixSearch, policy: PolicyOptions, options: GenerationOptions, **request
) -> tuple[Trajectory, RecordingSearch]:
    """What comes of a model that searches by words wherever it may and never ends by itself."""
    ids = model.config.ids
    word = model.renderer.plain_ids("cup")[0]
    search = RecordingSearch()
    choose = Eager(ids.search, ids.region, word, ids.search_end, otherwise=ids.end)
    engine = Engine(model, search, policy, options, choose=choose)
    found = engine.generate([Request(id="one", question=QUESTION, **request)])
    return found[0], search


def test_a_region_search_asks_with_the_mask_of_the_last_phrase(model: PixSearch) -> None:
    search = RecordingSearch("The Velmora cup.", "Another passage.")
    trajectory = run_script(model, "A box", ":seg", *REGION_SEARCH, search=search)
    (query,), (record,) = search.queries, trajectory.searches
    assert query.type is record.type is QueryType.region
    assert query.question == QUESTION
    assert np.array_equal(query.mask, trajectory.grounded[1].mask)
    assert record.passages[1].text == "Another passage."
    assert record.num_injected == 2
    assert not record.forced
    assert [one.phrase for one in trajectory.grounded] == ["A box", "The cup"]
    assert trajectory.answer_text == "Velmora"
    assert trajectory.all_text.startswith("A box The cup")
    assert trajectory.finish_reason is FinishReason.end


def test_a_text_search_asks_with_its_words(model: PixSearch) -> None:
    search = RecordingSearch()
    run_script(model, ":search", "Where is Tarnwick?", ":search_end", "Osmeth", search=search)
    assert [query.text for query in search.queries] == ["Where is Tarnwick?"]


def test_passages_that_do_not_fit_are_recorded_but_not_injected(model: PixSearch) -> None:
    search = RecordingSearch("The cup is red.", "The box is blue. " * 20)
    trajectory = run_script(
        model, *REGION_SEARCH, search=search, policy=PolicyOptions(evidence_tokens=30)
    )
    assert len(trajectory.searches[0].passages) == 2
    assert trajectory.searches[0].num_injected == 1


def test_the_budget_bars_further_searches(model: PixSearch) -> None:
    options = GenerationOptions(max_new_tokens=60, answer_tokens=8)
    trajectory, search = search_whenever_allowed(
        model, PolicyOptions(max_searches=2, query_tokens=3), options
    )
    assert len(search.queries) == len(trajectory.searches) == 2
    assert trajectory.finish_reason is FinishReason.length
    assert trajectory.counts[TokenKind.GENERATED] == 60


def test_tokens_are_kept_back_for_the_answer(model: PixSearch) -> None:
    options = GenerationOptions(max_new_tokens=20, answer_tokens=9)
    trajectory, search = search_whenever_allowed(
        model, PolicyOptions(max_searches=9, query_tokens=30), options
    )
    # <search>, nine words cut short by the length, </search>
    assert [len(query.text.split()) for query in search.queries] == [9]
    last = max(i for i, k in enumerate(trajectory.rendered.token_kind) if k is TokenKind.EVIDENCE)
    assert len(trajectory.rendered) - last - 1 == 9


@pytest.mark.parametrize(("max_new_tokens", "words"), [(30, ("It is the cup",)), (4, ())])
def test_a_shortened_request_can_still_search(
    model: PixSearch, max_new_tokens: int, words: tuple[str, ...]
) -> None:
    """Fewer tokens than `generation.answer_tokens`; four are a search and the end."""
    search = RecordingSearch()
    request = Request(id="one", question=QUESTION, image=picture(), max_new_tokens=max_new_tokens)
    parts = (*words, ":search", ":whole", ":search_end", *words)
    run_script(model, *parts, search=search, request=request)
    assert [query.type for query in search.queries] == [QueryType.image]


def test_max_length_bounds_prompt_evidence_and_answer(model: PixSearch) -> None:
    options = GenerationOptions(max_new_tokens=500, answer_tokens=8, max_length=100)
    policy = PolicyOptions(max_searches=50, query_tokens=2, evidence_tokens=20)
    trajectory, search = search_whenever_allowed(model, policy, options)
    assert 1 < len(search.queries) < 5
    assert len(trajectory.rendered) == 100
    assert trajectory.finish_reason is FinishReason.length


def test_an_answer_is_forced_where_the_model_wanted_to_search(
    model: PixSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = model.config.ids
    wish = 100.0 * torch.nn.functional.one_hot(torch.tensor(ids.search), ids.seg + 1)
    monkeypatch.setattr(model, "next_logits", lambda states: wish.expand(len(states), -1))
    engine = Engine(
        model,
        RecordingSearch(),
        PolicyOptions(max_searches=0),
        GenerationOptions(max_new_tokens=8, answer_tokens=2),
        choose=Eager(otherwise=ids.end),
    )
    (trajectory,) = engine.generate([Request(id="one", question=QUESTION)])
    assert trajectory.finish_reason is FinishReason.forced_answer


@pytest.mark.parametrize(
    ("allow", "has_image", "expected"),
    [
        ([], True, set()),
        ([QueryType.region], True, {QueryType.region}),
        ([QueryType.region, QueryType.image], False, set()),
        ([QueryType.text], False, {QueryType.text}),
    ],
)
def test_only_allowed_and_possible_types_are_asked(
    model: PixSearch, allow: list[QueryType], has_image: bool, expected: set[QueryType]
) -> None:
    ids = model.config.ids
    word = model.renderer.plain_ids("cup")[0]
    search = RecordingSearch()
    engine = Engine(
        model,
        search,
        PolicyOptions(allow=allow, max_searches=2, evidence_tokens=20),
        GenerationOptions(max_new_tokens=50, answer_tokens=4),
        choose=Eager(
            ids.search, ids.region, ids.whole, ids.search_end, ids.seg, word, otherwise=ids.end
        ),
    )
    image = picture() if has_image else None
    engine.generate([Request(id="one", question=QUESTION, image=image)])
    assert {query.type for query in search.queries} == expected
    is_text = {query.question: query.type is QueryType.text for query in search.queries}
    assert is_text in ({None: True, QUESTION: False}, {None: True}, {QUESTION: False}, {})


def test_an_unknown_type_is_an_error(model: PixSearch) -> None:
    policy = PolicyOptions()
    policy.allow = ["words"]
    with pytest.raises(ValueError, match=r"policy.allow: words is no query type"):
        run_script(model, "A cup", policy=policy)


def test_the_question_is_forced_word_for_word(model: PixSearch) -> None:
    search = RecordingSearch()
    policy = PolicyOptions(forced_first=ForcedFirst.text_query, allow=[], query_tokens=2)
    trajectory = run_script(model, "Velmora", search=search, policy=policy)
    assert [query.text for query in search.queries] == [QUESTION]
    (record,) = trajectory.searches
    assert record.forced
    assert record.step == 0
    assert trajectory.all_text == trajectory.answer_text == "Velmora"
    assert model.config.ids.search in trajectory.rendered.input_ids
    forced = trajectory.rendered.input_ids.index(model.config.ids.search)
    assert trajectory.rendered.token_kind[forced] is TokenKind.PROMPT
    assert not any(trajectory.rendered.supervised[: forced + 1])


@pytest.mark.parametrize("forced", [ForcedFirst.text_query, ForcedFirst.whole_image])
def test_words_around_a_question_are_not_searched_with(
    model: PixSearch, forced: ForcedFirst
) -> None:
    around = f"{QUESTION} Answer in one word."
    request = Request(id="one", question=around, search_question=QUESTION, image=picture())
    search = RecordingSearch()
    policy = PolicyOptions(forced_first=forced, allow=[])
    trajectory = run_script(model, "Velmora", search=search, policy=policy, request=request)
    (query,) = search.queries
    assert QUESTION in (query.text, query.question)
    assert around not in (query.text, query.question)
    prompt = model.renderer.plain_ids(" Answer in one word.")[-3:]
    assert str(prompt)[1:-1] in str(trajectory.rendered.input_ids)


def test_the_whole_image_is_forced_where_there_is_one(model: PixSearch) -> None:
    policy = PolicyOptions(forced_first=ForcedFirst.whole_image, allow=[])
    search = RecordingSearch()
    run_script(model, "Velmora", search=search, policy=policy)
    request = Request(id="one", question=QUESTION)
    trajectory = run_script(model, "Velmora", search=search, policy=policy, request=request)
    assert [query.type for query in search.queries] == [QueryType.image]
    assert trajectory.searches == ()


def test_forced_searches_of_one_round_are_one_call(model: PixSearch) -> None:
    search = RecordingSearch()
    engine = Engine(
        model,
        search,
        PolicyOptions(forced_first=ForcedFirst.text_query, allow=[]),
        GenerationOptions(max_new_tokens=3, answer_tokens=1, batch_size=4),
    )
    engine.generate([Request(id=str(i), question=QUESTION) for i in range(4)])
    assert [len(call) for call in search.calls] == [4]
    assert engine.stats.prefill_forwards == 1
    assert engine.stats.evidence_forwards == 0  # the evidence stands in the prompts


def test_a_control_replaces_the_region(model: PixSearch) -> None:
    gold = np.zeros((20, 30), dtype=bool)
    gold[3:5, 4:9] = True
    asked = []

    def override(index: int, mask: np.ndarray) -> np.ndarray:
        asked.append(index)
        return gold

    request = Request(id="one", question=QUESTION, image=picture(), region_override=override)
    search = RecordingSearch()
    trajectory = run_script(model, *REGION_SEARCH * 2, search=search, request=request)
    assert asked == [0, 1]
    assert all(np.array_equal(query.mask, gold) for query in search.queries)
    assert np.array_equal(trajectory.searches[0].mask, gold)


@pytest.mark.parametrize(
    ("action", "asked"), [(OnEmptyMask.whole_image, [QueryType.image]), (OnEmptyMask.skip, [])]
)
def test_an_empty_mask_is_handled_as_the_policy_says(
    model: PixSearch, action: OnEmptyMask, asked: list[QueryType]
) -> None:
    search = RecordingSearch()
    trajectory = run_script(
        model,
        *REGION_SEARCH,
        search=search,
        policy=PolicyOptions(on_empty_mask=action),
        request=empty_mask_request(),
    )
    (record,) = trajectory.searches
    assert [query.type for query in search.queries] == asked
    assert all(query.question for query in search.queries)
    assert record.type is QueryType.region
    assert record.empty_mask_action is action
    assert bool(record.passages) is bool(asked)


def test_an_empty_mask_can_be_an_error(model: PixSearch) -> None:
    policy = PolicyOptions(on_empty_mask=OnEmptyMask.error)
    with pytest.raises(ValueError, match="request one: region search 1 has an empty mask"):
        run_script(model, *REGION_SEARCH, policy=policy, request=empty_mask_request())


def empty_mask_request() -> Request:
    return Request(
        id="one",
        question=QUESTION,
        image=picture(),
        region_override=lambda index, mask: np.zeros_like(mask),
    )


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pieces=st.lists(
        st.sampled_from([*SPECIAL_TOKENS, "</s>", "<image>", "<pad>", "<", "information>", " "])
        | st.text(max_size=8),
        max_size=8,
    )
)
def test_hostile_words_cannot_leave_their_block(model: PixSearch, pieces: list[str]) -> None:
    hostile = "".join(pieces)
    if not hostile.strip():  # an empty question is refused, see below
        hostile = "cup"
    trajectory = run_script(
        model,
        *(":search", "cup", ":search_end", "Velmora"),
        search=RecordingSearch(hostile, hostile),
        request=Request(id="one", question=hostile),
    )
    ids = model.config.ids
    by_kind = {kind: [] for kind in TokenKind}
    for token, kind in zip(
        trajectory.rendered.input_ids, trajectory.rendered.token_kind, strict=True
    ):
        by_kind[kind].append(token)
    added = set(model.tokenizer.get_added_vocab().values())
    assert not added & set(by_kind[TokenKind.PROMPT])
    assert added & set(by_kind[TokenKind.EVIDENCE]) == {ids.information, ids.information_end}
    assert by_kind[TokenKind.EVIDENCE].count(ids.information_end) == 1
    assert by_kind[TokenKind.EVIDENCE][-1] == ids.information_end
    assert trajectory.answer_text == "Velmora"


@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_refused(model: PixSearch, question: str) -> None:
    request = Request(id="one", question=question)
    with pytest.raises(ValueError, match="request one: the question is empty"):
        run_script(model, "Velmora", search=RecordingSearch("cup"), request=request)
