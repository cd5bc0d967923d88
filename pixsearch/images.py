"""Pixel geometry: the only module that resizes, crops or pads images for a model.

Two squares are made of an image. The vision tower's (`fit_square`) may crop, pad or squash. The
segmenter's keeps the aspect ratio: the longest side fills it, zeros fill the right or the bottom.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from pixsearch.config import ImageFit

BYTE = 255.0  # largest value of a pixel


def fit_square(
    image: Image.Image, size: int, fit: ImageFit, *, mean: Sequence[float] = (0.0, 0.0, 0.0)
) -> Image.Image:
    """An RGB square of `size` pixels.

    Args:
        mean: colour of the padding, 0 to 1 per channel; used by `ImageFit.pad` alone.
    """
    image = image.convert("RGB")
    if fit is ImageFit.squash:
        return image.resize((size, size), Image.Resampling.BICUBIC)
    if fit is ImageFit.crop:
        return ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    side = max(image.size)
    square = Image.new("RGB", (side, side), tuple(int(channel * BYTE) for channel in mean))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square.resize((size, size), Image.Resampling.BICUBIC)


def pixels(
    image: Image.Image, mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "3 height width"]:
    """Normalised values of an RGB image, channels first."""
    values = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / BYTE
    return (values - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def fitted_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width of an image in the segmenter's square, before padding (SAM's rounding).

    >>> fitted_size(480, 640, 1024)
    (768, 1024)
    """
    scale = size / max(height, width)
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def segmenter_pixels(
    image: Image.Image, size: int, mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "3 size size"]:
    """The segmenter's square: longest side to `size`, normalised, zeros right and bottom."""
    height, width = fitted_size(image.height, image.width, size)
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return F.pad(pixels(resized, mean, std), (0, size - width, 0, size - height))


def masks_to_image(
    mask_logits: Float[Tensor, "num_masks low low"], *, height: int, width: int, size: int
) -> Float[Tensor, "num_masks height width"]:
    """Logits of the segmenter's decoder in the image's own pixels; a mask is where they exceed 0.

    Args:
        size: side of the segmenter's square in pixels.
    """
    fitted_height, fitted_width = fitted_size(height, width, size)
    square = _resize(mask_logits.float(), (size, size), "bilinear")
    return _resize(square[:, :fitted_height, :fitted_width], (height, width), "bilinear")


def masks_to_segmenter(
    masks: Bool[np.ndarray, "num_masks height width"], *, size: int, resolution: int
) -> Float[Tensor, "num_masks resolution resolution"]:
    """Training targets: the share of each low-resolution pixel that the mask covers, 0 to 1.

    A small object thus keeps its area, where a binary target would lose it. The padding is 0.

    Args:
        size: side of the segmenter's square in pixels.
        resolution: side of what its mask decoder returns.
    """
    fitted = fitted_size(masks.shape[1], masks.shape[2], size)
    resized = _resize(torch.from_numpy(masks).float(), fitted, "area")
    square = F.pad(resized, (0, size - fitted[1], 0, size - fitted[0]))
    return _resize(square, (resolution, resolution), "area")


def _resize(
    planes: Float[Tensor, "num_masks from_height from_width"], size: tuple[int, int], mode: str
) -> Float[Tensor, "num_masks to_height to_width"]:
    """F.interpolate for planes without channels; also of none at all."""
    if len(planes) == 0:
        return planes.new_zeros(0, *size)
    return F.interpolate(planes[:, None], size=size, mode=mode)[:, 0]
