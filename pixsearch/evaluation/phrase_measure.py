"""Masks of phrases: one target for each, compared in order."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from pixsearch.datasets.masks import encode_rle
from pixsearch.evaluation.mask_benchmark import ComparedSample, MaskFigure
from pixsearch.evaluation.mask_records import MaskAnswer, MaskSample, PhraseTarget
from pixsearch.evaluation.metrics.bootstrap import Interval, interval_of_sums, mean_interval
from pixsearch.evaluation.metrics.grefcoco import THRESHOLDS, Expression
from pixsearch.evaluation.metrics.segmentation import Mask, Overlap, ciou, giou, match_in_order


@dataclass(frozen=True, kw_only=True)
class ComparedPhrase:
    """One phrase as it was answered.

    Attributes:
        overlap: as it counts; None where the target cannot be read, or a missing mask is left out.
        iou: as it counts; 0 for a sample without an answer.
        predicts_target: its mask is there and not empty.
        is_answered: else nothing is right, not even that nothing is meant.
    """

    cluster: str
    class_name: str
    has_target: bool
    overlap: Overlap | None
    iou: float
    predicts_target: bool
    is_answered: bool


def _as_it_is(phrase: ComparedPhrase) -> ComparedPhrase:
    return phrase


Figures = Callable[[Sequence[ComparedPhrase]], dict[str, MaskFigure]]


@dataclass(frozen=True, kw_only=True)
class PhraseMeasure:
    """Compares the first mask with the first phrase's target, the second with the second's, …

    A phrase without a mask has an empty one; surplus masks are counted and do not matter.

    Attributes:
        score: the figures over all phrases.
        mean: which of them is the mean IoU, so that a single sample has a share in it.
        rule: makes what counts of a phrase.
        leaves_out_missing: a phrase without a mask is no term of cumulative sums.
    """

    score: Figures
    mean: str = "giou"
    rule: Callable[[ComparedPhrase], ComparedPhrase] = _as_it_is
    leaves_out_missing: bool = False
    needs_logits: bool = False

    def compare(self, sample: MaskSample, answers: Sequence[MaskAnswer]) -> dict[str, Any]:
        target = sample.load_target()
        assert isinstance(target, PhraseTarget)
        masks = _masks(answers)
        overlaps, surplus = match_in_order(masks, [*target.masks], ignored=target.ignored)
        return {
            "overlaps": [[each.intersection, each.union] for each in overlaps],
            "predicts_target": [bool(mask.any()) for mask in masks[: len(overlaps)]],
            "num_missing_masks": max(0, len(overlaps) - len(masks)),
            "num_surplus_masks": surplus,
        }

    def saved_masks(self, sample: MaskSample, answers: Sequence[MaskAnswer]) -> Any:
        """RLEs of all masks, in the answer's order."""
        return [encode_rle(mask) for mask in _masks(answers)]

    def figures(self, items: Sequence[ComparedSample]) -> dict[str, MaskFigure]:
        return self.score([phrase for item in items for phrase in self._phrases(item)])

    def totals(self, items: Sequence[ComparedSample]) -> dict[str, Any]:
        known = [item.comparison for item in items if item.is_answered and item.comparison]
        return {
            name: sum(each[name] for each in known)
            for name in ("num_missing_masks", "num_surplus_masks")
        }

    def of_sample(self, item: ComparedSample) -> dict[str, float | None]:
        """The mean IoU of its phrases."""
        phrases = self._phrases(item)
        return {self.mean: sum(phrase.iou for phrase in phrases) / len(phrases)}

    def _phrases(self, item: ComparedSample) -> list[ComparedPhrase]:
        num_phrases = sum(len(question.phrases) for question in item.sample.questions)
        counts = item.comparison or {}
        overlaps: list[Overlap | None] = [
            Overlap(intersection=shared, union=union)
            for shared, union in counts.get("overlaps", ())
        ]
        predicts = counts.get("predicts_target", ())  # as many as there are masks
        phrases = [
            self.rule(
                ComparedPhrase(
                    cluster=item.sample.image_id,
                    class_name=item.sample.class_name,
                    has_target=item.sample.has_target,
                    overlap=found,
                    iou=found.iou if found is not None and item.is_answered else 0.0,
                    predicts_target=place < len(predicts) and predicts[place],
                    is_answered=item.is_answered,
                )
            )
            for place, found in enumerate(overlaps or [None] * num_phrases)
        ]
        if not self.leaves_out_missing:
            return phrases
        missing = [replace(phrase, overlap=None) for phrase in phrases[len(predicts) :]]
        return [*phrases[: len(predicts)], *missing]


def referring_figures(phrases: Sequence[ComparedPhrase]) -> dict[str, MaskFigure]:
    """gIoU and cIoU."""
    return {"giou": mean_iou(phrases), "ciou": cumulative_iou(phrases)}


def by_gref_rules(phrase: ComparedPhrase) -> ComparedPhrase:
    """The phrase as gRefCOCO counts it; one without an answer is wrong, whatever is meant."""
    says_target = phrase.predicts_target if phrase.is_answered else not phrase.has_target
    expression = Expression(
        overlap=phrase.overlap or Overlap(intersection=0, union=0),
        has_target=phrase.has_target,
        predicts_target=says_target,
    )
    return ComparedPhrase(
        cluster=phrase.cluster,
        class_name=phrase.class_name,
        has_target=phrase.has_target,
        overlap=None if phrase.overlap is None else expression.counted,
        iou=expression.iou,
        predicts_target=says_target,
        is_answered=phrase.is_answered,
    )


def gref_figures(phrases: Sequence[ComparedPhrase]) -> dict[str, MaskFigure]:
    """gRefCOCO's, of phrases `by_gref_rules`."""
    targets = [each for each in phrases if each.has_target]
    others = [each for each in phrases if not each.has_target]
    return {
        "giou": mean_iou(phrases),
        "ciou": cumulative_iou(phrases),
        "target_accuracy": _share(targets, [each.predicts_target for each in targets]),
        "no_target_accuracy": _share(others, [not each.predicts_target for each in others]),
        **{
            f"precision_at_{threshold}": _share(
                targets, [each.iou >= threshold for each in targets]
            )
            for threshold in THRESHOLDS
        },
    }


def present_figures(phrases: Sequence[ComparedPhrase]) -> dict[str, MaskFigure]:
    """PLUM's scores of the classes that an image has, and partonomy's macro gmIoU of their masks.

    Its micro gmIoU is the gIoU; the mean over classes is ours.
    """
    return {
        "refseg_present_giou": mean_iou(phrases),
        "refseg_present_ciou": cumulative_iou(phrases),
        "refseg_present_class_mean": _class_mean(phrases),
        "gmiou_macro": _mean_over_images(phrases),
    }


def mean_iou(phrases: Sequence[ComparedPhrase]) -> MaskFigure:
    """gIoU."""
    ious = [phrase.iou for phrase in phrases]
    return MaskFigure(interval=giou(ious, _images(phrases)), n=len(phrases))


def cumulative_iou(phrases: Sequence[ComparedPhrase]) -> MaskFigure:
    """cIoU; a phrase without an overlap is left out, but counted."""
    known = [(each.overlap, each.cluster) for each in phrases if each.overlap is not None]
    interval = ciou([overlap for overlap, _ in known], [image for _, image in known])
    return MaskFigure(interval=interval, n=len(known), num_left_out=len(phrases) - len(known))


def _share(phrases: Sequence[ComparedPhrase], values: Sequence[float | bool]) -> MaskFigure:
    if not phrases:
        return MaskFigure(interval=None, n=0)
    numbers = [float(value) for value in values]
    return MaskFigure(interval=mean_interval(numbers, _images(phrases)), n=len(phrases))


def _images(phrases: Sequence[ComparedPhrase]) -> list[str]:
    return [phrase.cluster for phrase in phrases]


def _mean_over_images(phrases: Sequence[ComparedPhrase]) -> MaskFigure:
    """Of the mean IoU within each image."""
    images: dict[str, list[float]] = {}
    for phrase in phrases:
        images.setdefault(phrase.cluster, []).append(phrase.iou)
    if not images:
        return MaskFigure(interval=None, n=0)
    means = [sum(ious) / len(ious) for ious in images.values()]
    return MaskFigure(interval=mean_interval(means, [*images]), n=len(images))


def _class_mean(phrases: Sequence[ComparedPhrase]) -> MaskFigure:
    """Of the cIoU within each class that there is."""
    known = [(each, each.overlap) for each in phrases if each.overlap is not None]
    images = _places(each.cluster for each, _ in known)
    classes = _places(each.class_name for each, _ in known)
    shared, unions = np.zeros((2, len(images), len(classes)))
    for each, overlap in known:
        place = images[each.cluster], classes[each.class_name]
        shared[place] += overlap.intersection
        unions[place] += overlap.union
    interval = class_mean_interval(shared, unions) if known else None
    return MaskFigure(interval=interval, n=len(classes), num_left_out=len(phrases) - len(known))


def class_mean_interval(
    shared: Float[np.ndarray, "num_images num_classes"],
    unions: Float[np.ndarray, "num_images num_classes"],
) -> Interval:
    """Interval of the mean over classes of summed intersection over summed union.

    A class without a union, in all images or in those that are drawn, is left out.
    """
    num_classes = shared.shape[1]

    def mean_over_classes(
        sums: Float[np.ndarray, "num_draws num_series"],
    ) -> Float[np.ndarray, " num_draws"]:
        is_there = sums[:, num_classes:] > 0
        ious = np.divide(
            sums[:, :num_classes],
            sums[:, num_classes:],
            out=np.zeros_like(sums[:, num_classes:]),
            where=is_there,
        )
        return ious.sum(axis=1) / np.maximum(is_there.sum(axis=1), 1)

    return interval_of_sums(np.concatenate([shared, unions], axis=1), mean_over_classes)


def _places(names: Iterable[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(dict.fromkeys(names))}


def _masks(answers: Sequence[MaskAnswer]) -> list[Mask]:
    return [mask for answer in answers for mask in answer.masks]
