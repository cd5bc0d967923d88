"""Phrases as they were answered, made by hand, and the figures over them as plain numbers."""

from pixsearch.evaluation.metrics.segmentation import Overlap
from pixsearch.evaluation.phrase_measure import ComparedPhrase


def compared_phrase(overlap: Overlap, *, image: str = "i", **changes: object) -> ComparedPhrase:
    """One that was answered by a mask, before any rule of a benchmark."""
    standard = {
        "class_name": "",
        "has_target": True,
        "iou": overlap.iou,
        "predicts_target": True,
        "is_answered": True,
    }
    return ComparedPhrase(cluster=image, overlap=overlap, **(standard | changes))


def values(figures):
    return {name: each.interval and each.interval.estimate for name, each in figures.items()}
