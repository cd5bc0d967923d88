"""Polygons as OpenCV draws them, to the pixel: what ReasonSeg's authors made their masks with.

`cv2.polylines` and `cv2.fillPoly` of one polygon with corners on whole pixels, without smoothing,
in OpenCV 4.8 and 4.10: the border is drawn as lines of eight neighbours, and between the edges of a
row every second stretch is filled (the even-odd rule), the edges' places being fixed-point numbers
of 16 bits behind the point. Edges that leave the image are first cut at its border.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool

Corner = tuple[int, int]
_ONE = 1 << 16  # a pixel, in fixed-point numbers


def filled_polygon(
    corners: Sequence[Corner], height: int, width: int
) -> Bool[np.ndarray, "height width"]:
    """The pixels of a polygon and of its border.

    Args:
        corners: x and y in pixels; they may lie outside the image.
    """
    pixels = np.zeros((height, width), dtype=bool)
    crossings: dict[int, list[int]] = {}
    for begin, end in zip([corners[-1], *corners[:-1]], corners, strict=True):
        *cut, is_within = _cut(begin, end, height, width)
        if is_within:
            _draw_line(pixels, *cut)
        for y, x in _crossings(begin, end, cut, height):
            crossings.setdefault(y, []).append(x)
    for y, places in crossings.items():
        places.sort()
        for left, right in zip(places[::2], places[1::2], strict=True):
            pixels[y, max(0, left // _ONE) : max(0, right // _ONE + 1)] = True
    return pixels


def _draw_line(pixels: Bool[np.ndarray, "height width"], begin: Corner, end: Corner) -> None:
    """From left to right; where it passes right between two pixels, the earlier one is taken."""
    (x1, y1), (x2, y2) = (begin, end) if begin[0] <= end[0] else (end, begin)
    across, down = x2 - x1, abs(y2 - y1)
    longer, shorter = max(across, down), min(across, down)
    steps = np.arange(longer + 1)
    aside = -((longer - 2 * shorter * steps) // max(1, 2 * longer))
    along_x, along_y = (aside, steps) if down > across else (steps, aside)
    pixels[y1 + (along_y if y2 >= y1 else -along_y), x1 + along_x] = True


def _crossings(
    begin: Corner, end: Corner, cut: Sequence[Corner], height: int
) -> Iterator[tuple[int, int]]:
    """Rows from an edge's upper corner to the one above its lower, and where it crosses them.

    A place is rounded to the nearest pixel, but that of an edge that was cut is rounded down.
    """
    if begin[1] == end[1]:
        return
    top, bottom = sorted((begin[1], end[1]))
    half = _ONE // 2 if tuple(cut) == (begin, end) else 0
    (x1, y1), (x2, y2) = cut if cut[0][1] != cut[1][1] else (begin, end)
    if y1 > y2:
        (x1, y1), (x2, y2) = (x2, y2), (x1, y1)
    slope = _quotient((x2 - x1) * _ONE, y2 - y1)
    for y in range(max(0, top), min(bottom, height)):
        yield y, x1 * _ONE + half + slope * (y - y1)


def _cut(begin: Corner, end: Corner, height: int, width: int) -> tuple[Corner, Corner, bool]:
    """A line cut at the image's border, first above and below, and whether any of it is within."""
    line = [*begin, *end]
    sizes = (width, height)
    is_within = not any(_is_beside(line, axis, sizes[axis]) for axis in (0, 1))
    for axis in (1, 0):
        if is_within:
            _move(line, axis, sizes[axis])
            is_within = not _is_beside(line, 0, width)
    return (line[0], line[1]), (line[2], line[3]), is_within


def _is_beside(line: Sequence[int], axis: int, size: int) -> bool:
    """Whether both ends are on the same outer side of the image."""
    places = line[axis], line[axis + 2]
    return max(places) < 0 or min(places) >= size


def _move(line: list[int], axis: int, size: int) -> None:
    """Ends that lie outside along the line onto the border."""
    other = 1 - axis
    for place in (0, 2):
        limit = min(max(line[place + axis], 0), size - 1)
        if limit != line[place + axis]:
            moved = (limit - line[place + axis]) * (line[2 + other] - line[other])
            line[place + other] += int(moved / (line[2 + axis] - line[axis]))
            line[place + axis] = limit


def _quotient(number: int, divisor: int) -> int:
    """Towards zero, as in C.

    >>> _quotient(-7, 2)
    -3
    """
    return number // divisor if (number < 0) == (divisor < 0) else -(-number // divisor)
