"""LLaVA-NeXT and LLaVA-OneVision: an overview of the image, then tiles of it, with line ends."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel
from transformers.image_processing_utils import select_best_resolution

from pixsearch.model.families.family import Layout, Patches, Projected, Size
from pixsearch.model.families.llava import Llava, tower_features

DECIMALS = 7  # to which transformers rounds sides before it cuts padding away


class LlavaNext(Llava):
    """Tiles in the best of a few grids; where they pad the image, their tokens are cut away."""

    has_fixed_layout = False

    def layout(self, size: Size) -> Layout:
        height, width = self._token_grid(size)
        overview = super().layout(size).num_tokens
        return Layout(num_tokens=overview + height * (width + 1))  # a token ends each line

    def num_pieces(self, size: Size) -> int:
        best = select_best_resolution(size, self.config.backbone.image_grid_pinpoints)
        tile = self.config.backbone.vision_config.image_size
        return 1 + (best[0] // tile) * (best[1] // tile)

    def encode(self, backbone: PreTrainedModel, images: Sequence[Image.Image]) -> list[Patches]:
        tiles = [self._tiles(image) for image in images]
        pixel_values = torch.cat(tiles).to(backbone.device, backbone.dtype)
        return list(tower_features(backbone, pixel_values).split([len(one) for one in tiles]))

    def project(
        self, backbone: PreTrainedModel, patches: Sequence[Patches], sizes: Sequence[Size]
    ) -> list[Projected]:
        together = torch.cat(list(patches)).to(backbone.dtype)
        tiles = self.projector(backbone)(together).split([len(one) for one in patches])
        return [one[None] for one in self._pack(backbone, list(tiles), list(sizes))]

    def touch_projector(self, backbone: PreTrainedModel) -> Float[Tensor, ""]:
        return super().touch_projector(backbone) + 0 * backbone.model.image_newline.sum()

    def _pack(
        self, backbone: PreTrainedModel, tiles: list[Tensor], sizes: list[Size]
    ) -> list[Tensor]:
        """transformers' own: the tiles side by side, without padding, with line ends."""
        strategy = self.config.backbone.vision_feature_select_strategy
        packed, _ = backbone.model.pack_image_features(
            tiles, sizes, strategy, image_newline=backbone.model.image_newline
        )
        return packed

    def _tiles(self, image: Image.Image) -> Tensor:
        values = self.processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"]
        return values[0]

    def _token_grid(self, size: Size) -> Size:
        """Rows and columns of the tiles' tokens, those of the padding left out."""
        side = self._side
        best = select_best_resolution(size, self.config.backbone.image_grid_pinpoints)
        tile = self.config.backbone.vision_config.image_size
        rows, columns = side * (best[0] // tile), side * (best[1] // tile)
        height, width = size
        if width / height > columns / rows:
            shown = int(round(height * (columns / width), DECIMALS))
            return rows - 2 * ((rows - shown) // 2), columns
        shown = int(round(width * (rows / height), DECIMALS))
        return rows, columns - 2 * ((columns - shown) // 2)

    @property
    def _side(self) -> int:
        """Tokens along a tile's side."""
        vision = self.config.backbone.vision_config
        return vision.image_size // vision.patch_size


class LlavaOnevision(LlavaNext):
    """Also shrinks the tiles' tokens, to no more than those of `anyres_max_9`'s nine tiles."""

    def _pack(
        self, backbone: PreTrainedModel, tiles: list[Tensor], sizes: list[Size]
    ) -> list[Tensor]:
        packed, _ = backbone.model.pack_image_features(
            tiles,
            sizes,
            image_newline=backbone.model.image_newline,
            vision_aspect_ratio=self.config.backbone.vision_aspect_ratio,
        )
        return packed

    def _token_grid(self, size: Size) -> Size:
        rows, columns = super()._token_grid(size)
        most = int(self.config.backbone.vision_aspect_ratio.removeprefix("anyres_max_"))
        ratio = math.sqrt(rows * columns / (most * self._side**2))
        return (int(rows // ratio), int(columns // ratio)) if ratio > 1.1 else (rows, columns)
