import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch.evaluation.metrics.normalisation import (
    CONTRACTIONS,
    caseless,
    encyclopedic_vqa,
    evalai,
    nq_open,
    squad,
    vqa,
)
from tests.evaluation.metrics.properties import few_examples

TEXTS = st.text(max_size=40)


@few_examples
@given(TEXTS)
def test_normalising_twice_changes_nothing(text):
    for normalise in (squad, caseless):
        assert normalise(normalise(text)) == normalise(text)


@few_examples
@given(st.text(st.characters(codec="ascii"), max_size=40))
def test_case_does_not_matter(text):
    for normalise in (squad, nq_open, caseless, evalai, vqa, encyclopedic_vqa):
        assert normalise(text.upper()) == normalise(text.lower())


@few_examples
@given(TEXTS)
def test_no_space_is_left_around_an_answer_or_doubled_in_it(text):
    for normalise in (squad, nq_open, evalai, vqa, encyclopedic_vqa):
        found = normalise(text)
        assert found == " ".join(found.split())


@pytest.mark.parametrize(
    ("without", "contraction"),
    [("dont", "don't"), ("couldntve", None), ("couldnt've", "couldn't've"), ("its", None)],
)
def test_one_apostrophe_is_put_back(without, contraction):
    assert CONTRACTIONS.get(without) == contraction


def test_where_the_normalisers_differ():
    text = "The t-shirt's 3.5 o'clock"
    assert squad(text) == "tshirts 35 oclock"
    assert vqa(text) == "t shirt's 3.5 o'clock"
    assert evalai(text) == "t shirt 's 3.5 o'clock"
    assert encyclopedic_vqa(text) == "tshirts 35 o'clock"


def test_vqa_drops_thirty_two_periods_and_no_more():
    assert vqa("." * 40) == "." * 8
