"""What a checkpoint's shapes say of its architecture."""

from typing import Any

from transformers import SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig

from pixsearch.model.published.read import Tensors

PATCH = 16  # pixels; SAM's encoders have no other
DECODER_HEADS = 8  # SAM's; shapes do not tell
DECODER_EPS = 1e-5  # Meta's layer norms of the mask decoder; transformers' config has 1e-6


def count_layers(tensors: Tensors, prefix: str) -> int:
    """How many numbered modules stand under `prefix`."""
    numbers = {
        name.removeprefix(prefix).split(".")[0] for name in tensors if name.startswith(prefix)
    }
    return len(numbers)


def language_sizes(tensors: Tensors) -> dict[str, int]:
    """Sizes of the language model, as `LlamaConfig` names them; heads are not among them."""
    prefix = "backbone.model.language_model."
    vocabulary, width = tensors[f"{prefix}embed_tokens.weight"].shape
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": len(tensors[f"{prefix}layers.0.mlp.gate_proj.weight"]),
        "num_hidden_layers": count_layers(tensors, f"{prefix}layers."),
    }


def segmenter_config(tensors: Tensors, *, decoder_heads: int = DECODER_HEADS) -> SamConfig:
    """SAM's configuration. A layer whose relative positions span the grid looks at all of it."""
    encoder = "segmenter.vision_encoder."
    _, grid, _, width = tensors[f"{encoder}pos_embed"].shape
    depth = count_layers(tensors, f"{encoder}layers.")
    spans = [(len(tensors[f"{encoder}layers.{i}.attn.rel_pos_h"]) + 1) // 2 for i in range(depth)]
    head_width = tensors[f"{encoder}layers.0.attn.rel_pos_h"].shape[1]
    windows = [span for span in spans if span != grid]
    channels = len(tensors[f"{encoder}neck.conv1.weight"])
    mlp_width = len(tensors[f"{encoder}layers.0.mlp.lin1.weight"])
    decoder = "segmenter.mask_decoder."
    return SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=width,
            output_channels=channels,
            num_hidden_layers=depth,
            num_attention_heads=width // head_width,
            image_size=grid * PATCH,
            patch_size=PATCH,
            window_size=windows[0] if windows else 0,
            global_attn_indexes=[i for i, span in enumerate(spans) if span == grid],
            num_pos_feats=channels // 2,
            mlp_dim=mlp_width,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=channels, image_size=grid * PATCH, patch_size=PATCH
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=channels,
            mlp_dim=len(tensors[f"{decoder}transformer.layers.0.mlp.lin1.weight"]),
            num_hidden_layers=count_layers(tensors, f"{decoder}transformer.layers."),
            num_attention_heads=decoder_heads,
            layer_norm_eps=DECODER_EPS,
            iou_head_hidden_dim=len(tensors[f"{decoder}iou_prediction_head.proj_in.weight"]),
        ),
    )


def check_sizes(sizes: dict[str, int], config: dict[str, Any], source: str) -> None:
    """See that config.json says what the shapes say.

    The vocabulary may differ: rows were added after the file had been written.

    Raises:
        ValueError: it says otherwise; names the first size, with both numbers.
    """
    for name, found in sizes.items():
        if name != "vocab_size" and config.get(name, found) != found:
            raise ValueError(
                f"{source}: its config.json has {name}={config[name]}, its tensors {found}; "
                "the two are of different models"
            )
