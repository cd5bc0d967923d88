"""Published tensor names -> ours. Facts: Meta's SAM, transformers' SamModel, LISA, GLaMM."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pixsearch.model.published.read import Tensors

Rule = tuple[str, str]
"""A regular expression that matches a whole name, and what becomes of it."""

SAM_RULES: tuple[Rule, ...] = (
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

MODEL_RULES: tuple[Rule, ...] = (
    (r"lm_head\.weight", "backbone.lm_head.weight"),
    (r"model\.(embed_tokens|norm)\.weight", r"backbone.model.language_model.\1.weight"),
    (r"model\.(layers\.\d+\..+)", r"backbone.model.language_model.\1"),
    (r"model\.mm_projector\.(weight|bias)", r"backbone.model.multi_modal_projector.\1"),
    (r"model\.mm_projector\.0\.(\w+)", r"backbone.model.multi_modal_projector.linear_1.\1"),
    (r"model\.mm_projector\.2\.(\w+)", r"backbone.model.multi_modal_projector.linear_2.\1"),
    (r"model\.text_hidden_fcs\.0\.([02])\.(\w+)", r"grounding.projection.\1.\2"),
)
SEGMENTER_PREFIXES = ("model.visual_model.", "model.grounding_encoder.")  # LISA's and GLaMM's

DROPPED: dict[str, str] = {
    r"model\.vision_tower\..+": "CLIP comes from its own folder",
    r".*\.rotary_emb\.inv_freq": "a constant that old versions of transformers saved",
    r"seg_h_ref": "a buffer that PLUM fills with the states of an arbitrary batch",
    r"teacher_llm\..+": "PLUM's frozen teacher, a copy of the base model",
    r"model\.region_encoder\..+": "GLaMM's encoder of regions in the prompt; PixSearch has none",
}


@dataclass(kw_only=True)
class Renamed:
    """Tensors under our names, and what was left out.

    Attributes:
        dropped: reason -> the names that it holds for.
    """

    tensors: Tensors = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=dict)


def rename(tensors: Tensors) -> Renamed:
    """Bring a published checkpoint's tensors under our names.

    Raises:
        ValueError: there is a name that nobody has told of; lists them all.
    """
    renamed, unknown = Renamed(), []
    for name, tensor in tensors.items():
        reason = next((why for what, why in DROPPED.items() if re.fullmatch(what, name)), None)
        if reason is not None:
            renamed.dropped.setdefault(reason, []).append(name)
            continue
        ours = our_name(name)
        if ours is None:
            unknown.append(name)
        else:
            renamed.tensors[ours] = tensor
    if unknown:
        raise ValueError(
            f"{len(unknown)} tensors have names that no published checkpoint of LISA or GLaMM has: "
            f"{', '.join(sorted(unknown))}"
        )
    return renamed


def our_name(name: str) -> str | None:
    """What a published tensor is called here; None if it is not known.

    >>> our_name("model.visual_model.mask_decoder.output_upscaling.0.bias")
    'segmenter.mask_decoder.upscale_conv1.bias'
    """
    for prefix in SEGMENTER_PREFIXES:
        if name.startswith(prefix):
            found = _apply(SAM_RULES, name.removeprefix(prefix))
            return None if found is None else f"segmenter.{found}"
    return _apply(MODEL_RULES, name)


def _apply(rules: Iterable[Rule], name: str) -> str | None:
    for pattern, replacement in rules:
        found = re.fullmatch(pattern, name)
        if found:
            return found.expand(replacement)
    return None
