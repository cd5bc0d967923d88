import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch.evaluation.metrics.normalisation import caseless, squad
from pixsearch.evaluation.metrics.relaxed import chartqa_relaxed_accuracy, relaxed_token_overlap
from pixsearch.evaluation.metrics.vqa import (
    direct_answer_score,
    evalai_accuracy,
    gqa_exact_match,
    leave_one_out,
    textvqa_exact_match,
    vqa_accuracy,
)
from tests.evaluation.metrics.properties import few_examples

WORDS = ["red", "blue", "two", "2", "a dog", "Dog", "dont"]
PEOPLE = st.lists(st.sampled_from(WORDS), min_size=10, max_size=10)
IDS = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@few_examples
@given(st.sampled_from(WORDS), PEOPLE)
def test_soft_accuracy_is_a_fraction_and_order_does_not_matter(answer, people):
    for accuracy in (vqa_accuracy, evalai_accuracy, direct_answer_score):
        assert 0 <= accuracy(answer, people) <= 1
        assert accuracy(answer, people) == accuracy(answer, people[::-1])


@few_examples
@given(st.sampled_from(WORDS))
def test_what_all_people_say_is_right(answer):
    people = [answer] * 10
    for accuracy in (vqa_accuracy, evalai_accuracy, direct_answer_score):
        assert accuracy(answer, people) == 1
    assert textvqa_exact_match(answer, people)


@pytest.mark.parametrize(
    ("same", "accuracy"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)]
)
def test_leave_one_out(same, accuracy):
    assert leave_one_out(same, 10) == pytest.approx(accuracy)
    assert direct_answer_score("x", ["x"] * same + ["y"] * (10 - same)) == min(1, same / 3)


def test_unanimous_people_want_their_own_words():
    assert vqa_accuracy("Yes", ["yes"] * 10) == 0
    assert vqa_accuracy("Yes", ["yes"] * 9 + ["no"]) == 1
    assert evalai_accuracy("Yes", ["yes"] * 10) == 1


def test_possessives_differ_on_the_server():
    people = ["john 's car"] * 9 + ["car"]
    assert vqa_accuracy("John's car", people) == 0
    assert evalai_accuracy("John's car", people) == 1


def test_textvqa_exact_match_takes_any_person_and_normaliser():
    people = ["Coca-Cola", *["pepsi"] * 9]
    assert textvqa_exact_match("coca cola", people)
    assert not textvqa_exact_match("coca cola", people, normalise=squad)


def test_gqa_is_plain_equality_unless_asked():
    assert not gqa_exact_match("Red.", "red")
    assert gqa_exact_match("Red.", "red", normalise=caseless)


def test_a_question_without_people_is_refused():
    with pytest.raises(ValueError, match="without a human answer"):
        vqa_accuracy("red", [])


@few_examples
@given(IDS, IDS, st.integers(0, 8))
def test_relaxed_overlap_grows_with_the_window(generated, gold, window):
    narrow = relaxed_token_overlap(generated, gold, window=window)
    wide = relaxed_token_overlap(generated, gold, window=window + 1)
    assert 0 <= narrow.f1 <= wide.f1 <= 1


@few_examples
@given(IDS)
def test_the_gold_ids_themselves_are_right(gold):
    assert relaxed_token_overlap(gold, gold, window=len(gold)).f1 == 1


def test_chartqa_tolerates_five_percent():
    assert chartqa_relaxed_accuracy("-10.5", "-10")
    assert not chartqa_relaxed_accuracy("-10.51", "-10")
    assert not chartqa_relaxed_accuracy("ten", "10")
