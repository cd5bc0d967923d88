"""How well a region that was searched with meets a gold box."""

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

Box = tuple[float, float, float, float]  # left, top, right, bottom

LEAST_LIKENESS = 0.85  # of two names, by CRAG-MM-Diagnostics' recall


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union; 0 where both are empty.

    >>> box_iou((0.0, 0.0, 2.0, 2.0), (1.0, 0.0, 3.0, 2.0)) == 1 / 3
    True
    """
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0 else 0.0


def is_same(found: str, gold: str) -> bool:
    """Whether two names are equal but for case and outer spaces.

    >>> is_same("bridge ", "Bridge"), is_same("Toyota Prius XW", "Toyota Prius")
    (True, False)
    """
    return found.strip().casefold() == gold.strip().casefold()


def is_alike(found: str, gold: str) -> bool:
    """CRAG-MM-Diagnostics' test: matching blocks make up 0.85 of both names, case aside.

    >>> is_alike("Toyota Prius XW", "Toyota Prius"), is_alike("Toyota Yaris", "Toyota Prius")
    (True, False)
    """
    return SequenceMatcher(None, gold.lower(), found.lower()).ratio() >= LEAST_LIKENESS


def first_rank(
    found: Sequence[str], golds: Sequence[str], *, matches: Callable[[str, str], bool]
) -> int | None:
    """Place of the first name, from 1, that is one of the gold ones; None if none is.

    >>> first_rank(["Zor", "bridge "], ["Bridge"], matches=is_same)
    2
    """
    ranked = enumerate(found, start=1)
    return next((rank for rank, name in ranked if any(matches(name, gold) for gold in golds)), None)


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
