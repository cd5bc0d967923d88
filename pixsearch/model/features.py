"""What the frozen encoders made of images. Computed once per image, cached, passed to `forward`."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from transformers import PreTrainedModel

from pixsearch.model.config import PixSearchConfig
from pixsearch.model.families import Family
from pixsearch.model.families.family import Patches, Size
from pixsearch.model.segmenters import SegmenterFeatures, segmenter_kind


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageFeatures:
    """Features of several images.

    Attributes:
        patches: the vision tower's, before the projector, one tensor per image; images of one
            batch may have different numbers of them.
        segmenter: the segmenter's.
        sizes: height and width of each image in its own pixels.
    """

    patches: tuple[Patches, ...]
    segmenter: SegmenterFeatures
    sizes: tuple[Size, ...]

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for one in self.patches) + self.segmenter.nbytes

    def index(self, rows: Sequence[int]) -> "ImageFeatures":
        """The images at `rows`, in that order."""
        rows = list(rows)
        return ImageFeatures(
            patches=tuple(self.patches[row] for row in rows),
            segmenter=self.segmenter.index(rows),
            sizes=tuple(self.sizes[row] for row in rows),
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "ImageFeatures":
        """The same on another device, or stored in another precision."""
        return ImageFeatures(
            patches=tuple(one.to(device=device, dtype=dtype) for one in self.patches),
            segmenter=self.segmenter.to(device, dtype),
            sizes=self.sizes,
        )

    @classmethod
    def cat(cls, features: Sequence["ImageFeatures"]) -> "ImageFeatures":
        """All the images of several, in order."""
        return cls(
            patches=tuple(patches for one in features for patches in one.patches),
            segmenter=SegmenterFeatures.cat([one.segmenter for one in features]),
            sizes=tuple(size for one in features for size in one.sizes),
        )


@torch.no_grad()
def encode_images(
    backbone: PreTrainedModel,
    segmenter: PreTrainedModel,
    family: Family,
    images: Sequence[Image.Image],
) -> ImageFeatures:
    """Run the vision tower and the segmenter's encoder over the images, in one batch."""
    config: PixSearchConfig = family.config
    frame = config.segmenter_frame
    squares = torch.stack([frame.pixels(image) for image in images])
    kind = segmenter_kind(config.segmenter)
    return ImageFeatures(
        # clones: a view would keep the whole batch in memory with the one image that is cached
        patches=tuple(one.clone() for one in family.encode(backbone, images)),
        segmenter=kind.encode(segmenter, squares.to(backbone.device, backbone.dtype)),
        sizes=tuple((image.height, image.width) for image in images),
    )
