import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch.evaluation.metrics.text_qa import (
    contains,
    exact_match,
    flashrag_overlap,
    hotpotqa_overlap,
    joint_overlap,
    musique_f1,
    musique_group_score,
    popqa_accuracy,
    support_overlap,
    token_f1,
    token_overlap,
)
from tests.evaluation.metrics.properties import few_examples

WORDS = st.sampled_from(["red", "blue", "yes", "no", "the", "Obama", "5", "-"])
ANSWERS = st.lists(WORDS, max_size=4).map(" ".join)
GOLDS = st.lists(ANSWERS, min_size=1, max_size=3)
WORDED = st.lists(st.sampled_from(["red", "blue", "Obama"]), min_size=1, max_size=4).map(" ".join)


@few_examples
@given(ANSWERS, GOLDS)
def test_scores_lie_between_zero_and_one(answer, golds):
    overlap = flashrag_overlap(answer, golds)
    scores = [token_f1(answer, golds), musique_f1(answer, golds), overlap.f1, overlap.precision]
    assert all(0 <= score <= 1 for score in scores)


@few_examples
@given(WORDED, GOLDS)
def test_a_gold_answer_has_the_best_score(answer, golds):
    golds = [*golds, answer]
    assert exact_match(answer, golds)
    assert contains(answer, golds)
    assert token_f1(answer, golds) == musique_f1(answer, golds) == 1
    assert flashrag_overlap(answer, golds).f1 == 1


@few_examples
@given(ANSWERS, GOLDS)
def test_neither_the_order_of_golds_nor_case_matters(answer, golds):
    other = [gold.upper() for gold in reversed(golds)]
    assert exact_match(answer, golds) == exact_match(answer.lower(), other)
    assert token_f1(answer, golds) == token_f1(answer.lower(), other)
    assert flashrag_overlap(answer, golds) == flashrag_overlap(answer.lower(), other)


@few_examples
@given(ANSWERS, ANSWERS)
def test_f1_is_symmetric_and_hotpotqas_is_never_higher(answer, gold):
    assert token_overlap(answer, gold).f1 == pytest.approx(token_overlap(gold, answer).f1)
    assert hotpotqa_overlap(answer, gold).f1 <= token_overlap(answer, gold).f1


@pytest.mark.parametrize(
    ("answer", "gold", "hotpotqa", "musique", "exact"),
    [
        ("yes it is", "yes", 0, 0.5, False),
        ("the", "a", 0, 1, True),
        ("noanswer", "x noanswer", 0, 2 / 3, False),
        ("Barack Obama", "President Barack Obama", 0.8, 0.8, False),
        ("Beyonc\u00e9", "Beyonce", 0, 0, False),
    ],
)
def test_where_the_benchmarks_differ(answer, gold, hotpotqa, musique, exact):
    assert hotpotqa_overlap(answer, gold).f1 == pytest.approx(hotpotqa)
    assert musique_f1(answer, [gold]) == pytest.approx(musique)
    assert exact_match(answer, [gold]) is exact


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("He was a politician.", True),
        ("Politician", True),
        ("POLITICIAN", False),
        ("\n\npolitician", True),
        ("Unknown\npolitician", False),
    ],
)
def test_popqa_looks_at_the_first_line_and_keeps_its_case(answer, right):
    assert popqa_accuracy(answer, ["politician"]) is right


def test_no_gold_answer_is_never_matched():
    assert not exact_match("", [])
    assert token_f1("x", []) == musique_f1("x", []) == 0


def test_supporting_facts_that_nobody_named():
    assert support_overlap([], []).f1 == 0
    assert support_overlap([], [], empty_is_right=True).f1 == 1
    assert support_overlap([1], [], empty_is_right=True).f1 == 0


def test_joint_and_group_scores():
    answer, support = token_overlap("Obama", "Barack Obama"), support_overlap([1, 2], [1])
    joint = joint_overlap(answer, support)
    assert (joint.precision, joint.recall) == (0.5, 0.5)
    assert musique_group_score(0.5, (True, False), [True, False]) == 0.5
    assert musique_group_score(0.5, [False, True], [True, False]) == 0
