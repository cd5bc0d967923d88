"""SAM 2 as its authors name it, in Sa2VA. Facts: Meta's SAM 2, transformers' Sam2Model."""

from dataclasses import dataclass

import torch
from transformers import (
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)

from pixsearch.model.published.names import Rule
from pixsearch.model.published.read import Tensors
from pixsearch.model.published.sizes import DECODER_HEADS, count_layers, required

STRIDES = (4, 8, 16)  # of the three maps that the decoder is given
BLOCKS = "segmenter.vision_encoder.backbone.blocks."
DECODER = "segmenter.mask_decoder."
MATRIX = "segmenter.shared_image_embedding.positional_embedding"

SAM2_RULES: tuple[Rule, ...] = (
    (
        r"image_encoder\.trunk\.(pos_embed|pos_embed_window)",
        r"vision_encoder.backbone.\1",
    ),
    (
        r"image_encoder\.trunk\.patch_embed\.proj\.(\w+)",
        r"vision_encoder.backbone.patch_embed.projection.\1",
    ),
    (
        r"image_encoder\.trunk\.blocks\.(\d+)\.norm([12])\.(\w+)",
        r"vision_encoder.backbone.blocks.\1.layer_norm\2.\3",
    ),
    (
        r"image_encoder\.trunk\.blocks\.(\d+)\.mlp\.layers\.0\.(\w+)",
        r"vision_encoder.backbone.blocks.\1.mlp.proj_in.\2",
    ),
    (
        r"image_encoder\.trunk\.blocks\.(\d+)\.mlp\.layers\.1\.(\w+)",
        r"vision_encoder.backbone.blocks.\1.mlp.proj_out.\2",
    ),
    (
        r"image_encoder\.trunk\.blocks\.(\d+)\.(attn\.qkv|attn\.proj|proj)\.(\w+)",
        r"vision_encoder.backbone.blocks.\1.\2.\3",
    ),
    (r"image_encoder\.neck\.convs\.(\d)\.conv\.(\w+)", r"vision_encoder.neck.convs.\1.\2"),
    (r"no_mem_embed", "no_memory_embedding"),
    (
        r"sam_mask_decoder\.transformer\.layers\.(\d)\.mlp\.layers\.0\.(\w+)",
        r"mask_decoder.transformer.layers.\1.mlp.proj_in.\2",
    ),
    (
        r"sam_mask_decoder\.transformer\.layers\.(\d)\.mlp\.layers\.1\.(\w+)",
        r"mask_decoder.transformer.layers.\1.mlp.proj_out.\2",
    ),
    (
        r"sam_mask_decoder\.transformer\.(.+)\.out_proj\.(\w+)",
        r"mask_decoder.transformer.\1.o_proj.\2",
    ),
    (r"sam_mask_decoder\.(conv_s[01])\.(\w+)", r"mask_decoder.\1.\2"),
    (r"sam_mask_decoder\.obj_score_token\.weight", "mask_decoder.obj_score_token.weight"),
    (
        r"sam_mask_decoder\.pred_obj_score_head\.layers\.0\.(\w+)",
        r"mask_decoder.pred_obj_score_head.proj_in.\1",
    ),
    (
        r"sam_mask_decoder\.pred_obj_score_head\.layers\.1\.(\w+)",
        r"mask_decoder.pred_obj_score_head.layers.0.\1",
    ),
    (
        r"sam_mask_decoder\.pred_obj_score_head\.layers\.2\.(\w+)",
        r"mask_decoder.pred_obj_score_head.proj_out.\1",
    ),
)
"""What SAM 2 names otherwise than SAM; its prompt encoder and mask decoder begin with `sam_`."""

MEMORY = (
    r"(memory_attention|memory_encoder|mask_downsample|obj_ptr_proj|obj_ptr_tpos_proj)\..+"
    r"|maskmem_tpos_enc|no_mem_pos_enc|no_obj_ptr|no_obj_embed_spatial"
)
"""Names of what remembers a video's earlier frames."""


@dataclass(frozen=True, kw_only=True)
class Sam2Facts:
    """What the shapes of a SAM 2 do not tell.

    Attributes:
        stages: blocks of each stage, by which it is recognised.
        image_size: side of the square that it sees, in pixels.
        heads: of the first stage; each further stage has twice as many.
        windows: sides of the windows of attention, by stage.
        global_blocks: those that look at the whole image.
    """

    stages: tuple[int, ...]
    image_size: int
    heads: int
    windows: tuple[int, ...]
    global_blocks: tuple[int, ...]


HIERA_LARGE = Sam2Facts(
    stages=(2, 6, 36, 4),
    image_size=1024,
    heads=2,
    windows=(8, 4, 16, 8),
    global_blocks=(23, 33, 43),
)


def sam2_config(
    tensors: Tensors, facts: Sam2Facts, *, decoder_heads: int = DECODER_HEADS
) -> Sam2Config:
    """SAM 2's configuration; it always gives the mask that is asked for.

    Raises:
        ValueError: `facts` are of another one.
    """
    channels = len(required(tensors, "segmenter.vision_encoder.neck.convs.0.weight"))
    tokens = len(required(tensors, f"{DECODER}mask_tokens.weight"))
    return Sam2Config(
        vision_config=_vision_config(tensors, facts, channels),
        prompt_encoder_config=Sam2PromptEncoderConfig(
            hidden_size=channels, image_size=facts.image_size, patch_size=STRIDES[-1]
        ),
        mask_decoder_config=Sam2MaskDecoderConfig(
            hidden_size=channels,
            mlp_dim=len(required(tensors, f"{DECODER}transformer.layers.0.mlp.proj_in.weight")),
            num_hidden_layers=count_layers(tensors, f"{DECODER}transformer.layers."),
            num_attention_heads=decoder_heads,
            num_multimask_outputs=tokens - 1,
            iou_head_hidden_dim=len(
                required(tensors, f"{DECODER}iou_prediction_head.proj_in.weight")
            ),
            dynamic_multimask_via_stability=False,
        ),
    )


def _vision_config(tensors: Tensors, facts: Sam2Facts, channels: int) -> Sam2VisionConfig:
    trunk = _trunk_config(tensors, facts)
    return Sam2VisionConfig(
        backbone_config=trunk,
        backbone_channel_list=trunk.embed_dim_per_stage[::-1],
        backbone_feature_sizes=[[facts.image_size // stride] * 2 for stride in STRIDES],
        fpn_hidden_size=channels,
    )


def _trunk_config(tensors: Tensors, facts: Sam2Facts) -> Sam2HieraDetConfig:
    """Hiera's. A stage begins with a block that is wider than the one before it.

    Raises:
        ValueError: it has other stages than `facts`.
    """
    widths = [
        len(required(tensors, f"{BLOCKS}{block}.attn.proj.weight"))
        for block in range(count_layers(tensors, BLOCKS))
    ]
    stages = list(dict.fromkeys(widths))
    blocks = [widths.count(width) for width in stages]
    if blocks != list(facts.stages):
        raise ValueError(
            f"{BLOCKS}*: the stages of this SAM 2 have {blocks} blocks, those of the one that "
            f"PixSearch reads {list(facts.stages)}; its windows cannot be known from shapes"
        )
    positions = required(tensors, "segmenter.vision_encoder.backbone.pos_embed")
    mlp = len(required(tensors, f"{BLOCKS}0.mlp.proj_in.weight"))
    return Sam2HieraDetConfig(
        hidden_size=widths[0],
        num_attention_heads=facts.heads,
        image_size=[facts.image_size] * 2,
        window_positional_embedding_background_size=list(positions.shape[2:]),
        blocks_per_stage=blocks,
        embed_dim_per_stage=stages,
        num_attention_heads_per_stage=[facts.heads * 2**stage for stage in range(len(stages))],
        window_size_per_stage=list(facts.windows),
        global_attention_blocks=list(facts.global_blocks),
        mlp_ratio=mlp / widths[0],
    )


def complete_sam2(tensors: Tensors) -> Tensors:
    """The tensors as transformers holds them: points in one matrix, the Fourier matrix twice."""
    points = "segmenter.prompt_encoder.point_embed."
    rows = sorted(name for name in tensors if name.startswith(points))
    complete = {name: tensor for name, tensor in tensors.items() if name not in rows}
    if rows:
        complete[f"{points}weight"] = torch.cat([tensors[name] for name in rows])
    if MATRIX in tensors:
        twice = "segmenter.prompt_encoder.shared_embedding.positional_embedding"
        complete[twice] = tensors[MATRIX]
    return complete
