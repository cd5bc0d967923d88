"""An example's image with its masks and what is ignored of it."""

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pixsearch.datasets.batch import load_masks_of
from pixsearch.datasets.example import Example
from pixsearch.training.samples import overlay

STRIPE = 6  # width of a stripe in pixels of the picture


def draw_masks(example: Example, *, longest_side: int) -> Image.Image:
    """The image in its own pixels or smaller, each mask in a colour, ignored regions hatched.

    Raises:
        ValueError: the image or a mask cannot be decoded; names the example.
    """
    assert example.load_image is not None
    image, masks = example.load_image(), load_masks_of(example)
    if masks is not None:
        image = overlay(image, list(masks))
    ignored = None if example.load_ignore is None else example.load_ignore()
    width, height = image.size
    image.thumbnail((longest_side, longest_side))
    if ignored is None:
        return image
    rows = np.arange(image.height) * height // image.height
    columns = np.arange(image.width) * width // image.width
    return hatch(image, ignored[np.ix_(rows, columns)])


def hatch(image: Image.Image, region: Bool[np.ndarray, "height width"]) -> Image.Image:
    """The image with black and white stripes over a region."""
    rows, columns = np.indices(region.shape)
    stripes = (rows + columns) // STRIPE % 3
    pixels = np.array(image.convert("RGB"))
    pixels[region & (stripes == 0)] = 0
    pixels[region & (stripes == 1)] = 255
    return Image.fromarray(pixels)
