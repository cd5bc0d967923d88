"""From the pre-trained parts to the folders that the ordinary scripts start from.

PARTS/language_model/   a LLaVA: tower, projector and language model
PARTS/segmenter/        the SAM
PARTS/open_clip/        the tower again, as the retriever's image encoder
"""

import logging
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    LlavaConfig,
    LlavaForConditionalGeneration,
    SamImageProcessor,
    SamModel,
)
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from pixsearch.datasets.files import fingerprint
from pixsearch.miniature.manifests import is_built, write_manifest
from pixsearch.retrieval.convert_clip import convert_clip

logger = logging.getLogger(__name__)


def assemble(foundation: Path, parts: Path) -> None:
    """Write `parts` from the pre-trained `foundation`, unless they are there.

    Raises:
        ValueError: `foundation` is not there, or `parts` were made from another one.
    """
    if not (foundation / "language_model" / "config.json").is_file():
        raise ValueError(
            f"{foundation}: the pre-trained parts are not there; "
            "run scripts/pretrain_miniature.py, or set paths.foundation"
        )
    described = {"foundation": fingerprint(foundation.glob("*/*.*"))}
    if is_built(parts, described):
        logger.info("%s: reused", parts)
        return
    unfinished = parts.with_name(f"{parts.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    _write_language_model(foundation, unfinished / "language_model")
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
    write_manifest(unfinished, described)
    unfinished.rename(parts)


def _write_language_model(foundation: Path, folder: Path) -> None:
    """The LLaVA: what was saved without its tower, and the tower."""
    llava = LlavaForConditionalGeneration(
        LlavaConfig.from_pretrained(foundation / "language_model")
    )
    saved = load_file(foundation / "language_model" / "model.safetensors")
    tower = CLIPVisionModel.from_pretrained(foundation / "tower", dtype=torch.float32)
    seen = {f"model.vision_tower.{name}": weight for name, weight in tower.state_dict().items()}
    spoken = {name: weight.float() for name, weight in saved.items()}
    spoken["lm_head.weight"] = spoken["model.language_model.embed_tokens.weight"]  # one, saved once
    llava.load_state_dict(spoken | seen)
    tokenizer = AutoTokenizer.from_pretrained(foundation / "tokenizer")
    for part in (llava, tokenizer, CLIPImageProcessor()):
        part.save_pretrained(folder)
