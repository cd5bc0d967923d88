import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pixsearch.evaluation.metrics.segmentation import (
    Overlap,
    ciou,
    giou,
    match_in_order,
    overlap,
)

MASKS = arrays(bool, (4, 5))


@given(MASKS, MASKS)
def test_iou_is_symmetric_and_between_zero_and_one(first, second):
    assert overlap(first, second) == overlap(second, first)
    assert 0 <= overlap(first, second).iou <= 1


@given(MASKS)
def test_a_mask_fits_itself_and_a_missing_one_is_an_empty_one(mask):
    assert overlap(mask, mask).iou == 1
    assert overlap(None, mask) == overlap(np.zeros_like(mask), mask)


@given(st.lists(MASKS, max_size=4), st.lists(MASKS, min_size=1, max_size=4))
def test_every_target_is_scored_and_surplus_masks_only_counted(predictions, targets):
    overlaps, surplus = match_in_order(predictions, targets)
    assert len(overlaps) == len(targets)
    assert surplus == max(0, len(predictions) - len(targets))
    assert overlaps == match_in_order(predictions[: len(targets)], targets)[0]


def test_scores_by_hand():
    target = np.zeros((4, 4), dtype=bool)
    target[:2] = True
    half = np.zeros((4, 4), dtype=bool)
    half[0] = True
    overlaps, _ = match_in_order([half], [target, target])
    images = ["a", "b"]
    assert giou([each.iou for each in overlaps], images).estimate == (0.5 + 0) / 2
    cumulative = ciou(overlaps, images)
    assert cumulative.estimate == 4 / (8 + 8)  # the missing mask's target stays in the union


def test_no_phrases_have_no_score_and_no_union_no_ciou():
    assert giou([], []) is ciou([], []) is None
    assert ciou([Overlap(intersection=0, union=0)], ["a"]) is None


def test_empty_against_empty_is_right():
    assert Overlap(intersection=0, union=0).iou == 1


def test_masks_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(2, 1\)"):
        overlap(np.ones((1, 2), dtype=bool), np.ones((2, 1), dtype=bool))
