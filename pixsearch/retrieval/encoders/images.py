"""What the image encoders share: batches of images, and the colour that is nothing to a model."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

BYTE = 255  # largest value of a pixel


def in_batches(
    encode: Callable[[Sequence[Image.Image]], Float[Tensor, "batch ..."]],
    images: Sequence[Image.Image],
    *,
    batch_size: int,
    shape: tuple[int, ...],
) -> Float[np.ndarray, "num_images ..."]:
    """What a model makes of RGB images, no more than `batch_size` of them in memory.

    Args:
        shape: of what is made of one image.
    """
    found = np.empty((len(images), *shape), dtype=np.float32)
    for start in range(0, len(images), batch_size):
        batch = [image.convert("RGB") for image in images[start : start + batch_size]]
        found[start : start + len(batch)] = encode(batch).float().cpu().numpy()
    return found


def mean_colour(processor: Any) -> tuple[int, int, int]:
    """The pixel that is zero behind an image processor, 0 to 255 per channel."""
    red, green, blue = (round(mean * BYTE) for mean in processor.image_mean)
    return red, green, blue
