"""What the frozen encoders made of images. Computed once per image, cached, passed to `forward`."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import LlavaForConditionalGeneration, SamModel

from pixsearch.config import ImageFit
from pixsearch.images import fit_square, pixels, segmenter_pixels
from pixsearch.model.backbone import patch_features
from pixsearch.model.config import PixSearchConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFeatures:
    """Features of several images, one row each.

    Attributes:
        patch_features: the vision tower's, before the projector.
        segmenter_embedding: the segmenter's image encoder's.
        sizes: height and width of each image in its own pixels.
    """

    patch_features: Float[Tensor, "num_images num_patches vision_width"]
    segmenter_embedding: Float[Tensor, "num_images channels grid_height grid_width"]
    sizes: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.sizes)

    def index(self, rows: Sequence[int]) -> "ImageFeatures":
        """The images at `rows`, in that order."""
        rows = list(rows)
        return ImageFeatures(
            patch_features=self.patch_features[rows],
            segmenter_embedding=self.segmenter_embedding[rows],
            sizes=tuple(self.sizes[row] for row in rows),
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "ImageFeatures":
        """The same on another device, or stored in another precision."""
        return ImageFeatures(
            patch_features=self.patch_features.to(device=device, dtype=dtype),
            segmenter_embedding=self.segmenter_embedding.to(device=device, dtype=dtype),
            sizes=self.sizes,
        )

    @classmethod
    def cat(cls, features: Sequence["ImageFeatures"]) -> "ImageFeatures":
        """All the images of several, in order."""
        return cls(
            patch_features=torch.cat([one.patch_features for one in features]),
            segmenter_embedding=torch.cat([one.segmenter_embedding for one in features]),
            sizes=tuple(size for one in features for size in one.sizes),
        )


@torch.no_grad()
def encode_images(
    backbone: LlavaForConditionalGeneration,
    segmenter: SamModel,
    config: PixSearchConfig,
    images: Sequence[Image.Image],
) -> ImageFeatures:
    """Run the vision tower and the segmenter's encoder over the images, in one batch."""
    device, dtype = backbone.device, backbone.dtype
    seen = [tower_pixels(image, config) for image in images]
    segmented = [
        segmenter_pixels(image, config.segmenter_size, config.segmenter_mean, config.segmenter_std)
        for image in images
    ]
    return ImageFeatures(
        patch_features=patch_features(backbone, torch.stack(seen).to(device, dtype)),
        segmenter_embedding=segmenter.get_image_embeddings(
            torch.stack(segmented).to(device, dtype)
        ),
        sizes=tuple((image.height, image.width) for image in images),
    )


def tower_pixels(image: Image.Image, config: PixSearchConfig) -> Float[Tensor, "3 size size"]:
    """The vision tower's input."""
    fit = ImageFit(config.image_fit)
    square = fit_square(image, config.image_size, fit, mean=config.vision_mean)
    return pixels(square, config.vision_mean, config.vision_std)
