from hypothesis import given
from hypothesis import strategies as st

from pixsearch.config import QueryType
from pixsearch.evaluation.metrics.search import (
    Ranking,
    calls_histogram,
    calls_per_sample,
    query_confusion,
    recall_at_k,
    search_decision,
)

TYPES = st.lists(st.sampled_from(list(QueryType)), max_size=4)


@given(st.lists(st.tuples(TYPES, TYPES), max_size=10))
def test_confusion_holds_every_place_once(pairs):
    gold, predicted = [first for first, _ in pairs], [second for _, second in pairs]
    confusion = query_confusion(gold, predicted)
    counted = sum(count for row in confusion.values() for count in row.values())
    assert counted == sum(max(len(first), len(second)) for first, second in pairs)
    assert "none" not in confusion.get("none", {})


@given(st.lists(TYPES, min_size=1, max_size=10))
def test_calls_agree_with_their_histogram(types):
    calls = calls_per_sample(types)
    histogram = calls_histogram(types)
    assert sum(histogram.values()) == len(types)
    total = sum(int(number) * count for number, count in histogram.items())
    assert abs(calls["all"] - total / len(types)) < 1e-9


def test_recall_leaves_out_searches_without_gold():
    rankings = [
        Ranking(type=QueryType.image, passage_ids=("a", "b", "c"), gold_id="c"),
        Ranking(type=QueryType.image, passage_ids=("a",), gold_id="c"),
        Ranking(type=QueryType.text, passage_ids=("a",), gold_id=None),
    ]
    found = recall_at_k(rankings, k=3)
    assert found.keys() == {"image"}
    assert (found["image"].recall, found["image"].n) == (0.5, 2)
    assert recall_at_k(rankings, k=2)["image"].recall == 0


def test_decision_by_hand():
    scores = search_decision([True, True, True, False], [1, 0, 3, 1])
    assert (scores.precision, scores.recall) == (2 / 3, 2 / 3)
