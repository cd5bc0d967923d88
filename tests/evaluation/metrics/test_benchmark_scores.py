"""InfoSeek, OVEN, Encyclopedic-VQA, WebQA, CRAG-MM: what the recorded runs do not show."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch.config import CragMMProtocol
from pixsearch.evaluation.metrics.crag_mm import (
    UNKNOWN_TESTS,
    conversation_scores,
    first_stop,
    stop_early,
)
from pixsearch.evaluation.metrics.encyclopedic_vqa import encyclopedic_vqa_em
from pixsearch.evaluation.metrics.infoseek import (
    InfoSeekItem,
    QuestionType,
    Split,
    infoseek_scores,
    numerical_match,
    parse_numbers,
)
from pixsearch.evaluation.metrics.mean import harmonic_mean, mean_of
from pixsearch.evaluation.metrics.oven import OvenItem, Part, oven_scores
from pixsearch.evaluation.metrics.truthfulness import Verdict
from pixsearch.evaluation.metrics.webqa import Category, webqa_local_accuracy
from tests.evaluation.metrics.properties import few_examples

SCORES = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=20)
TALK = st.lists(st.sampled_from(list(Verdict)), min_size=1, max_size=6)
RIGHT, WRONG, MISSING = Verdict.CORRECT, Verdict.HALLUCINATION, Verdict.MISSING


@few_examples
@given(SCORES)
def test_missing_predictions_are_counted_and_never_help(scores):
    ours, official = mean_of(scores), mean_of(scores, official_missing=True)
    assert ours.num_missing == official.num_missing == scores.count(None)
    assert ours.n == official.n + ours.num_missing == len(scores)
    if official.mean is not None:
        assert 0 <= ours.mean <= official.mean + 1e-12 <= 1 + 1e-9


@few_examples
@given(st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_harmonic_mean_lies_between_and_below_the_plain_one(first, second):
    mean = harmonic_mean(first, second)
    assert min(first, second) - 1e-9 <= mean <= (first + second) / 2 + 1e-9


def test_infoseek_counts_a_missing_prediction_as_wrong():
    item = InfoSeekItem(
        type=QuestionType.STRING, split=Split.UNSEEN_QUESTION, answer="Paris", accepted=("paris",)
    )
    entity = replace(item, split=Split.UNSEEN_ENTITY)
    items = [item, replace(item, answer=None), entity]
    ours, official = infoseek_scores(items), infoseek_scores(items, official_missing=True)
    assert (ours.unseen_question.all.mean, official.unseen_question.all.mean) == (0.5, 1)
    assert ours.final == pytest.approx(2 / 3)
    assert official.final == 1
    assert ours.unseen_question.all.num_missing == 1
    assert infoseek_scores([item]).final is None  # no question of the other split


@few_examples
@given(st.text(max_size=20))
def test_any_text_is_read_as_numbers(text):
    found = parse_numbers(text)
    assert isinstance(found, float) or found[0] <= found[1]


def test_a_second_point_ends_a_number():
    assert parse_numbers("-.5.2") == -0.5  # the official script fails here


@few_examples
@given(st.floats(-100, 100), st.floats(0, 100))
def test_a_number_within_the_range_is_right(low, width):
    low, high = round(low, 2), round(low + width, 2)
    assert numerical_match(f"it is {low:.2f}", (low, high)) or low > high


def test_oven_keeps_queries_and_entities_apart():
    right = OvenItem(part=Part.QUERY, is_seen=True, entity_id="Q1", predicted_id="Q1")
    items = [
        right,
        replace(right, is_seen=False),
        replace(right, part=Part.ENTITY),
        replace(right, part=Part.ENTITY, is_seen=False, predicted_id=None),
    ]
    assert oven_scores(items).query.harmonic == 1
    assert oven_scores(items).final == 0
    assert oven_scores(items, official_missing=True).final is None
    assert oven_scores(items).entity.unseen.num_missing == 1


def test_encyclopedic_vqa_takes_the_best_reference():
    assert encyclopedic_vqa_em("three", ["four", "3"])
    assert not encyclopedic_vqa_em("bees", ["bees&&wasps&&ants"], is_list=True)
    with pytest.raises(ValueError, match="without a reference"):
        encyclopedic_vqa_em("x", [])


@pytest.mark.parametrize("category", Category)
def test_webqas_local_accuracy_of_the_gold_answer(category):
    gold = "Yes, the 3 red squares"
    scores = [webqa_local_accuracy(text, gold, category) for text in (gold, gold.upper(), "")]
    assert scores == ([0, 0, 0] if category is Category.SHAPE else [1, 1, 0])


def test_webqa_counts_only_words_of_the_category():
    assert webqa_local_accuracy("a red and blue wall", "It is red", Category.COLOUR) < 1
    assert webqa_local_accuracy("a red and long wall", "It is red", Category.COLOUR) == 1
    assert webqa_local_accuracy("two or 3", "2", Category.NUMBER) == pytest.approx(2 / 3)


@few_examples
@given(TALK)
def test_stopping_early_never_adds_a_hallucination_or_a_right_answer(talk):
    stopped = stop_early(talk)
    assert len(stopped) == len(talk)
    assert all(now in (before, MISSING) for now, before in zip(stopped, talk, strict=True))
    assert stop_early(stopped) == stopped


@few_examples
@given(st.lists(TALK, min_size=1, max_size=5))
def test_a_conversation_that_is_cut_short_has_failed_twice(talks):
    scores = conversation_scores(talks)
    assert -1 <= scores.conversation_score <= 1
    assert 0 <= scores.cut_short <= scores.failed_twice <= 1


def test_two_failures_at_the_end_cut_nothing():
    scores = conversation_scores([[RIGHT, WRONG, MISSING], [RIGHT]])
    assert (scores.failed_twice, scores.cut_short) == (0.5, 0)
    assert first_stop([WRONG, MISSING, WRONG, WRONG]) == 2


def test_the_tests_for_unknown_differ_on_a_curly_apostrophe_and_on_do_not():
    answers = ["I don't know", "I don\u2019t know", "I do not know"]
    kit, paper = (
        [UNKNOWN_TESTS[protocol](text) for text in answers] for protocol in CragMMProtocol
    )
    assert kit == [True, False, False]
    assert paper == [True, True, True]


def test_no_conversation_is_refused():
    with pytest.raises(ValueError, match="no conversations"):
        conversation_scores([])
