"""Polygons are drawn to the pixel as OpenCV draws them, which ReasonSeg's masks are defined by."""

import hashlib
import json
from pathlib import Path

import numpy as np

from pixsearch.datasets.polygons import filled_polygon

GOLDEN = json.loads((Path(__file__).parent / "golden" / "polygons.json").read_text())


def test_two_hundred_random_polygons_are_as_opencv_draws_them() -> None:
    assert len(GOLDEN) == 200
    for height, width, corners, num_pixels, sha256 in GOLDEN:
        pixels = filled_polygon([tuple(corner) for corner in corners], height, width)
        assert pixels.sum() == num_pixels, corners
        assert hashlib.sha256(np.packbits(pixels).tobytes()).hexdigest().startswith(sha256)


def test_a_polygon_covers_its_border() -> None:
    """Also where nothing is inside it."""
    square = filled_polygon([(1, 1), (3, 1), (3, 3), (1, 3)], 5, 5)
    assert square.sum() == 9
    point, line = filled_polygon([(2, 2)] * 3, 5, 5), filled_polygon([(0, 0), (4, 2), (0, 0)], 5, 5)
    assert (point.sum(), line.sum()) == (1, 5)
    assert not filled_polygon([(9, 9), (12, 9), (9, 12)], 5, 5).any()
