"""Masks and label maps beyond one phrase: ignored pixels, no target, whole data sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pixsearch.evaluation.metrics.grefcoco import Expression
from pixsearch.evaluation.metrics.segmentation import Overlap, overlap, polygon_target
from pixsearch.evaluation.metrics.semantic_segmentation import confusion, semseg_miou
from pixsearch.evaluation.phrase_measure import by_gref_rules, gref_figures, present_figures
from tests.evaluation.metrics.properties import few_examples
from tests.evaluation.phrases import compared_phrase, values

MASKS = arrays(bool, (3, 4))
LABELS = arrays(np.int64, (3, 4), elements=st.sampled_from([0, 1, 2, 255]))
EMPTY = Overlap(intersection=0, union=0)


@few_examples
@given(MASKS, MASKS, MASKS)
def test_ignored_pixels_count_for_nothing(prediction, target, ignored):
    kept = overlap(prediction & ~ignored, target & ~ignored)
    assert overlap(prediction, target, ignored=ignored) == kept
    assert overlap(None, target, ignored=ignored).union == (target & ~ignored).sum()


def test_a_perfect_mask_of_overlapping_polygons_fails_by_lisas_count():
    times = np.array([[1] * 7 + [2] * 3])
    perfect = polygon_target(times)
    assert overlap(perfect, polygon_target(times)).iou == 1
    assert overlap(perfect, polygon_target(times, lisa_compat=True)).iou == 0.7


@few_examples
@given(LABELS)
def test_perfect_labels_have_a_miou_of_one(labels):
    scores = semseg_miou(confusion(labels, labels, num_classes=3))
    assert scores.miou == (None if (labels == 255).all() else 1)
    for label, iou in enumerate(scores.class_ious):
        assert iou == (1 if (labels == label).any() else None)


@few_examples
@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=3))
def test_miou_is_taken_over_the_set_by_class(images):
    counts = sum(confusion(predicted, labels, num_classes=3) for predicted, labels in images)
    scores = semseg_miou(counts)
    pairs = [(predicted[labels < 255], labels[labels < 255]) for predicted, labels in images]
    for label, iou in enumerate(scores.class_ious):
        shared = sum(int(((p == label) & (t == label)).sum()) for p, t in pairs)
        covered = sum(int(((p == label) | (t == label)).sum()) for p, t in pairs)
        assert iou == (shared / covered if covered else None)


@pytest.mark.parametrize("label", [-1, 3, 200])
def test_a_label_out_of_range_is_refused(label):
    labels = np.array([[0, label, 255]])
    with pytest.raises(ValueError, match=f"label {label} is neither"):
        confusion(np.zeros_like(labels), labels, num_classes=3)


def test_a_prediction_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(1, 3\)"):
        confusion(np.zeros((1, 2), int), np.zeros((1, 3), int), num_classes=2)


def test_present_classes_know_no_false_positive_class():
    """The same answer by two protocols: a class that is not there costs semseg_miou alone."""
    labels, predicted = np.array([[0, 0, 255, 255]]), np.array([[0, 1, 1, 1]])
    sky = compared_phrase(overlap(predicted == 0, labels == 0), class_name="sky")
    assert values(present_figures([sky]))["refseg_present_class_mean"] == 0.5
    assert semseg_miou(confusion(predicted, labels, num_classes=2)).miou == 0.25


def test_nothing_to_score_has_no_score():
    for figures in (present_figures, gref_figures):
        assert set(values(figures([])).values()) == {None}


@pytest.mark.parametrize(
    ("has_target", "predicts_target", "overlap", "iou", "counted"),
    [
        (False, False, EMPTY, 1, (0, 0)),
        (False, True, Overlap(intersection=0, union=5), 0, (0, 5)),
        (True, False, Overlap(intersection=3, union=6), 0, (0, 6)),
        (True, True, Overlap(intersection=3, union=6), 0.5, (3, 6)),
        (True, True, EMPTY, 0, (0, 0)),
    ],
)
def test_the_rules_of_no_target(has_target, predicts_target, overlap, iou, counted):
    expression = Expression(overlap=overlap, has_target=has_target, predicts_target=predicts_target)
    assert expression.iou == iou
    assert (expression.counted.intersection, expression.counted.union) == counted


def test_accuracies_without_their_kind_of_expression_are_none():
    told = by_gref_rules(compared_phrase(EMPTY, has_target=False, predicts_target=False))
    figures = gref_figures([told])
    found = values(figures)
    assert (found.pop("giou"), found.pop("no_target_accuracy")) == (1, 1)
    assert found == dict.fromkeys(
        ("ciou", "target_accuracy", "precision_at_0.7", "precision_at_0.8", "precision_at_0.9")
    )
    assert (figures["giou"].n, figures["target_accuracy"].n) == (1, 0)
