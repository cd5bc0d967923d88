"""LLaVA-1.5: one square per image, the same number of patches for each."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel

from pixsearch.config import ImageFit, Projector
from pixsearch.images import fit_square, pixels
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.families.family import Family, Layout, Patches, Projected, Size

CLIP = "clip_vision_model"


class Llava(Family):
    """The vision tower's patches go through the projector one by one."""

    has_fixed_layout = True

    def layout(self, size: Size) -> Layout:
        vision = self.config.backbone.vision_config
        num_patches = (vision.image_size // vision.patch_size) ** 2
        has_class_token = vision.model_type == CLIP  # SigLIP's towers have none
        drops_first = self.config.backbone.vision_feature_select_strategy == "default"
        return Layout(num_tokens=num_patches + has_class_token - drops_first)

    def encode(self, backbone: PreTrainedModel, images: Sequence[Image.Image]) -> list[Patches]:
        squares = torch.stack([tower_pixels(image, self.config) for image in images])
        patches = tower_features(backbone, squares.to(backbone.device, backbone.dtype))
        return list(patches[:, None])

    def project(
        self, backbone: PreTrainedModel, patches: Sequence[Patches], sizes: Sequence[Size]
    ) -> list[Projected]:
        together = torch.cat(list(patches)).to(backbone.dtype)
        return list(self.projector(backbone)(together)[:, None])

    def encoder(self, backbone: PreTrainedModel) -> nn.Module:
        return backbone.model.vision_tower

    def projector(self, backbone: PreTrainedModel) -> nn.Module:
        return backbone.model.multi_modal_projector

    @property
    def projector_width(self) -> int:
        """Of what the projector is given: the chosen layers of the tower side by side."""
        layers = self.config.backbone.vision_feature_layer
        num_layers = 1 if isinstance(layers, int) else len(layers)
        return num_layers * self.config.backbone.vision_config.hidden_size

    def replace_projector(self, backbone: PreTrainedModel) -> None:
        if self.config.projector == Projector.linear.value:
            linear = nn.Linear(self.projector_width, self.config.width)
            backbone.model.multi_modal_projector = linear

    def touch_projector(self, backbone: PreTrainedModel) -> Float[Tensor, ""]:
        shape = (1, self.projector_width)  # of the config: a split weight does not tell its own
        nothing = torch.zeros(shape, device=backbone.device, dtype=backbone.dtype)
        return 0 * self.projector(backbone)(nothing).sum()


def tower_features(
    backbone: PreTrainedModel, pixel_values: Float[Tensor, "num_images 3 size size"]
) -> Float[Tensor, "num_images num_patches vision_width"]:
    """What the projector is given: the layers that the backbone's config names, side by side."""
    config = backbone.config
    outputs = backbone.model.vision_tower(pixel_values, output_hidden_states=True)
    layers = config.vision_feature_layer
    layers = [layers] if isinstance(layers, int) else layers
    features = torch.cat([outputs.hidden_states[layer] for layer in layers], dim=-1)
    return features[:, 1:] if config.vision_feature_select_strategy == "default" else features


def tower_pixels(image: Image.Image, config: PixSearchConfig) -> Float[Tensor, "3 size size"]:
    """The vision tower's input."""
    fit = ImageFit(config.image_fit)
    square = fit_square(image, config.image_size, fit, mean=config.vision_mean)
    return pixels(square, config.vision_mean, config.vision_std)
