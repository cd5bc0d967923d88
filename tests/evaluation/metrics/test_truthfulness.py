import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch.evaluation.metrics.truthfulness import (
    Verdict,
    abstention,
    hallucination_when_attempted,
    judge,
    precision_recall,
    says_unknown,
    truthfulness,
)


@given(st.lists(st.sampled_from(list(Verdict)), min_size=1, max_size=200))
def test_fractions_sum_to_one_and_truthfulness_is_accuracy_minus_hallucination(verdicts):
    scores = truthfulness(verdicts)
    assert scores.accuracy + scores.missing + scores.hallucination == pytest.approx(1)
    assert scores.truthfulness == pytest.approx(scores.accuracy - scores.hallucination)
    assert -1 <= scores.truthfulness <= 1


def test_the_papers_full_row_follows_from_its_counts():
    verdicts = [Verdict.CORRECT] * 377 + [Verdict.MISSING] * 216 + [Verdict.HALLUCINATION] * 407
    assert truthfulness(verdicts).truthfulness == pytest.approx(-0.030)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("Osmeth", "correct"),
        ("osmeth.", "correct"),
        ("The land of Osmeth!", "correct"),
        ("It is Osmeth", "hallucination"),
        ("", "hallucination"),
        ("I don't know", "missing"),
        ("I don\u2019t know, perhaps Osmeth", "missing"),
        ("i DO not   know", "hallucination"),  # the official test wants single spaces
        ("I do not know", "missing"),
        ("No idea", "hallucination"),
    ],
)
def test_judge(answer, verdict):
    assert judge(answer, "Osmeth", ["land of Osmeth"]).value == verdict


def test_answers_over_twelve_words_are_wrong():
    twelve = " ".join(["word"] * 12)
    assert judge(twelve, twelve) is Verdict.CORRECT
    assert judge(f"{twelve} word", f"{twelve} word") is Verdict.HALLUCINATION


@given(st.text(max_size=20), st.text(max_size=20))
def test_unknown_is_found_wherever_it_stands(before, after):
    assert says_unknown(f"{before} i don't know {after}")


def test_no_verdicts_are_refused():
    with pytest.raises(ValueError, match="no answers"):
        truthfulness([])


def test_abstention_by_hand():
    scores = abstention([True, True, False, False], ["x", "I don't know", "I don't know", "y"])
    assert (scores.precision, scores.recall) == (0.5, 0.5)


def test_ratios_without_denominator_are_none():
    assert hallucination_when_attempted(truthfulness([Verdict.MISSING])) is None
    scores = precision_recall([False], [False])
    assert (scores.precision, scores.recall) == (None, None)
