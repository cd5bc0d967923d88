"""How well a region that was searched with meets a gold box."""

from collections.abc import Sequence

Box = tuple[float, float, float, float]  # left, top, right, bottom


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


def first_rank(found: Sequence[str], gold: str) -> int | None:
    """Place of a name among those found, from 1, case and outer spaces aside.

    >>> first_rank(["Zor", "bridge "], "Bridge"), first_rank([], "Zor")
    (2, None)
    """
    wanted = gold.strip().casefold()
    names = [name.strip().casefold() for name in found]
    return names.index(wanted) + 1 if wanted in names else None


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
