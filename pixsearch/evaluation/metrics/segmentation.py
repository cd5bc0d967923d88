"""gIoU and cIoU of referring segmentation, with the missing mask counted as an empty one.

Definitions of LISA (train_ds.py): gIoU is the mean IoU over phrases, cIoU the summed intersection
over the summed union. Unlike Sa2VA, a phrase without a mask stays in both.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Integer

from pixsearch.evaluation.metrics.bootstrap import Interval, mean_interval, ratio_interval

Mask = Bool[np.ndarray, "height width"]


class ObjectSize(StrEnum):
    """Size of an object by its share of the image's area."""

    SMALL = "small"  # below 3 % (the share above which COCO calls an object large)
    MEDIUM = "medium"  # 3 to 10 %
    LARGE = "large"  # from 10 %


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Pixels that a predicted mask and its target share and cover together."""

    intersection: int
    union: int

    @property
    def iou(self) -> float:
        """1 where both masks are empty, as the official scripts have it."""
        return self.intersection / self.union if self.union else 1.0


def object_size(area: int, *, height: int, width: int) -> ObjectSize:
    """
    >>> object_size(60, height=64, width=64).value, object_size(600, height=64, width=64).value
    ('small', 'large')
    """
    share = area / (height * width)
    if share < 0.03:
        return ObjectSize.SMALL
    return ObjectSize.MEDIUM if share < 0.1 else ObjectSize.LARGE


def overlap(
    prediction: Mask | None,
    target: Bool[np.ndarray, "target_height target_width"],
    *,
    ignored: Bool[np.ndarray, "target_height target_width"] | None = None,
) -> Overlap:
    """Overlap of one phrase; a missing prediction is an empty mask, whose union is the target.

    Args:
        ignored: pixels that count for nothing (label 255 of ReasonSeg).

    Raises:
        ValueError: the masks differ in size.

    >>> overlap(np.array([[True, True, False]]), np.array([[False, True, True]])).iou
    0.3333333333333333
    >>> overlap(None, np.array([[False, True, True]]))
    Overlap(intersection=0, union=2)
    """
    counted = target if ignored is None else target & ~ignored
    if prediction is None:
        return Overlap(intersection=0, union=int(counted.sum()))
    if prediction.shape != target.shape:
        raise ValueError(f"the predicted mask is {prediction.shape}, its target {target.shape}")
    predicted = prediction if ignored is None else prediction & ~ignored
    return Overlap(
        intersection=int((predicted & counted).sum()), union=int((predicted | counted).sum())
    )


def polygon_target(
    times_covered: Integer[np.ndarray, "height width"], *, lisa_compat: bool = False
) -> Mask:
    """The target mask of an object that is drawn as several polygons: their union.

    Args:
        times_covered: how many of the polygons cover each pixel.
        lisa_compat: as LISA, GLaMM and PLUM score it: pixels of more than one polygon are no part
            of the target, so that a perfect mask with overlapping polygons does not reach IoU 1.

    >>> times = np.array([[1, 2, 0]])
    >>> polygon_target(times).tolist(), polygon_target(times, lisa_compat=True).tolist()
    ([[True, True, False]], [[True, False, False]])
    """
    return times_covered == 1 if lisa_compat else times_covered > 0


def match_in_order(
    predictions: Sequence[Mask],
    targets: Sequence[Mask],
    *,
    ignored: Bool[np.ndarray, "target_height target_width"] | None = None,
) -> tuple[list[Overlap], int]:
    """Overlaps of the targets with the masks generated in the same place, and the surplus masks.

    Args:
        ignored: as in `overlap`.

    Returns:
        One overlap per target, and how many predicted masks have no target (ignored, but counted).
    """
    padded = [*predictions, *[None] * len(targets)]
    overlaps = [
        overlap(padded[index], target, ignored=ignored) for index, target in enumerate(targets)
    ]
    return overlaps, max(0, len(predictions) - len(targets))


def giou(ious: Sequence[float], images: Sequence[Hashable]) -> Interval | None:
    """gIoU: the mean IoU over phrases, whose images are drawn; None where there is no phrase.

    >>> giou([0.5, 0.0], ["a", "a"])
    Interval(estimate=0.25, low=0.25, high=0.25)
    """
    return mean_interval(ious, images) if ious else None


def ciou(overlaps: Sequence[Overlap], images: Sequence[Hashable]) -> Interval | None:
    """cIoU: summed intersection over summed union; None where no phrase has a union.

    >>> ciou([Overlap(intersection=1, union=2), Overlap(intersection=0, union=8)], ["a", "a"])
    Interval(estimate=0.1, low=0.1, high=0.1)
    """
    unions = [float(each.union) for each in overlaps]
    if not any(unions):
        return None
    return ratio_interval([float(each.intersection) for each in overlaps], unions, images)
