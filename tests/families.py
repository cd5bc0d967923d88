"""A real PixSearch of each family of backbones and each segmenter, in tiny numbers."""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextImageProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionImageProcessor,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2Config,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    Sam3ImageProcessor,
    Sam3TrackerConfig,
    Sam3TrackerModel,
    SiglipVisionConfig,
)
from transformers.image_processing_base import ImageProcessingMixin

from pixsearch.config import ChatStyle, ModelOptions, Precision
from pixsearch.model import PixSearch
from tests.tiny import HIDDEN, IMAGE, PATCH, tiny_tokenizer, write_tiny_parts

PINPOINTS = [[IMAGE, 2 * IMAGE], [2 * IMAGE, IMAGE], [2 * IMAGE, 2 * IMAGE]]
CHATML = ("<|im_start|>", "<|im_end|>")
VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}


def _text(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }


def _tower() -> dict[str, object]:
    return {
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": IMAGE,
        "patch_size": PATCH,
    }


def _llava_next(tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    return LlavaNextConfig(
        vision_config=CLIPVisionConfig(**_tower()),
        text_config=LlamaConfig(**_text(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
    )


def _llava_onevision(tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    return LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**_tower(), vision_use_head=False),
        text_config=Qwen2Config(**_text(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
        vision_aspect_ratio="anyres_max_1",  # so that four tiles are too many
    )


def _qwen_vision(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    ids = tokenizer.convert_tokens_to_ids(list(VISION))
    return dict(zip(names, ids, strict=True))


def _qwen2_5_vl(tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    return Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_heads": 2,
            "patch_size": PATCH,
            "window_size": 4 * PATCH,
            "out_hidden_size": HIDDEN,
            "fullatt_block_indexes": [1],
        },
        text_config=_text(tokenizer) | {"rope_parameters": dict(ROPE)},
        **_qwen_vision(tokenizer),
    )


def _qwen3_vl(tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    return Qwen3VLConfig(
        vision_config={
            "depth": 3,
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_heads": 2,
            "patch_size": PATCH,
            "out_hidden_size": HIDDEN,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        text_config=_text(tokenizer)
        | {"head_dim": 16, "rope_parameters": ROPE | {"mrope_interleaved": True}},
        **_qwen_vision(tokenizer),
    )


def _internvl(tokenizer: PreTrainedTokenizerFast) -> PreTrainedConfig:
    return InternVLConfig(
        vision_config=InternVLVisionConfig(
            **_tower() | {"image_size": [IMAGE, IMAGE], "patch_size": [PATCH, PATCH]}
        ),
        text_config=Qwen2Config(**_text(tokenizer)),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        tie_word_embeddings=False,
    )


_SQUARE = {"height": IMAGE, "width": IMAGE}
_QWEN_PIXELS = {"shortest_edge": 32 * 32, "longest_edge": 96 * 96}

FAMILIES: dict[
    str,
    tuple[
        ChatStyle,
        tuple[str, ...],
        Callable[[PreTrainedTokenizerFast], PreTrainedConfig],
        Callable[[], ImageProcessingMixin],
    ],
] = {
    "llava_next": (
        ChatStyle.llava_v1,
        (),
        _llava_next,
        lambda: LlavaNextImageProcessor(
            size={"shortest_edge": IMAGE}, crop_size=_SQUARE, image_grid_pinpoints=PINPOINTS
        ),
    ),
    "llava_onevision": (
        ChatStyle.llava_onevision,
        CHATML,
        _llava_onevision,
        lambda: LlavaOnevisionImageProcessor(size=_SQUARE, image_grid_pinpoints=PINPOINTS),
    ),
    "qwen2_5_vl": (
        ChatStyle.qwen2_5_vl,
        CHATML + VISION,
        _qwen2_5_vl,
        lambda: Qwen2VLImageProcessor(patch_size=PATCH, size=_QWEN_PIXELS),
    ),
    "qwen3_vl": (
        ChatStyle.qwen3_vl,
        CHATML + VISION,
        _qwen3_vl,
        lambda: Qwen2VLImageProcessor(patch_size=PATCH, size=_QWEN_PIXELS),
    ),
    "internvl": (
        ChatStyle.internvl,
        (*CHATML, "<img>", "</img>", "<IMG_CONTEXT>"),
        _internvl,
        lambda: GotOcr2ImageProcessor(size=_SQUARE, max_patches=4),
    ),
}


SAM2_PROMPTS = {"hidden_size": HIDDEN, "image_size": 64, "patch_size": 16}
SAM2_DECODER = {
    "hidden_size": HIDDEN,
    "mlp_dim": 2 * HIDDEN,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": HIDDEN,
}


def tiny_sam2_config() -> Sam2Config:
    """A SAM 2 that turns 64x64 pixels into masks of 16x16."""
    return Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "image_size": [64, 64],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 2, 2, 2],
                "window_size_per_stage": [4, 2, 4, 2],
                "window_positional_embedding_background_size": [4, 4],
                "global_attention_blocks": [3],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": HIDDEN,
        },
        prompt_encoder_config=dict(SAM2_PROMPTS),
        mask_decoder_config=dict(SAM2_DECODER),
    )


def write_sam2(folder: Path) -> None:
    """A checkpoint as transformers writes it."""
    Sam2Model(tiny_sam2_config()).save_pretrained(folder)
    Sam2ImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


SAM3_VISION = {
    "model_type": "sam3_vision_model",
    "backbone_config": {
        "model_type": "sam3_vit_model",
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "window_size": 2,
        "global_attn_indexes": [1],
        "pretrain_image_size": 32,
    },
    "fpn_hidden_size": HIDDEN,
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
}


def tiny_sam3_config() -> Sam3TrackerConfig:
    """A SAM 3 tracker of the sizes of `tiny_sam2_config`."""
    return Sam3TrackerConfig(
        vision_config=copy.deepcopy(SAM3_VISION),
        prompt_encoder_config=dict(SAM2_PROMPTS),
        mask_decoder_config=dict(SAM2_DECODER),
    )


def write_sam3(folder: Path) -> None:
    """A checkpoint as transformers writes it, with a "no memory" that is not zero."""
    segmenter = Sam3TrackerModel(tiny_sam3_config())
    torch.nn.init.normal_(segmenter.no_memory_embedding)
    segmenter.save_pretrained(folder)
    Sam3ImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)


def write_family_parts(folder: Path, name: str) -> ModelOptions:
    """Write a backbone of the family and a SAM 2; return the options to compose them."""
    chat, added, make_config, make_processor = FAMILIES[name]
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(list(added), special_tokens=True)
    if added:
        tokenizer.eos_token = "<|im_end|>"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = AutoModelForImageTextToText.from_config(make_config(tokenizer))
        write_sam2(folder / "segmenter")
    for part in (backbone, tokenizer, make_processor()):
        part.save_pretrained(folder / "language_model")
    return ModelOptions(
        language_model=str(folder / "language_model"),
        segmenter=str(folder / "segmenter"),
        chat=chat,
        precision=Precision.fp32,
    )


def sam3_model() -> PixSearch:
    """A LLaVA-1.5 with a SAM 3 tracker, in eval mode, the caller's own."""
    if "sam3" not in _composed:
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            options = write_tiny_parts(Path(folder))
            torch.manual_seed(0)
            write_sam3(Path(folder) / "sam3")
            options.segmenter = str(Path(folder) / "sam3")
            _composed["sam3"] = PixSearch.compose(options).eval()
    return copy.deepcopy(_composed["sam3"])


def family_model(name: str) -> PixSearch:
    """A composed model in eval mode, the caller's own; `llava` has a SAM, the others a SAM 2."""
    if name not in _composed:
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            write = write_tiny_parts if name == "llava" else write_family_parts
            options = write(Path(folder)) if name == "llava" else write(Path(folder), name)
            _composed[name] = PixSearch.compose(options).eval()
    return copy.deepcopy(_composed[name])


_composed: dict[str, PixSearch] = {}
ALL_FAMILIES = ("llava", *FAMILIES)
