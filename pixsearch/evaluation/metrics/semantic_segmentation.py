"""Three protocols on ADE20K and COCO-Stuff, under three names that are not comparable.

`semseg_miou` is the benchmarks' own: each pixel has one class, IoUs are taken over the whole set.
`refseg_present` is LISA's and PLUM's: a class is asked for only where it is there, so that no class
can be found in vain. `gmiou` is partonomy's, over the masks of one image at a time.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Integer

from pixsearch.evaluation.metrics.segmentation import Overlap, segmentation_scores

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


@dataclass(frozen=True, kw_only=True)
class PresentClass:
    """A class that an image's labels have, with the mask that was predicted for it."""

    image_id: str
    class_name: str
    overlap: Overlap


@dataclass(frozen=True, kw_only=True)
class PresentClassScores:
    """gIoU and cIoU over all pairs of image and class; `class_mean` is the mean over classes of the
    cIoU within each."""

    giou: float | None
    ciou: float | None
    class_mean: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class GroupedIou:
    """`micro`: mean over masks. `macro`: mean over images of the mean over their masks."""

    micro: float | None
    macro: float | None


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


def refseg_present(items: Sequence[PresentClass]) -> PresentClassScores:
    """LISA's and PLUM's scores of the classes that are there.

    >>> items = [
    ...     PresentClass(
    ...         image_id="1", class_name=name, overlap=Overlap(intersection=hit, union=4)
    ...     )
    ...     for name, hit in [("sky", 4), ("sky", 2), ("tree", 1)]
    ... ]
    >>> scores = refseg_present(items)
    >>> round(scores.giou, 3), round(scores.ciou, 3), scores.class_mean
    (0.583, 0.583, 0.5)
    """
    classes: dict[str, list[Overlap]] = defaultdict(list)
    for item in items:
        classes[item.class_name].append(item.overlap)
    overall = segmentation_scores(item.overlap for item in items)
    within = [segmentation_scores(overlaps).ciou for overlaps in classes.values()]
    return PresentClassScores(
        giou=overall.giou,
        ciou=overall.ciou,
        class_mean=_mean([ciou for ciou in within if ciou is not None]),
        n=overall.n,
    )


def gmiou(images: Sequence[Sequence[Overlap]]) -> GroupedIou:
    """Partonomy's gmIoU of masks that are paired in order; a missing mask is an empty one.

    Args:
        images: overlaps of each image's masks; an image without any is left out.

    >>> one, none = Overlap(intersection=1, union=1), Overlap(intersection=0, union=1)
    >>> gmiou([[one, one, none], [none]])
    GroupedIou(micro=0.5, macro=0.3333333333333333)
    """
    means = [_mean([each.iou for each in overlaps]) for overlaps in images if overlaps]
    return GroupedIou(
        micro=_mean([each.iou for overlaps in images for each in overlaps]),
        macro=_mean([mean for mean in means if mean is not None]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
