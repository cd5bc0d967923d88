"""Label maps put together of one mask per class: `semseg_miou`, the benchmarks' own protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from pixsearch.config import UncoveredPixels
from pixsearch.datasets.masks import encode_rle
from pixsearch.evaluation.mask_benchmark import ComparedSample, MaskFigure
from pixsearch.evaluation.mask_records import NO_LABEL, ClassLabels, MaskAnswer, MaskSample
from pixsearch.evaluation.metrics.bootstrap import ratio_interval
from pixsearch.evaluation.metrics.semantic_segmentation import Confusion, confusion, semseg_miou
from pixsearch.evaluation.phrase_measure import class_mean_interval

MIOU, PIXEL_ACCURACY = "semseg_miou", "pixel_accuracy"


@dataclass(frozen=True, kw_only=True)
class LabelMapMeasure:
    """Gives each pixel the class whose mask is the likeliest there.

    A mask is of the class that its phrase ends in, among those that were asked for; masks of other
    phrases are counted and do not matter. Of two that are equally likely the class asked for first
    counts. A pixel that no mask speaks of is of no class: wrong, and no class's false positive.

    Attributes:
        class_names: by label.
        uncovered: what becomes of a pixel where every mask is less likely than not.
    """

    class_names: tuple[str, ...]
    uncovered: UncoveredPixels = UncoveredPixels.likeliest
    needs_logits: bool = True

    def compare(self, sample: MaskSample, answers: Sequence[MaskAnswer]) -> dict[str, Any]:
        labels = sample.load_target()
        assert isinstance(labels, np.ndarray)
        predicted = self.label_map(sample, answers, labels.shape)
        cells = confusion(
            predicted, labels, num_classes=len(self.class_names), ignore_label=NO_LABEL
        )
        true, of_class = np.nonzero(cells)
        asked = list(zip(sample.questions, answers, strict=True)) if answers else []
        matched = [
            asked_class(phrase, question.phrases)
            for question, answer in asked
            for phrase in answer.phrases
        ]
        return {
            "cells": np.stack([true, of_class, cells[true, of_class]], axis=1).tolist(),
            "num_masks": len(matched),
            "num_unmatched_masks": matched.count(None),
        }

    def label_map(
        self, sample: MaskSample, answers: Sequence[MaskAnswer], size: tuple[int, ...]
    ) -> Integer[np.ndarray, "height width"]:
        """The predicted class of each pixel; the number of classes where there is none."""
        height, width = size
        is_floored = self.uncovered is UncoveredPixels.no_class
        best = np.full(size, 0.0 if is_floored else -np.inf, dtype=np.float32)
        chosen = np.full(size, len(self.class_names), dtype=np.int64)
        for question, answer in zip(sample.questions, answers, strict=False):
            for place, phrase in enumerate(answer.phrases):
                name = asked_class(phrase, question.phrases)
                if name is not None:
                    logits = answer.logits_in_image(place, height=height, width=width)
                    is_better = logits > best
                    best[is_better] = logits[is_better]
                    chosen[is_better] = self.class_names.index(name)
        return chosen

    def saved_masks(self, sample: MaskSample, answers: Sequence[MaskAnswer]) -> Any:
        """RLEs of the classes of the predicted label map, by class name."""
        predicted = self.label_map(sample, answers, _size(sample))
        return {
            self.class_names[label]: encode_rle(predicted == label)
            for label in np.unique(predicted)
            if label < len(self.class_names)
        }

    def figures(self, items: Sequence[ComparedSample]) -> dict[str, MaskFigure]:
        known = [item for item in items if item.comparison is not None]
        if not known:
            nothing = MaskFigure(interval=None, n=0, num_left_out=len(items))
            return {MIOU: nothing, PIXEL_ACCURACY: nothing}
        cells = [self._confusion(item) for item in known]
        hits = np.stack([_hits(each) for each in cells])
        unions = np.stack([_unions(each) for each in cells])
        right, pixels = hits.sum(axis=1), [float(each.sum()) for each in cells]
        clusters = [item.sample.image_id for item in known]
        count = {"n": len(known), "num_left_out": len(items) - len(known)}
        return {
            MIOU: MaskFigure(interval=class_mean_interval(hits, unions), **count),
            PIXEL_ACCURACY: MaskFigure(
                interval=ratio_interval(right.tolist(), pixels, clusters), **count
            ),
        }

    def totals(self, items: Sequence[ComparedSample]) -> dict[str, Any]:
        known = [item for item in items if item.comparison is not None]
        shape = (len(self.class_names), len(self.class_names) + 1)
        summed = sum((self._confusion(item) for item in known), np.zeros(shape, dtype=np.int64))
        answered = [item.comparison or {} for item in known if item.is_answered]
        ious = semseg_miou(summed).class_ious
        return {
            "class_ious": dict(zip(self.class_names, ious, strict=True)),
            "num_classes_scored": sum(iou is not None for iou in ious),
            "num_masks": sum(each["num_masks"] for each in answered),
            "num_unmatched_masks": sum(each["num_unmatched_masks"] for each in answered),
        }

    def of_sample(self, item: ComparedSample) -> dict[str, float | None]:
        """Its pixel accuracy; mIoU is no mean over images."""
        if item.comparison is None:
            return {MIOU: None, PIXEL_ACCURACY: 0.0}
        return {MIOU: None, PIXEL_ACCURACY: semseg_miou(self._confusion(item)).pixel_accuracy}

    def _confusion(self, item: ComparedSample) -> Confusion:
        assert item.comparison is not None
        cells = np.zeros((len(self.class_names), len(self.class_names) + 1), dtype=np.int64)
        for true, predicted, pixels in item.comparison["cells"]:
            cells[true, predicted] = pixels
        return cells


def asked_class(phrase: str, asked: Sequence[str]) -> str | None:
    """The longest of the names that a phrase ends in, as whole words; None if there is none.

    Where a phrase ends at its `<seg>`, words of the sentence may stand before the name.

    >>> asked_class("Here: the brick wall", ["wall", "brick wall", "all"])
    'brick wall'
    >>> asked_class("a waterfall", ["fall"]) is None
    True
    """
    words = f" {_plain(phrase)}"
    found = [name for name in asked if words.endswith(f" {_plain(name)}")]
    return max(found, key=len, default=None)


def _plain(words: str) -> str:
    """In lower case, with single spaces and no punctuation at its ends or before a space.

    >>> _plain("Here:  the Wall,")
    'here the wall'
    """
    stripped = (word.strip(".,:;!?\"'") for word in words.lower().split())
    return " ".join(word for word in stripped if word)


def _hits(cells: Confusion) -> Float[np.ndarray, " num_classes"]:
    return np.diagonal(cells).astype(float)


def _unions(cells: Confusion) -> Float[np.ndarray, " num_classes"]:
    return cells.sum(axis=1) + cells[:, :-1].sum(axis=0) - _hits(cells)


def _size(sample: MaskSample) -> tuple[int, ...]:
    labels: ClassLabels = sample.load_target()
    return labels.shape
