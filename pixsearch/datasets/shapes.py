"""Polygons that are drawn over each other, as ReasonSeg annotates: targets and unknown regions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from pixsearch.datasets.annotations import LoadIgnore
from pixsearch.datasets.example import Masks
from pixsearch.datasets.files import image_size
from pixsearch.datasets.polygons import filled_polygon

_NOTHING, _TARGET, _UNKNOWN = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A polygon in the image's own pixels.

    Attributes:
        is_target: else a region of unknown label.
    """

    points: tuple[tuple[float, float], ...]
    is_target: bool


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """The mask of an image's one phrase; the annotation does not say the image's size.

    The largest polygon is drawn first, so that a smaller one within it is seen. Corners are cut to
    whole pixels, and pixels are those of the authors' script (`pixsearch.datasets.polygons`).
    """

    image: Path
    shapes: tuple[Shape, ...]

    @property
    def size(self) -> None:
        return None

    def part(self, phrases: slice) -> "Shapes":
        return self

    def loaders(self, *, example: str) -> tuple[Callable[[], Masks], LoadIgnore | None]:
        drawn = _Drawn(self, example)
        has_unknown = not all(shape.is_target for shape in self.shapes)
        return drawn.masks, drawn.unknown if has_unknown else None


class _Drawn:
    """Shapes that are drawn once, for the mask and the unknown pixels alike."""

    def __init__(self, annotation: Shapes, example: str) -> None:
        self._annotation = annotation
        self._example = example

    @cached_property
    def _pixels(self) -> UInt8[np.ndarray, "height width"]:
        height, width = image_size(self._annotation.image, example=self._example)
        drawn = [
            (_filled(shape, height, width), shape.is_target) for shape in self._annotation.shapes
        ]
        pixels = np.full((height, width), _NOTHING, dtype=np.uint8)
        for inside, is_target in sorted(drawn, key=lambda each: -each[0].sum()):
            pixels[inside] = _TARGET if is_target else _UNKNOWN
        return pixels

    def masks(self) -> Masks:
        return (self._pixels == _TARGET)[None]

    def unknown(self) -> Bool[np.ndarray, "height width"]:
        return self._pixels == _UNKNOWN


def _filled(shape: Shape, height: int, width: int) -> Bool[np.ndarray, "height width"]:
    corners = [(int(x), int(y)) for x, y in shape.points]
    return filled_polygon(corners, height, width)
