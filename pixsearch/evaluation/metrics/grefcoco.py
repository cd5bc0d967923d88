"""gRefCOCO's rules: expressions that may have no target at all (ReLA, GRES).

The scores over all expressions are `pixsearch.evaluation.phrase_measure.gref_figures`.
"""

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
