"""gRefCOCO's scores: expressions that may have no target at all (ReLA, GRES)."""

from collections.abc import Sequence
from dataclasses import dataclass

from pixsearch.evaluation.metrics.segmentation import Overlap

THRESHOLDS = (0.7, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True)
class Expression:
    """One expression as it was answered.

    Attributes:
        overlap: of the predicted mask with the target, an empty mask where there is none.
        has_target: something in the image is meant.
        predicts_target: the model says so; for us, that its mask is there and not empty.
    """

    overlap: Overlap
    has_target: bool
    predicts_target: bool

    @property
    def counted(self) -> Overlap:
        """What goes into the sums: nothing where both sides have no target, and no intersection
        where a target was not seen."""
        if not self.has_target and not self.predicts_target:
            return Overlap(intersection=0, union=0)
        is_hit = self.has_target and self.predicts_target
        hit = self.overlap.intersection if is_hit else 0
        return Overlap(intersection=hit, union=self.overlap.union)

    @property
    def iou(self) -> float:
        """1 where no target was rightly told, 0 where it was missed."""
        if not self.has_target:
            return float(not self.predicts_target)
        return self.counted.intersection / self.counted.union if self.counted.union else 0.0


@dataclass(frozen=True, kw_only=True)
class GrefScores:
    """Each in [0, 1]; None where its denominator is zero.

    Attributes:
        target_accuracy: T_acc, share of expressions with a target for which one was predicted.
        no_target_accuracy: N_acc, share of those without one for which none was predicted.
        precision_at: threshold → share of expressions with a target whose IoU reaches it.
    """

    giou: float | None
    ciou: float | None
    target_accuracy: float | None
    no_target_accuracy: float | None
    precision_at: dict[float, float | None]
    n: int
    num_no_target: int


def grefcoco_scores(expressions: Sequence[Expression]) -> GrefScores:
    """Scores over all expressions.

    The official script sets both accuracies to 0 where a set has no expression without a target;
    here the target accuracy is what it is, and the other None.

    >>> right = Expression(
    ...     overlap=Overlap(intersection=0, union=0), has_target=False, predicts_target=False
    ... )
    >>> half = Expression(
    ...     overlap=Overlap(intersection=4, union=8), has_target=True, predicts_target=True
    ... )
    >>> scores = grefcoco_scores([right, half])
    >>> scores.giou, scores.ciou, scores.no_target_accuracy, scores.precision_at[0.7]
    (0.75, 0.5, 1.0, 0.0)
    """
    targets = [each for each in expressions if each.has_target]
    others = [each for each in expressions if not each.has_target]
    union = sum(each.counted.union for each in expressions)
    intersection = sum(each.counted.intersection for each in expressions)
    return GrefScores(
        giou=_mean([each.iou for each in expressions]),
        ciou=intersection / union if union else None,
        target_accuracy=_mean([float(each.predicts_target) for each in targets]),
        no_target_accuracy=_mean([float(not each.predicts_target) for each in others]),
        precision_at={
            threshold: _mean([float(each.iou >= threshold) for each in targets])
            for threshold in THRESHOLDS
        },
        n=len(expressions),
        num_no_target=len(others),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
