"""How a region of an image becomes the image, or the images, that is searched with."""

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageFilter

from pixsearch.config import RegionCrop, RetrievalOptions

# CLIP's mean pixel (open_clip.OPENAI_DATASET_MEAN x 255): near zero once a tower has normalised.
MEAN_COLOUR = (123, 117, 104)

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom excluded
Colour = tuple[int, int, int]  # red, green, blue, 0 to 255


def region_views(
    image: Image.Image,
    mask: Bool[np.ndarray, "height width"],
    *,
    crop: RegionCrop,
    options: RetrievalOptions,
    colour: Colour = MEAN_COLOUR,
) -> list[Image.Image]:
    """The square RGB images that are encoded for a region: several for `multi_scale`, else one.

    Raises:
        ValueError: as `region_image`.
    """
    if crop is not RegionCrop.multi_scale:
        view = region_image(
            image,
            mask,
            crop=crop,
            min_side=options.min_region_side,
            margin=options.region_margin,
            blur=options.region_blur,
            colour=colour,
        )
        return [view]
    return [
        region_image(
            image,
            mask,
            crop=RegionCrop.padded_box,
            min_side=options.min_region_side,
            margin=(scale - 1) / 2,
            colour=colour,
        )
        for scale in options.region_scales
    ]


def region_image(
    image: Image.Image,
    mask: Bool[np.ndarray, "height width"],
    *,
    crop: RegionCrop = RegionCrop.masked_crop,
    min_side: int = 8,
    margin: float = 0.1,
    blur: float = 0.1,
    colour: Colour = MEAN_COLOUR,
) -> Image.Image:
    """The square RGB image of a region, padded with `colour` so that nothing is cut off.

    Args:
        mask: in the image's own pixels.
        crop: a kind that makes one image.
        min_side: a box with a shorter side is widened about its centre, inside the image; the
            square is no smaller, even of an image that is.
        margin: of the box's sides, added on each side; for `padded_box` and `blurred_surround`.
        blur: deviation of the Gaussian, of the box's longer side; for `blurred_surround`.

    Raises:
        ValueError: the mask is empty or of another size than the image.
    """
    check_mask(image, mask)
    image = image.convert("RGB")
    has_margin = crop in (RegionCrop.padded_box, RegionCrop.blurred_surround)
    box = _widened(
        mask_box(mask), image.size, min_side=min_side, margin=margin if has_margin else 0.0
    )
    match crop:
        case RegionCrop.padded_box:
            view = image.crop(box)
        case RegionCrop.blurred_surround:
            view = _blurred_around(image.crop(box), _cut(mask, box), blur)
        case RegionCrop.masked_crop:
            view = _filled(image, mask, colour).crop(box)
        case RegionCrop.masked_fill:
            view = _filled(image, mask, colour)
        case _:
            raise AssertionError(f"{crop} is not one image")
    return pad_to_square(view, min_side=min_side, colour=colour)


def check_mask(image: Image.Image, mask: Bool[np.ndarray, "height width"]) -> None:
    """See that a mask is of its image, and marks something.

    Raises:
        ValueError: it is not, or it does not.
    """
    if mask.shape != (image.height, image.width):
        raise ValueError(
            f"the mask is {mask.shape[0]}x{mask.shape[1]}, "
            f"its image {image.height}x{image.width} (height x width)"
        )
    _refuse_empty(mask)


def mask_box(mask: Bool[np.ndarray, "height width"]) -> Box:
    """The smallest box around a mask.

    >>> mask_box(np.array([[0, 0, 0], [0, 1, 1]], dtype=bool))
    (1, 1, 3, 2)

    Raises:
        ValueError: the mask is empty.
    """
    _refuse_empty(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def pad_to_square(
    image: Image.Image, *, min_side: int = 1, colour: Colour = MEAN_COLOUR
) -> Image.Image:
    """The image in the middle of a square of its longer side, or of `min_side` if that is more."""
    side = max(*image.size, min_side)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _refuse_empty(mask: Bool[np.ndarray, "height width"]) -> None:
    if not mask.any():
        raise ValueError("a region query with an empty mask: policy.on_empty_mask decides earlier")


def _filled(
    image: Image.Image, mask: Bool[np.ndarray, "height width"], colour: Colour
) -> Image.Image:
    return Image.composite(image, Image.new("RGB", image.size, colour), Image.fromarray(mask))


def _blurred_around(
    view: Image.Image, mask: Bool[np.ndarray, "height width"], blur: float
) -> Image.Image:
    blurred = view.filter(ImageFilter.GaussianBlur(blur * max(view.size)))
    return Image.composite(view, blurred, Image.fromarray(mask))


def _cut(mask: Bool[np.ndarray, "height width"], box: Box) -> Bool[np.ndarray, "rows columns"]:
    left, top, right, bottom = box
    return mask[top:bottom, left:right]


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
