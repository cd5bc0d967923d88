"""Masks compared and scored by hand, without a model."""

from functools import partial

import numpy as np
import pytest
import torch

from pixsearch.config import UncoveredPixels
from pixsearch.evaluation.label_map_measure import LabelMapMeasure, asked_class
from pixsearch.evaluation.mask_benchmark import ComparedSample
from pixsearch.evaluation.mask_records import (
    NO_LABEL,
    MaskAnswer,
    MaskQuestion,
    MaskSample,
    PhraseTarget,
)
from pixsearch.evaluation.metrics.semantic_segmentation import semseg_miou
from pixsearch.evaluation.phrase_measure import (
    PhraseMeasure,
    by_gref_rules,
    gref_figures,
    present_figures,
    referring_figures,
)
from pixsearch.images import SegmenterFrame
from tests.evaluation.phrases import values
from tests.evaluation.worlds import picture

FRAME = SegmenterFrame(size=4, resolution=4, keeps_ratio=True)  # of 4 x 4 pixels: nothing resized


def rows(*numbers):
    """A mask of 4 x 4 pixels that covers some rows."""
    mask = np.zeros((4, 4), dtype=bool)
    mask[[*numbers]] = True
    return mask


def sample(id, target, *, phrases=("thing",), image_id="i", **more):
    question = MaskQuestion.of_phrases(id, phrases)
    return MaskSample(
        id=id,
        image_id=image_id,
        load_image=picture,
        questions=(question,),
        load_target=lambda: target,
        **more,
    )


def answer(*masks, phrases=(), logits=()):
    return MaskAnswer(
        text="", phrases=tuple(phrases), masks=masks, mask_logits=tuple(logits), frame=FRAME
    )


def compared(measure, one, *masks):
    found = measure.compare(one, [answer(*masks)])
    return ComparedSample(sample=one, comparison=found, is_answered=True)


def unanswered(measure, one):
    return ComparedSample(sample=one, comparison=measure.compare(one, []), is_answered=False)


def targets(*masks, ignored=None):
    return PhraseTarget(masks=np.stack(masks), ignored=ignored)


def test_masks_count_in_order_and_one_that_is_missing_is_empty():
    measure = PhraseMeasure(score=referring_figures)
    one = sample("a", targets(rows(0), rows(1), rows(2, 3)), phrases=("x", "y", "z"))
    item = compared(measure, one, rows(0), rows(0))
    assert item.comparison["overlaps"] == [[4, 4], [0, 8], [0, 8]]
    assert values(measure.figures([item])) == {"giou": 1 / 3, "ciou": 4 / 20}
    assert measure.totals([item]) == {"num_missing_masks": 1, "num_surplus_masks": 0}
    assert measure.of_sample(item) == {"giou": 1 / 3}
    surplus = compared(measure, sample("b", targets(rows(0))), rows(0), rows(1))
    assert values(measure.figures([surplus]))["giou"] == 1
    assert measure.totals([surplus])["num_surplus_masks"] == 1


def test_ignored_pixels_count_for_nothing():
    measure = PhraseMeasure(score=referring_figures)
    item = compared(measure, sample("a", targets(rows(0), ignored=rows(1))), rows(0, 1))
    assert item.comparison["overlaps"] == [[4, 4]]


def test_a_sample_without_an_answer_is_wrong_and_its_target_counts():
    measure = PhraseMeasure(score=referring_figures)
    right = compared(measure, sample("a", targets(rows(0))), rows(0))
    missing = unanswered(measure, sample("b", targets(rows(0, 1))))
    assert values(measure.figures([right, missing])) == {"giou": 0.5, "ciou": 4 / 12}
    lost = ComparedSample(sample=missing.sample, comparison=None, is_answered=False)
    figures = measure.figures([right, lost])
    assert values(figures) == {"giou": 0.5, "ciou": 1.0}
    assert (figures["giou"].n, figures["giou"].num_left_out) == (2, 0)
    assert (figures["ciou"].n, figures["ciou"].num_left_out) == (1, 1)


def test_intervals_draw_images_and_the_one_of_ciou_is_of_a_ratio():
    measure = PhraseMeasure(score=referring_figures)
    items = [
        compared(measure, sample(str(n), targets(rows(0)), image_id=str(n // 2)), rows(n % 2))
        for n in range(8)
    ]  # each image has one right and one wrong: no draw of images differs
    figures = measure.figures(items)
    assert (figures["giou"].interval.low, figures["giou"].interval.high) == (0.5, 0.5)
    apart = [
        compared(measure, sample(str(n), targets(rows(*range(n % 3 + 1)))), rows(n % 2))
        for n in range(8)
    ]
    apart = [
        ComparedSample(
            sample=sample(str(n), None, image_id=str(n)),
            comparison=each.comparison,
            is_answered=True,
        )
        for n, each in enumerate(apart)
    ]
    found = measure.figures(apart)
    for interval in (found["giou"].interval, found["ciou"].interval):
        assert 0 <= interval.low < interval.estimate < interval.high <= 1


def test_grefcoco_by_hand():
    """Right, half right, not seen; no target: rightly told, missed, and without an answer."""
    measure = PhraseMeasure(score=gref_figures, rule=by_gref_rules)
    nothing = partial(sample, has_target=False)
    empty = targets(rows())
    items = [
        compared(measure, sample("right", targets(rows(0))), rows(0)),
        compared(measure, sample("half", targets(rows(0))), rows(0, 1)),
        compared(measure, sample("not seen", targets(rows(0))), rows()),
        compared(measure, nothing("told", empty)),
        compared(measure, nothing("missed", empty), rows(0)),
        unanswered(measure, nothing("no answer", empty)),
    ]
    assert values(measure.figures(items)) == {
        "giou": (1 + 0.5 + 0 + 1 + 0 + 0) / 6,
        "ciou": 8 / (4 + 8 + 4 + 4),
        "target_accuracy": 2 / 3,
        "no_target_accuracy": 1 / 3,
        "precision_at_0.7": 1 / 3,
        "precision_at_0.8": 1 / 3,
        "precision_at_0.9": 1 / 3,
    }
    assert [measure.of_sample(item)["giou"] for item in items] == [1, 0.5, 0, 1, 0, 0]


def test_present_classes_by_hand():
    measure = PhraseMeasure(score=present_figures, mean="refseg_present_giou")
    items = [
        compared(measure, sample("1", targets(rows(0)), class_name="sky"), rows(0)),
        compared(measure, sample("2", targets(rows(0)), class_name="tree"), rows(0, 1)),
        compared(
            measure, sample("3", targets(rows(0, 1)), class_name="sky", image_id="j"), rows(0)
        ),
    ]
    assert values(measure.figures(items)) == {
        "refseg_present_giou": pytest.approx(2 / 3),
        "refseg_present_ciou": 12 / 20,
        "refseg_present_class_mean": (8 / 12 + 4 / 8) / 2,
        "gmiou_macro": (0.75 + 0.5) / 2,
    }


def logits(*of_rows):
    """Logits of 4 x 4 pixels, the same all along a row."""
    return torch.tensor(of_rows, dtype=torch.float32)[:, None].expand(4, 4)


LABELS = np.array([[0] * 4, [0] * 4, [1] * 4, [NO_LABEL] * 4])


def label_item(measure, *answers):
    one = sample("a", LABELS, phrases=("sky", "tree"))
    return ComparedSample(
        sample=one, comparison=measure.compare(one, answers), is_answered=bool(answers)
    )


def test_a_label_map_of_two_classes_by_hand():
    """Rows: sky right; tree likelier, wrong; tree right though unlikely; ignored."""
    measure = LabelMapMeasure(class_names=("sky", "tree"))
    both = answer(
        phrases=("Here: the sky", ", tree"),
        logits=(logits(3.0, 1.0, -2.0, 9.0), logits(1.0, 2.0, -1.0, 0.0)),
    )
    item = label_item(measure, both)
    assert item.comparison["cells"] == [[0, 0, 4], [0, 1, 4], [1, 1, 4]]
    assert values(measure.figures([item])) == {"semseg_miou": 0.5, "pixel_accuracy": 8 / 12}
    assert measure.totals([item])["class_ious"] == {"sky": 0.5, "tree": 0.5}
    assert measure.of_sample(item)["pixel_accuracy"] == 8 / 12
    careful = LabelMapMeasure(class_names=("sky", "tree"), uncovered=UncoveredPixels.no_class)
    found = label_item(careful, both)
    assert found.comparison["cells"] == [[0, 0, 4], [0, 1, 4], [1, 2, 4]]
    assert values(careful.figures([found]))["semseg_miou"] == (0.5 + 0) / 2


def test_a_pixel_of_no_mask_is_wrong_and_other_phrases_do_not_matter():
    measure = LabelMapMeasure(class_names=("sky", "tree"))
    item = label_item(measure, answer(phrases=("a bird",), logits=(logits(9, 9, 9, 9),)))
    assert item.comparison["cells"] == [[0, 2, 8], [1, 2, 4]]
    assert measure.totals([item])["num_unmatched_masks"] == 1
    assert values(measure.figures([item, label_item(measure)]))["semseg_miou"] == 0


def test_of_equally_likely_classes_the_first_asked_for_counts():
    measure = LabelMapMeasure(class_names=("sky", "tree"))
    same = logits(1, 1, 1, 1)
    item = label_item(measure, answer(phrases=("tree", "sky"), logits=(same, same)))
    assert item.comparison["cells"] == [[0, 1, 8], [1, 1, 4]]


def test_figures_are_those_of_the_metrics_own_functions():
    generator = np.random.default_rng(0)
    measure = LabelMapMeasure(class_names=("a", "b", "c"))
    items, total = [], np.zeros((3, 4), dtype=np.int64)
    for number in range(12):
        cells = generator.integers(0, 50, size=(3, 4))
        total += cells
        true, predicted = np.indices(cells.shape).reshape(2, -1)
        flat = np.stack([true, predicted, cells.ravel()], axis=1).tolist()
        comparison = {"cells": flat, "num_masks": 0, "num_unmatched_masks": 0}
        one = sample(str(number), LABELS, image_id=str(number))
        items.append(ComparedSample(sample=one, comparison=comparison, is_answered=True))
    found, expected = measure.figures(items), semseg_miou(total)
    assert values(found) == pytest.approx(
        {"semseg_miou": expected.miou, "pixel_accuracy": expected.pixel_accuracy}
    )
    interval = found["semseg_miou"].interval
    assert interval.low < interval.estimate < interval.high


def test_perfect_masks_score_1():
    measure = LabelMapMeasure(class_names=("sky", "tree"))
    perfect = [logits(*np.where(LABELS[:, 0] == place, 5.0, -5.0)) for place in range(2)]
    item = label_item(measure, answer(phrases=("sky", "tree"), logits=perfect))
    assert values(measure.figures([item])) == {"semseg_miou": 1, "pixel_accuracy": 1}
    saved = measure.saved_masks(item.sample, [answer(phrases=("sky",), logits=perfect[:1])])
    assert set(saved) == {"sky"}


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("the brick wall", "brick wall"),
        ("Here: wall", "wall"),
        (", Wall.", "wall"),
        ("wallpaper", None),
        ("wall and more", None),
        ("", None),
    ],
)
def test_a_mask_is_of_the_class_that_its_phrase_ends_in(phrase, name):
    assert asked_class(phrase, ["wall", "brick wall", "sky"]) == name


def test_a_missing_mask_is_left_out_of_sums_alone_where_that_is_asked_for():
    """Half right, without a mask, with an empty one, without an answer; rightly nothing."""
    referring = PhraseMeasure(score=referring_figures, leaves_out_missing=True)
    items = [
        compared(referring, sample("half", targets(rows(0))), rows(0, 1)),
        compared(referring, sample("none", targets(rows(0)))),
        compared(referring, sample("empty", targets(rows(0))), rows()),
        unanswered(referring, sample("failed", targets(rows(0)))),
    ]
    figures = referring.figures(items)
    assert values(figures) == {"giou": 0.5 / 4, "ciou": 4 / 12}
    assert (figures["ciou"].n, figures["ciou"].num_left_out) == (2, 2)
    gref = PhraseMeasure(score=gref_figures, rule=by_gref_rules, leaves_out_missing=True)
    nothing = compared(gref, sample("told", targets(rows()), has_target=False))
    figures = gref.figures([*items, nothing])
    found = values(figures)
    assert (found["giou"], found["ciou"], found["target_accuracy"]) == (1.5 / 5, 4 / 12, 1 / 4)
    assert (figures["ciou"].n, figures["ciou"].num_left_out) == (2, 3)
