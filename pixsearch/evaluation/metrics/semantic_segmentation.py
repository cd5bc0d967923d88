"""`semseg_miou`, the own protocol of ADE20K and COCO-Stuff: a class per pixel, IoUs over the set.

The other protocol on these sets, `refseg_present`, is one of phrases
(`pixsearch.evaluation.phrase_measure.present_figures`); the two are not comparable.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Integer

IGNORE_LABEL = 255

Labels = Integer[np.ndarray, "height width"]
Confusion = Int64[np.ndarray, "num_classes num_predicted"]
"""Pixels by true class and predicted class; the last column holds those predicted as no class."""


@dataclass(frozen=True, kw_only=True)
class SemanticScores:
    """Scores of a confusion matrix.

    Attributes:
        miou: mean over the classes that occur in the labels or the predictions.
        pixel_accuracy: share of the pixels that are not ignored.
        class_ious: None for a class that occurs in neither.
    """

    miou: float | None
    pixel_accuracy: float | None
    class_ious: tuple[float | None, ...]


def confusion(
    prediction: Labels,
    target: Integer[np.ndarray, "target_height target_width"],
    *,
    num_classes: int,
    ignore_label: int = IGNORE_LABEL,
) -> Confusion:
    """Pixels of one image by true and predicted class; to be summed over the set.

    A prediction outside 0 … num_classes-1 is no class: wrong, and no other class's false positive.

    Raises:
        ValueError: other sizes, or a target label that is neither a class nor ignored.

    >>> confusion(np.array([[0, 1, 7]]), np.array([[0, 0, 1]]), num_classes=2).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    if prediction.shape != target.shape:
        raise ValueError(f"the prediction is {prediction.shape}, its labels {target.shape}")
    counted = target != ignore_label
    true = target[counted].astype(np.int64)
    if true.size and not 0 <= true.min() <= true.max() < num_classes:
        wrong = true.min() if true.min() < 0 else true.max()
        raise ValueError(
            f"label {wrong} is neither one of 0 to {num_classes - 1} nor ignored ({ignore_label}); "
            "check which classes the labels count from"
        )
    predicted = prediction[counted].astype(np.int64)
    predicted[(predicted < 0) | (predicted >= num_classes)] = num_classes
    shape = (num_classes, num_classes + 1)
    cells = np.bincount(np.ravel_multi_index((true, predicted), shape), minlength=math.prod(shape))
    return cells.reshape(shape)


def semseg_miou(counts: Confusion) -> SemanticScores:
    """Dataset mIoU of a summed confusion matrix.

    >>> scores = semseg_miou(np.array([[2, 1, 0], [0, 1, 0]]))
    >>> [round(iou, 3) for iou in scores.class_ious], scores.pixel_accuracy
    ([0.667, 0.5], 0.75)
    """
    hits = np.diagonal(counts)
    unions = counts.sum(axis=1) + counts[:, :-1].sum(axis=0) - hits
    ious = tuple(
        int(hit) / int(union) if union else None for hit, union in zip(hits, unions, strict=True)
    )
    total = int(counts.sum())
    return SemanticScores(
        miou=_mean([iou for iou in ious if iou is not None]),
        pixel_accuracy=int(hits.sum()) / total if total else None,
        class_ious=ious,
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
