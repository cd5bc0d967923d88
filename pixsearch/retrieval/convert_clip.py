"""A transformers CLIP vision tower as an open_clip folder with the same weights.

    convert_clip(model.state_dict(), model.config, folder, mean=(0.5,) * 3, std=(0.5,) * 3)

writes {open_clip_config.json, model.safetensors}, opened by encoder `open_clip`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import open_clip
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig

# open_clip builds no model without a text tower. This one is the least that it accepts; its
# weights are zero and nothing reads them.
NO_TEXT_TOWER = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
QUICK_GELU = {"quick_gelu": True, "gelu": False}  # transformers' hidden_act -> open_clip's switch

_BLOCK_NAMES = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


def convert_clip(
    state_dict: Mapping[str, Tensor],
    config: CLIPVisionConfig,
    folder: Path,
    *,
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    std: tuple[float, float, float] = (0.5, 0.5, 0.5),
    interpolation: str = "bicubic",
    resize_mode: str = "longest",
) -> None:
    """Write the open_clip folder of a `CLIPVisionModelWithProjection`.

    Args:
        mean, std: of the pixels (0 to 1) that the tower was trained on.
        interpolation: how images are resized to the tower's size, "bicubic" or "bilinear".
        resize_mode: "longest" pads to a square with the mean colour, so that a wide image keeps its
            sides; "shortest" cuts the middle out, as CLIP was trained; "squash" distorts.

    Raises:
        ValueError: an activation that open_clip lacks, or no projection in the state dict.
    """
    model_config = open_clip_model_config(config)
    model = open_clip.CLIP(**model_config)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    model.visual.load_state_dict(open_clip_visual(state_dict, config.num_hidden_layers))
    preprocess = {
        "mean": list(mean),
        "std": list(std),
        "interpolation": interpolation,
        "resize_mode": resize_mode,
        "fill_color": [round(channel * 255) for channel in mean],
    }
    described = {"model_cfg": model_config, "preprocess_cfg": preprocess}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(described, indent=2) + "\n")


def open_clip_model_config(config: CLIPVisionConfig) -> dict:
    """open_clip's `model_cfg` for a tower of transformers.

    Raises:
        ValueError: the activation is neither quick_gelu nor gelu.
    """
    if config.hidden_act not in QUICK_GELU:
        raise ValueError(
            f"hidden_act={config.hidden_act!r}: open_clip has {' and '.join(QUICK_GELU)} alone"
        )
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": QUICK_GELU[config.hidden_act],
        "vision_cfg": {
            "image_size": config.image_size,
            "patch_size": config.patch_size,
            "width": config.hidden_size,
            "layers": config.num_hidden_layers,
            "head_width": config.hidden_size // config.num_attention_heads,
            "mlp_ratio": config.intermediate_size / config.hidden_size,
            "norm_kwargs": {"eps": config.layer_norm_eps},
        },
        "text_cfg": NO_TEXT_TOWER,
    }


def open_clip_visual(state_dict: Mapping[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """The weights under the names of open_clip's `visual`.

    Raises:
        ValueError: the state dict has no projection.
    """
    if "visual_projection.weight" not in state_dict:
        raise ValueError(
            "the state dict has no visual_projection.weight: "
            "convert a CLIPVisionModelWithProjection, not a CLIPVisionModel"
        )
    tower = {
        name.removeprefix("vision_model."): tensor.detach() for name, tensor in state_dict.items()
    }
    visual = {
        "class_embedding": tower["embeddings.class_embedding"],
        "positional_embedding": tower["embeddings.position_embedding.weight"],
        "conv1.weight": tower["embeddings.patch_embedding.weight"],
        "proj": tower["visual_projection.weight"].T,
    }
    for end in ("weight", "bias"):
        visual[f"ln_pre.{end}"] = tower[f"pre_layrnorm.{end}"]
        visual[f"ln_post.{end}"] = tower[f"post_layernorm.{end}"]
        for layer in range(num_layers):
            visual.update(_block(tower, layer, end))
    return visual


def _block(tower: Mapping[str, Tensor], layer: int, end: str) -> dict[str, Tensor]:
    old, new = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
    block = {
        f"{new}.{theirs}.{end}": tower[f"{old}.{ours}.{end}"]
        for ours, theirs in _BLOCK_NAMES.items()
    }
    block[f"{new}.attn.in_proj_{end}"] = _joined_projections(tower, f"{old}.self_attn", end)
    return block


def _joined_projections(
    tower: Mapping[str, Tensor], attention: str, end: str
) -> Float[Tensor, "three_width ..."]:
    # torch's MultiheadAttention keeps query, key and value in one matrix, in this order.
    return torch.cat([tower[f"{attention}.{name}_proj.{end}"] for name in ("q", "k", "v")])
