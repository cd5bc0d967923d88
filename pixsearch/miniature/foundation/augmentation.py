"""Moves and recolours pictures with their labels, so that a small bank is not learned by heart."""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

_SCALES = (0.8, 1.3)
_SHIFT = 0.15  # of the side, in each direction
_GAIN = 0.2
_TINT = 0.06  # of a channel's range


def augment(
    images: UInt8[Tensor, "batch side side 3"],
    planes: UInt8[Tensor, "batch planes side side"],
    generator: torch.Generator,
) -> tuple[Float[Tensor, "batch 3 side side"], Int[Tensor, "batch planes side side"]]:
    """Scale, shift and recolour each picture at random; its planes of labels move with it.

    Returns:
        Pixels from 0 to 255, and the planes; what was outside is 0 in the planes.
    """
    grid = _random_grid(images, generator)
    pixels = images.permute(0, 3, 1, 2).float()
    moved = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    labels = functional.grid_sample(planes.float(), grid, mode="nearest", align_corners=False)
    shape = (len(images), 1, 1, 1)
    gain = 1 + _GAIN * (2 * torch.rand(shape, generator=generator) - 1)
    tint = 255 * _TINT * (2 * torch.rand((len(images), 3, 1, 1), generator=generator) - 1)
    return (moved * gain + tint).clamp(0, 255), labels.long()


def _random_grid(
    images: UInt8[Tensor, "batch side side 3"], generator: torch.Generator
) -> Float[Tensor, "batch side side 2"]:
    scales = torch.empty(len(images)).uniform_(*_SCALES, generator=generator)
    shifts = (2 * torch.rand((len(images), 2), generator=generator) - 1) * 2 * _SHIFT
    transform = torch.zeros(len(images), 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = 1 / scales
    transform[:, :, 2] = shifts
    shape = [len(images), 3, *images.shape[1:3]]
    return functional.affine_grid(transform, shape, align_corners=False)
