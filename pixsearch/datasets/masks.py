"""Masks as COCO stores them: polygons, and run lengths (RLE) as numbers or as a string."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as coco_mask

from pixsearch.datasets.example import Masks

Rle = dict[str, Any]
"""`{"size": [height, width], "counts": str}`, pycocotools' compressed form, ready for JSON."""

Segmentation = list[list[int | float]] | dict[str, Any]
"""Polygons `[[x, y, x, y, …], …]`, or RLE whose counts are a list or a string."""

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
        ValueError: an RLE of another size, a polygon of fewer than three points, or none at all.
    """
    if not segmentations:
        raise ValueError("there is no segmentation to decode")
    rles = [_to_rle(segmentation, height, width) for segmentation in segmentations]
    return coco_mask.decode(coco_mask.merge(rles)).astype(bool)


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
    size = [int(side) for side in segmentation["size"]]
    if size != [height, width]:
        raise ValueError(f"the RLE is {size[0]}x{size[1]}, the image {height}x{width}")
    counts = segmentation["counts"]
    if isinstance(counts, list):
        if sum(counts) != height * width:
            raise ValueError(f"the RLE covers {sum(counts)} pixels, the image {height * width}")
        return coco_mask.frPyObjects(segmentation, height, width)
    return {"size": size, "counts": counts.encode("ascii") if isinstance(counts, str) else counts}


def _polygons_to_rle(polygons: list[list[int | float]], height: int, width: int) -> dict[str, Any]:
    if not polygons:
        raise ValueError("the list of polygons is empty")
    for polygon in polygons:
        if len(polygon) < _FEWEST_COORDINATES or len(polygon) % 2:
            raise ValueError(f"a polygon of {len(polygon)} coordinates; it needs 6, 8, 10, …")
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
