import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixsearch.config import Control
from pixsearch.datasets.masks import encode_rle
from pixsearch.evaluation.controls import ShuffledSearch, random_box, region_control
from pixsearch.queries import Passage, Query
from tests.evaluation.worlds import box, gold, scene

PREDICTED = box(20, 20, 6, 6)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 1000))
def test_a_random_box_keeps_the_area_about(height, width, seed):
    mask = box(3, 4, height, width)
    found = random_box(mask, np.random.default_rng(seed))
    assert found.sum() == mask.sum()


def test_a_random_box_of_a_thin_shape_keeps_its_area():
    mask = np.eye(32, dtype=bool)
    assert 16 <= random_box(mask, np.random.default_rng(0)).sum() <= 48


def test_gold_region_is_the_annotated_mask():
    control = region_control(Control.gold_region, gold("a"), scene(), seed=0)
    assert np.array_equal(control(0, PREDICTED), box(2, 2, 8, 8))
    assert np.array_equal(control(1, PREDICTED), box(2, 2, 8, 8))
    assert control.unavailable == 0


def test_gold_region_without_one_keeps_the_prediction_and_counts():
    control = region_control(Control.gold_region, gold("a", searches=()), scene(), seed=0)
    assert np.array_equal(control(0, PREDICTED), PREDICTED)
    assert control.unavailable == 1


def test_other_region_is_never_the_wanted_entitys():
    others = {encode_rle(box(0, left, 8, 8))["counts"] for left in (10, 20)}
    found = set()
    for seed in range(20):
        control = region_control(Control.other_region, gold("a"), scene(), seed=seed)
        found.add(encode_rle(control(0, PREDICTED))["counts"])
    assert found == others


def test_other_region_of_a_scene_of_one_thing_is_a_random_box():
    control = region_control(Control.other_region, gold("a"), None, seed=0)
    found = control(0, PREDICTED)
    assert found.sum() == PREDICTED.sum()
    assert not np.array_equal(found, PREDICTED)
    assert control.unavailable == 1


def test_controls_are_the_same_each_time():
    for control in (Control.random_region, Control.other_region):
        first, second = (region_control(control, gold("a"), scene(), seed=3) for _ in range(2))
        assert np.array_equal(first(1, PREDICTED), second(1, PREDICTED))


@pytest.mark.parametrize("control", [Control.none, Control.shuffled_passages])
def test_other_policies_leave_regions_alone(control):
    assert region_control(control, gold("a"), scene(), seed=0) is None


def passages(*ids):
    return [Passage(id=id, title=id, text=id) for id in ids]


def real_search(queries):
    return [passages(query.text, "common") for query in queries]


def test_shuffled_passages_have_nothing_in_common_whatever_the_batch():
    pool = [passages("a", "x"), passages("b", "y"), passages("c", "common"), []]
    search = ShuffledSearch(real_search, pool, seed=0)
    together = search([Query.of_text("a"), Query.of_text("b")])
    assert [found[0].id for found in together] == ["b", "a"]
    assert search([Query.of_text("b")]) == together[1:]


def test_shuffling_without_another_result_is_an_error():
    search = ShuffledSearch(real_search, [passages("a")], seed=0)
    with pytest.raises(ValueError, match="all 1 results"):
        search([Query.of_text("a")])
