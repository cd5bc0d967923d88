"""SAM as its authors name it, in LISA and GLaMM. Facts: Meta's SAM, transformers' SamModel."""

from transformers import SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig, SamVisionConfig

from pixsearch.model.published.names import Rule
from pixsearch.model.published.read import Tensors
from pixsearch.model.published.sizes import DECODER_HEADS, count_layers, required

PATCH = 16  # pixels; SAM's encoders have no other
DECODER_EPS = 1e-5  # Meta's layer norms of the mask decoder; transformers' config has 1e-6

ENCODER_RULES: tuple[Rule, ...] = (
    (r"image_encoder\.pos_embed", "vision_encoder.pos_embed"),
    (r"image_encoder\.patch_embed\.proj\.(\w+)", r"vision_encoder.patch_embed.projection.\1"),
    (
        r"image_encoder\.blocks\.(\d+)\.norm([12])\.(\w+)",
        r"vision_encoder.layers.\1.layer_norm\2.\3",
    ),
    (r"image_encoder\.blocks\.(\d+)\.(attn|mlp)\.(.+)", r"vision_encoder.layers.\1.\2.\3"),
    (r"image_encoder\.neck\.0\.(\w+)", r"vision_encoder.neck.conv1.\1"),
    (r"image_encoder\.neck\.1\.(\w+)", r"vision_encoder.neck.layer_norm1.\1"),
    (r"image_encoder\.neck\.2\.(\w+)", r"vision_encoder.neck.conv2.\1"),
    (r"image_encoder\.neck\.3\.(\w+)", r"vision_encoder.neck.layer_norm2.\1"),
)
PROMPT_RULES: tuple[Rule, ...] = (
    (
        r"prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix",
        "shared_image_embedding.positional_embedding",
    ),
    (r"prompt_encoder\.point_embeddings\.(\d)\.weight", r"prompt_encoder.point_embed.\1.weight"),
    (r"prompt_encoder\.(not_a_point_embed|no_mask_embed)\.weight", r"prompt_encoder.\1.weight"),
    (r"prompt_encoder\.mask_downscaling\.0\.(\w+)", r"prompt_encoder.mask_embed.conv1.\1"),
    (r"prompt_encoder\.mask_downscaling\.1\.(\w+)", r"prompt_encoder.mask_embed.layer_norm1.\1"),
    (r"prompt_encoder\.mask_downscaling\.3\.(\w+)", r"prompt_encoder.mask_embed.conv2.\1"),
    (r"prompt_encoder\.mask_downscaling\.4\.(\w+)", r"prompt_encoder.mask_embed.layer_norm2.\1"),
    (r"prompt_encoder\.mask_downscaling\.6\.(\w+)", r"prompt_encoder.mask_embed.conv3.\1"),
)
DECODER_RULES: tuple[Rule, ...] = (
    (
        r"mask_decoder\.transformer\.layers\.(\d)\.norm(\d)\.(\w+)",
        r"mask_decoder.transformer.layers.\1.layer_norm\2.\3",
    ),
    (
        r"mask_decoder\.transformer\.norm_final_attn\.(\w+)",
        r"mask_decoder.transformer.layer_norm_final_attn.\1",
    ),
    (r"mask_decoder\.transformer\.(.+)", r"mask_decoder.transformer.\1"),
    (r"mask_decoder\.(iou_token|mask_tokens)\.weight", r"mask_decoder.\1.weight"),
    (r"mask_decoder\.output_upscaling\.0\.(\w+)", r"mask_decoder.upscale_conv1.\1"),
    (r"mask_decoder\.output_upscaling\.1\.(\w+)", r"mask_decoder.upscale_layer_norm.\1"),
    (r"mask_decoder\.output_upscaling\.3\.(\w+)", r"mask_decoder.upscale_conv2.\1"),
    (
        r"mask_decoder\.(output_hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.0\.(\w+)",
        r"mask_decoder.\1.proj_in.\2",
    ),
    (
        r"mask_decoder\.(output_hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.1\.(\w+)",
        r"mask_decoder.\1.layers.0.\2",
    ),
    (
        r"mask_decoder\.(output_hypernetworks_mlps\.\d|iou_prediction_head)\.layers\.2\.(\w+)",
        r"mask_decoder.\1.proj_out.\2",
    ),
)
SAM_RULES = (*ENCODER_RULES, *PROMPT_RULES, *DECODER_RULES)


def sam_config(tensors: Tensors, *, decoder_heads: int = DECODER_HEADS) -> SamConfig:
    """SAM's configuration. A layer whose relative positions span the grid looks at all of it."""
    encoder = "segmenter.vision_encoder."
    _, grid, _, width = required(tensors, f"{encoder}pos_embed").shape
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
