"""Scores of the masks of whole scenes: a pure function of the saved masks and the gold."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixsearch.datasets.masks import Rle
from pixsearch.evaluation.gold import ScenePhrase, SegmentationScene, decode_rle
from pixsearch.evaluation.metrics.bootstrap import Interval
from pixsearch.evaluation.metrics.segmentation import (
    Mask,
    ObjectSize,
    Overlap,
    ciou,
    giou,
    match_in_order,
    object_size,
)

Lines = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class _Phrase:
    """One phrase with its overlap."""

    image_id: str
    overlap: Overlap
    size: ObjectSize
    is_lookalike: bool


def free_running_scores(scenes: Sequence[SegmentationScene], lines: Lines) -> dict[str, Any]:
    """Masks as the model answered: phrases matched in order, a missing mask has IoU 0.

    So have all masks of a scene that failed.
    """
    phrases: list[_Phrase] = []
    missing = surplus = 0
    for scene in scenes:
        masks = lines.get(scene.image_id, {}).get("masks", [])
        found, extra = _matched(scene, masks)
        phrases += found
        surplus += extra
        missing += max(0, len(scene.phrases) - len(masks))
    return {
        **_scores(phrases),
        "giou_interval": _interval(phrases),
        "num_missing_masks": missing,
        "num_surplus_masks": surplus,
        "num_missing_predictions": sum(scene.image_id not in lines for scene in scenes),
        "num_failed": sum(line["failed"] is not None for line in lines.values()),
        "by_size": {
            size.value: _scores(_those(phrases, lambda phrase, size=size: phrase.size is size))
            for size in ObjectSize
        },
        "lookalikes": _scores(_those(phrases, lambda phrase: phrase.is_lookalike)),
    }


def teacher_forced_scores(scenes: Sequence[SegmentationScene], lines: Lines) -> dict[str, Any]:
    """Masks where the gold answer was given; not to be compared with free-running ones."""
    phrases: list[_Phrase] = []
    for scene in scenes:
        masks = lines.get(scene.image_id, {}).get("teacher_forced_masks", [])
        phrases += _matched(scene, masks)[0]
    return _scores(phrases)


def _matched(scene: SegmentationScene, masks: Sequence[Rle]) -> tuple[list[_Phrase], int]:
    """The scene's phrases with their overlaps, and the number of surplus masks."""
    targets = [decode_rle(phrase.mask) for phrase in scene.phrases]
    overlaps, surplus = match_in_order([decode_rle(mask) for mask in masks], targets)
    found = [
        _phrase(scene, phrase, target, overlap)
        for phrase, target, overlap in zip(scene.phrases, targets, overlaps, strict=True)
    ]
    return found, surplus


def _phrase(
    scene: SegmentationScene, phrase: ScenePhrase, target: Mask, overlap: Overlap
) -> _Phrase:
    height, width = target.shape
    return _Phrase(
        image_id=scene.image_id,
        overlap=overlap,
        size=object_size(int(target.sum()), height=height, width=width),
        is_lookalike=phrase.is_lookalike,
    )


def _those(phrases: Iterable[_Phrase], keep: Callable[[_Phrase], bool]) -> list[_Phrase]:
    return [phrase for phrase in phrases if keep(phrase)]


def _scores(phrases: Sequence[_Phrase]) -> dict[str, Any]:
    mean, cumulative = _mean_iou(phrases), ciou(_overlaps(phrases), _images(phrases))
    return {
        "giou": mean and mean.estimate,
        "ciou": cumulative and cumulative.estimate,
        "n": len(phrases),
    }


def _interval(phrases: Sequence[_Phrase]) -> list[float] | None:
    found = _mean_iou(phrases)
    return found and [found.low, found.high]


def _mean_iou(phrases: Sequence[_Phrase]) -> Interval | None:
    return giou([each.iou for each in _overlaps(phrases)], _images(phrases))


def _overlaps(phrases: Sequence[_Phrase]) -> list[Overlap]:
    return [phrase.overlap for phrase in phrases]


def _images(phrases: Sequence[_Phrase]) -> list[str]:
    return [phrase.image_id for phrase in phrases]
