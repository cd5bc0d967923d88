"""Masks as COCO stores them: polygons, and run lengths (RLE) as numbers or as a string."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer
from pycocotools import mask as coco_mask

from pixsearch.datasets.example import Masks
from pixsearch.datasets.files import require

Rle = dict[str, Any]
"""`{"size": [height, width], "counts": str}`, pycocotools' compressed form, ready for JSON."""

Segmentation = Any
"""Polygons `[[x, y, x, y, …], …]`, or RLE whose counts are a list or a string; as it was read:
whether it is either is seen when it is decoded."""

_FEWEST_COORDINATES = 6  # pycocotools reads a shorter list as a box, without a word


def encode_rle(mask: Bool[np.ndarray, "height width"]) -> Rle:
    """A mask's run lengths.

    >>> encode_rle(np.ones((2, 3), dtype=bool))
    {'size': [2, 3], 'counts': '06'}
    """
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def decode_segmentation(
    *segmentations: Segmentation, height: int, width: int
) -> Bool[np.ndarray, "height width"]:
    """The union of one or several segmentations, overlapping polygons included.

    Raises:
        ValueError: an RLE of another size, a polygon of fewer than three points, none at all, or
            something that is neither.
    """
    if not segmentations:
        raise ValueError("there is no segmentation to decode")
    rles = [_to_rle(segmentation, height, width) for segmentation in segmentations]
    return coco_mask.decode(coco_mask.merge(rles)).astype(bool)


def times_covered(
    *segmentations: Segmentation, height: int, width: int
) -> Integer[np.ndarray, "height width"]:
    """How many of the polygons (or RLEs) of some segmentations cover each pixel; 0s for none.

    Raises:
        ValueError: as `decode_segmentation`.
    """
    times = np.zeros((height, width), dtype=np.int64)
    for segmentation in segmentations:
        parts = [[each] for each in segmentation] if isinstance(segmentation, list) else []
        for part in parts or [segmentation]:
            times += decode_segmentation(part, height=height, width=width)
    return times


def decode_masks(
    segmentations: Sequence[Sequence[Segmentation]], *, height: int, width: int, example: str
) -> Masks:
    """One united mask for each group of segmentations.

    Raises:
        ValueError: a segmentation cannot be decoded; names the example.
    """
    masks = np.zeros((len(segmentations), height, width), dtype=bool)
    for index, group in enumerate(segmentations):
        try:
            masks[index] = decode_segmentation(*group, height=height, width=width)
        except ValueError as error:
            raise ValueError(f"mask {index} of example {example!r}: {error}") from error
    return masks


def _to_rle(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    if isinstance(segmentation, list):
        return _polygons_to_rle(segmentation, height, width)
    require(segmentation, "size", "counts", where="a segmentation that is no list of polygons")
    size, counts = segmentation["size"], segmentation["counts"]
    if not _are_whole(size) or len(size) != 2:
        raise ValueError(f"the RLE's size is {size!r}, not [height, width]")
    if [*size] != [height, width]:
        raise ValueError(f"the RLE is {size[0]}x{size[1]}, the image {height}x{width}")
    if isinstance(counts, list):
        return coco_mask.frPyObjects({"size": size, "counts": _runs(counts, size)}, height, width)
    if not counts or not isinstance(counts, (str, bytes)):
        raise ValueError(f"the RLE's counts are {counts!r}, neither a list nor a string of runs")
    return {
        "size": [*size],
        "counts": counts.encode("ascii") if isinstance(counts, str) else counts,
    }


def _runs(counts: list[Any], size: Sequence[int]) -> list[int]:
    if not _are_whole(counts):
        raise ValueError("the RLE's counts are not all whole numbers from 0 on")
    if sum(counts) != size[0] * size[1]:
        raise ValueError(f"the RLE covers {sum(counts)} pixels, the image {size[0] * size[1]}")
    return counts


def _are_whole(numbers: Any) -> bool:
    """Whether they are a list (or tuple) of whole numbers of 0 or more."""
    return isinstance(numbers, (list, tuple)) and all(
        isinstance(number, int) and number >= 0 for number in numbers
    )


def _polygons_to_rle(polygons: list[Any], height: int, width: int) -> dict[str, Any]:
    if not polygons:
        raise ValueError("the list of polygons is empty")
    for polygon in polygons:
        if not isinstance(polygon, list):
            raise ValueError(
                f"a polygon is {polygon!r}, not a list of coordinates; a single polygon stands in "
                "a list too"
            )
        if len(polygon) < _FEWEST_COORDINATES or len(polygon) % 2:
            raise ValueError(f"a polygon of {len(polygon)} coordinates; it needs 6, 8, 10, …")
        if not all(isinstance(side, (int, float)) and isfinite(side) for side in polygon):
            raise ValueError("a polygon has coordinates that are no finite numbers")
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
