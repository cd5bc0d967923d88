"""InternVL: tiles of the image and a thumbnail, four patches of each joined into one token."""

from collections.abc import Sequence

import torch
from PIL import Image
from transformers import PreTrainedModel

from pixsearch.model.families.family import Family, Layout, Patches, Projected, Size
from pixsearch.model.families.llava import Llava

TILED = {"crop_to_patches": True}  # as transformers' InternVLProcessor asks for


class InternVL(Llava):
    """Tiles follow each other without line ends."""

    has_fixed_layout = False

    def layout(self, size: Size) -> Layout:
        vision = self.config.backbone.vision_config
        rows, columns = (
            int(side // patch * self.config.backbone.downsample_ratio)
            for side, patch in zip(vision.image_size, vision.patch_size, strict=True)
        )
        return Layout(num_tokens=self.num_pieces(size) * rows * columns)

    def num_pieces(self, size: Size) -> int:
        return self.processor.get_number_of_image_patches(*size, TILED)

    def encode(self, backbone: PreTrainedModel, images: Sequence[Image.Image]) -> list[Patches]:
        inputs = self.processor(
            images=[image.convert("RGB") for image in images], return_tensors="pt", **TILED
        )
        pixel_values = inputs["pixel_values"].to(backbone.device, backbone.dtype)
        return list(self._see(backbone, pixel_values).split(inputs["num_patches"].tolist()))

    def project(
        self, backbone: PreTrainedModel, patches: Sequence[Patches], sizes: Sequence[Size]
    ) -> list[Projected]:
        together = torch.cat(list(patches)).to(backbone.dtype)
        tiles = self.projector(backbone)(together).split([len(one) for one in patches])
        return [one.flatten(0, 1)[None] for one in tiles]

    @property
    def projector_width(self) -> int:
        config = self.config.backbone
        return round(config.vision_config.hidden_size / config.downsample_ratio**2)

    def replace_projector(self, backbone: PreTrainedModel) -> None:
        Family.replace_projector(self, backbone)  # four patches at once go into its own

    def _see(self, backbone: PreTrainedModel, pixel_values: torch.Tensor) -> torch.Tensor:
        """The tower's patches, four neighbours side by side: what the projector is given."""
        config = self.config.backbone
        outputs = backbone.model.vision_tower(pixel_values, output_hidden_states=True)
        layer = config.vision_feature_layer
        states = outputs.last_hidden_state if layer == -1 else outputs.hidden_states[layer]
        states = states[:, 1:] if config.vision_feature_select_strategy == "default" else states
        side = int(states.shape[1] ** 0.5)
        square = states.unflatten(1, (side, side))
        return backbone.model.pixel_shuffle(square, scale_factor=config.downsample_ratio).flatten(
            1, 2
        )
