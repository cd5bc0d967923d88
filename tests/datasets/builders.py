"""Tiny images and polygons, for files in the official layouts."""

from pathlib import Path

import numpy as np
from hypothesis import settings
from PIL import Image

HEIGHT, WIDTH = 24, 32

briefly = settings(max_examples=25, deadline=None)  # property tests that share a busy machine


def save_image(path: Path, *, height: int = HEIGHT, width: int = WIDTH, colour: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), colour, dtype=np.uint8)).save(path)
    return path


def box(x: int, y: int, width: int, height: int) -> list[list[float]]:
    """A polygon that covers the pixels [x, x + width) x [y, y + height)."""
    right, bottom = x + width, y + height
    return [[x, y, right, y, right, bottom, x, bottom]]
