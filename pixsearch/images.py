"""Pixel geometry: the only module that resizes, crops or pads images for a model.

Two squares are made of an image: the vision tower's (`fit_square`), which may crop, pad or squash,
and the segmenter's (`SegmenterFrame`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pixsearch.config import ImageFit, Resampling

ELONGATED = 16  # longest side by shortest, from which on no square is as long as the image
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
        return _centre(image, size)
    return _padded(image, size, tuple(int(channel * BYTE) for channel in mean))


def _padded(image: Image.Image, size: int, colour: tuple[int, ...]) -> Image.Image:
    """The image in the middle of a square of its longest side, resized as LLaVA does.

    An elongated image is resized along its longest side before it is padded, the same up to
    rounding: the square of a line of 60,000 pixels would take ten gigabytes.
    """
    across = down = side = max(image.size)
    if side >= ELONGATED * min(image.size):
        if image.width == side:
            across = size
            image = image.resize((size, image.height), Image.Resampling.BICUBIC)
        else:
            down = size
            image = image.resize((image.width, size), Image.Resampling.BICUBIC)
    square = Image.new("RGB", (across, down), colour)
    square.paste(image, ((across - image.width) // 2, (down - image.height) // 2))
    return square.resize((size, size), Image.Resampling.BICUBIC)


def _centre(image: Image.Image, size: int) -> Image.Image:
    """Shortest side to `size`, then the square in the middle, rounded as CLIP's processor does.

    Of an elongated image that is enlarged the square alone is computed, the same up to rounding.
    """
    shortest = min(image.size)
    width, height = (int(size * side / shortest) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    if shortest >= size or max(image.size) < ELONGATED * shortest:
        resized = image.resize((width, height), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + size, top + size))
    across, down = image.width / width, image.height / height
    columns = (left * across, 0, (left + size) * across, image.height)
    rows = (0, top * down, size, (top + size) * down)
    narrow = image.resize((size, image.height), Image.Resampling.BICUBIC, box=columns)
    return narrow.resize((size, size), Image.Resampling.BICUBIC, box=rows)  # PIL's order


def pixels(
    image: Image.Image, mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "3 height width"]:
    """Normalised values of an RGB image, channels first."""
    values = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / BYTE
    return (values - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@dataclass(frozen=True, kw_only=True)
class SegmenterFrame:
    """The square in which a segmenter sees an image, and the grid of the masks it returns.

    Attributes:
        size: side of the square in pixels.
        resolution: side of the masks that come out.
        keeps_ratio: the longest side fills the square, zeros fill the right or the bottom (SAM);
            else the image is squashed into it (SAM 2).
        mean, std: of colours, 0 to 1 per channel.
        resampling: filter by which the image is resized.
    """

    size: int
    resolution: int
    keeps_ratio: bool
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    resampling: Resampling = Resampling.bilinear

    def fitted(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of an image in the square, before padding (SAM's rounding).

        >>> SegmenterFrame(size=1024, resolution=256, keeps_ratio=True).fitted(480, 640)
        (768, 1024)
        """
        if not self.keeps_ratio:
            return self.size, self.size
        scale = self.size / max(height, width)
        return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))

    def pixels(self, image: Image.Image) -> Float[Tensor, "3 size size"]:
        """The segmenter's input: resized, normalised, padded with zeros."""
        height, width = self.fitted(image.height, image.width)
        resample = Image.Resampling[self.resampling.name.upper()]
        resized = image.convert("RGB").resize((width, height), resample)
        values = pixels(resized, self.mean, self.std)
        return F.pad(values, (0, self.size - width, 0, self.size - height))

    def to_image(
        self, mask_logits: Float[Tensor, "num_masks low low"], *, height: int, width: int
    ) -> Float[Tensor, "num_masks height width"]:
        """Logits of the decoder in the image's own pixels; a mask is where they exceed 0."""
        fitted_height, fitted_width = self.fitted(height, width)
        square = _resize(mask_logits.float(), (self.size, self.size), "bilinear")
        return _resize(square[:, :fitted_height, :fitted_width], (height, width), "bilinear")

    def targets(
        self, masks: Bool[np.ndarray, "num_masks height width"]
    ) -> Float[Tensor, "num_masks resolution resolution"]:
        """Training targets: the share of each low-resolution pixel that the mask covers, 0 to 1.

        A small object thus keeps its area, where a binary target would lose it. The padding is 0.
        """
        height, width = self.fitted(masks.shape[1], masks.shape[2])
        resized = _resize(torch.from_numpy(masks).float(), (height, width), "area")
        square = F.pad(resized, (0, self.size - width, 0, self.size - height))
        return _resize(square, (self.resolution, self.resolution), "area")


def _resize(
    planes: Float[Tensor, "num_masks from_height from_width"], size: tuple[int, int], mode: str
) -> Float[Tensor, "num_masks to_height to_width"]:
    """F.interpolate for planes without channels; also of none at all."""
    if len(planes) == 0:
        return planes.new_zeros(0, *size)
    return F.interpolate(planes[:, None], size=size, mode=mode)[:, 0]
