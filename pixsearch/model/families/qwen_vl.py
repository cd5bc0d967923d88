"""Qwen2.5-VL and Qwen3-VL: as many patches as the image has pixels for, positions of three axes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from pixsearch.model.families.family import Family, Layout, Patches, Projected, Size


class QwenVL(Family):
    """The merger is part of the frozen encoder; there is no projector to train.

    Qwen3-VL's encoder also gives patches of earlier layers (deepstack); they are further levels.
    """

    has_axes = True

    def layout(self, size: Size) -> Layout:
        processor = self.processor
        factor = processor.patch_size * processor.merge_size
        height, width = smart_resize(
            *size,
            factor=factor,
            min_pixels=processor.size["shortest_edge"],
            max_pixels=processor.size["longest_edge"],
        )
        grid = height // factor, width // factor
        return Layout(num_tokens=grid[0] * grid[1], grid=grid)

    def encode(self, backbone: PreTrainedModel, images: Sequence[Image.Image]) -> list[Patches]:
        inputs = self.processor(
            images=[image.convert("RGB") for image in images], return_tensors="pt"
        ).to(backbone.device)
        outputs = backbone.model.get_image_features(
            inputs["pixel_values"], inputs["image_grid_thw"], return_dict=True
        )
        lengths = [len(one) for one in outputs.pooler_output]
        deepstack = [
            # before transformers 5.23 those of all images in one tensor
            level.split(lengths) if isinstance(level, Tensor) else level
            for level in getattr(outputs, "deepstack_features", [])
        ]
        levels = [outputs.pooler_output, *deepstack]
        return [torch.stack(of_image) for of_image in zip(*levels, strict=True)]

    def project(
        self, backbone: PreTrainedModel, patches: Sequence[Patches], sizes: Sequence[Size]
    ) -> list[Projected]:
        return [one.to(backbone.dtype) for one in patches]

    def encoder(self, backbone: PreTrainedModel) -> nn.Module:
        return backbone.model.visual

    def touch_projector(self, backbone: PreTrainedModel) -> Float[Tensor, ""]:
        return torch.zeros((), device=backbone.device)
