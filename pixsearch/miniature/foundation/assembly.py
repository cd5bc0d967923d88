"""From the pre-trained parts to the folders that the ordinary scripts start from.

PARTS/language_model/   a LLaVA: the tower, and a projector and language model from scratch
PARTS/segmenter/        the SAM
PARTS/open_clip/        the tower again, as the retriever's image encoder
"""

import logging
import shutil
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    SamImageProcessor,
    SamModel,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from pixsearch.miniature.foundation.tokenizer import IMAGE
from pixsearch.retrieval.convert_clip import convert_clip

logger = logging.getLogger(__name__)

HIDDEN = 192
NUM_LAYERS = 4


def assemble(foundation: Path, parts: Path, *, seed: int) -> None:
    """Write `parts` from the pre-trained `foundation`; folders that are there are kept.

    Args:
        seed: of the weights that start from scratch.

    Raises:
        ValueError: `foundation` is not there.
    """
    if not (foundation / "tower" / "config.json").is_file():
        raise ValueError(
            f"{foundation}: the pre-trained parts are not there; "
            "run scripts/pretrain_miniature.py, or set paths.foundation"
        )
    if parts.is_dir():
        logger.info("%s: reused", parts)
        return
    unfinished = parts.with_name(f"{parts.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    tokenizer = AutoTokenizer.from_pretrained(foundation / "tokenizer")
    bare = CLIPVisionModel.from_pretrained(foundation / "tower", dtype=torch.float32)
    _write_language_model(bare, tokenizer, unfinished / "language_model", seed)
    segmenter = SamModel.from_pretrained(foundation / "segmenter", dtype=torch.float32)
    for part in (segmenter, SamImageProcessor()):
        part.save_pretrained(unfinished / "segmenter")
    tower = CLIPVisionModelWithProjection.from_pretrained(foundation / "tower", dtype=torch.float32)
    convert_clip(
        tower.state_dict(),
        tower.config,
        unfinished / "open_clip",
        mean=tuple(OPENAI_CLIP_MEAN),
        std=tuple(OPENAI_CLIP_STD),
    )
    unfinished.rename(parts)


def _write_language_model(
    tower: CLIPVisionModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    llava = LlavaForConditionalGeneration(_llava_config(tower.config, tokenizer))
    llava.model.vision_tower.load_state_dict(tower.state_dict())
    for part in (llava, tokenizer, CLIPImageProcessor()):
        part.save_pretrained(folder)


def _llava_config(vision: CLIPVisionConfig, tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    return LlavaConfig(
        vision_config=vision.to_dict(),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=512,
            num_hidden_layers=NUM_LAYERS,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=2048,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=False,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(vision.image_size // vision.patch_size) ** 2,
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
