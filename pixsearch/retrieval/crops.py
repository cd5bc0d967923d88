"""How a region of an image becomes the image that is searched with."""

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pixsearch.config import RegionCrop

# CLIP's mean pixel (open_clip.OPENAI_DATASET_MEAN x 255): near zero once a tower has normalised.
MEAN_COLOUR = (123, 117, 104)

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom excluded


def region_image(
    image: Image.Image,
    mask: Bool[np.ndarray, "height width"],
    *,
    crop: RegionCrop = RegionCrop.masked_crop,
    min_side: int = 8,
    margin: float = 0.1,
) -> Image.Image:
    """The square RGB image of a region, padded with the mean colour so that nothing is cut off.

    Args:
        mask: in the image's own pixels.
        min_side: a box with a shorter side is widened about its centre, inside the image.
        margin: of the box's sides, added on each side; for `padded_box` alone.

    Raises:
        ValueError: the mask is empty or of another size than the image.
    """
    if mask.shape != (image.height, image.width):
        raise ValueError(
            f"the mask is {mask.shape[0]}x{mask.shape[1]}, "
            f"its image {image.height}x{image.width} (height x width)"
        )
    image = image.convert("RGB")
    margin = margin if crop is RegionCrop.padded_box else 0.0
    box = _widened(mask_box(mask), image.size, min_side=min_side, margin=margin)
    if crop is RegionCrop.padded_box:
        return pad_to_square(image.crop(box))
    filled = _filled(image, mask)
    return pad_to_square(filled if crop is RegionCrop.masked_fill else filled.crop(box))


def mask_box(mask: Bool[np.ndarray, "height width"]) -> Box:
    """The smallest box around a mask.

    >>> mask_box(np.array([[0, 0, 0], [0, 1, 1]], dtype=bool))
    (1, 1, 3, 2)

    Raises:
        ValueError: the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        raise ValueError("a region query with an empty mask: policy.on_empty_mask decides earlier")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def pad_to_square(image: Image.Image) -> Image.Image:
    """The image in the middle of a square of its longer side."""
    side = max(image.size)
    square = Image.new("RGB", (side, side), MEAN_COLOUR)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _filled(image: Image.Image, mask: Bool[np.ndarray, "height width"]) -> Image.Image:
    return Image.composite(image, Image.new("RGB", image.size, MEAN_COLOUR), Image.fromarray(mask))


def _widened(box: Box, size: tuple[int, int], *, min_side: int, margin: float) -> Box:
    width, height = size
    left, right = _widened_side(box[0], box[2], limit=width, min_side=min_side, margin=margin)
    top, bottom = _widened_side(box[1], box[3], limit=height, min_side=min_side, margin=margin)
    return left, top, right, bottom


def _widened_side(
    start: int, end: int, *, limit: int, min_side: int, margin: float
) -> tuple[int, int]:
    """One side of a box with its margin, then grown about its centre, all inside 0..limit."""
    add = round((end - start) * margin)
    start, end = max(0, start - add), min(limit, end + add)
    missing = max(0, min(min_side, limit) - (end - start))
    side = end - start + missing
    # At the border the box is shifted: cut off, it would be smaller than the least side again.
    start = min(max(0, start - missing // 2), limit - side)
    return start, start + side
