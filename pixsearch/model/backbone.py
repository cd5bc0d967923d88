"""What PixSearch does with the parts of transformers' LLaVA."""

import torch
from jaxtyping import Bool, Float, Int
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from pixsearch.model.config import PixSearchConfig


def patch_features(
    backbone: LlavaForConditionalGeneration, pixel_values: Float[Tensor, "num_images 3 size size"]
) -> Float[Tensor, "num_images num_patches vision_width"]:
    """What the projector is given: the layers that the backbone's config names, side by side."""
    config = backbone.config
    outputs = backbone.model.vision_tower(pixel_values, output_hidden_states=True)
    layers = config.vision_feature_layer
    layers = [layers] if isinstance(layers, int) else layers
    features = torch.cat([outputs.hidden_states[layer] for layer in layers], dim=-1)
    return features[:, 1:] if config.vision_feature_select_strategy == "default" else features


def splice_patches(
    embeddings: Float[Tensor, "batch length width"],
    patches: Float[Tensor, "num_images num_patches width"],
    *,
    is_placeholder: Bool[Tensor, "batch length"],
    image_index: Int[Tensor, " batch"],
) -> Float[Tensor, "batch length width"]:
    """Put the patches of each row's image where its placeholders are.

    Args:
        image_index: for each row its image, -1 without one.

    Raises:
        ValueError: a row has not one placeholder per patch of its image.
    """
    has_image = image_index >= 0
    check_placeholders(is_placeholder, has_image * patches.shape[1])
    spliced = patches[image_index[has_image]].to(embeddings.dtype)
    return embeddings.masked_scatter(is_placeholder[..., None], spliced)


def check_placeholders(
    is_placeholder: Bool[Tensor, "batch length"], expected: Int[Tensor, " batch"]
) -> None:
    """Compare the number of placeholders in each row with that of its image's patches.

    Raises:
        ValueError: they differ; names the first row, with both numbers.
    """
    found = is_placeholder.sum(dim=1)
    wrong = (found != expected).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"row {row} of the batch has {int(found[row])} image placeholders, "
            f"its image {int(expected[row])} patches: render it by this model's own renderer"
        )


def inject_lora(backbone: LlavaForConditionalGeneration, config: PixSearchConfig) -> None:
    """Put adapters into the language model's own matrices, in place.

    Raises:
        ValueError: (peft's) none of the matrices is called as `config.lora_targets` says.
    """
    adapters = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=config.lora_targets,
    )
    inject_adapter_in_model(adapters, backbone.model.language_model)
