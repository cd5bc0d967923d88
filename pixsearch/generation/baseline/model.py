"""A plain image-text-to-text model of transformers, with the processor that belongs to it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from pixsearch.generation.baseline.outside import OutsideText
from pixsearch.precision import best_device, has_bf16_units

Part = TypeVar("Part")
PLACEHOLDERS = ("image_token", "video_token", "audio_token")  # as processors call them


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainModel:
    """Model and processor, untouched."""

    model: PreTrainedModel
    processor: ProcessorMixin

    @classmethod
    def from_pretrained(cls, checkpoint: str | os.PathLike[str]) -> "PlainModel":
        """Load from a folder or hub id, to the best device, in its own precision if that is fast.

        Raises:
            ValueError: it cannot be loaded, or cannot be asked; one line that names it.
        """
        device = best_device()
        processor = _load(AutoProcessor.from_pretrained, checkpoint)
        _check(processor, _load(AutoConfig.from_pretrained, checkpoint), checkpoint)
        model = _load(
            AutoModelForImageTextToText.from_pretrained,
            checkpoint,
            dtype="auto" if has_bf16_units(device) else torch.float32,
            use_safetensors=True,
        )
        _prepare(processor.tokenizer)
        return cls(model=model.eval().to(device), processor=processor)

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        return self.processor.tokenizer

    @cached_property
    def outside(self) -> OutsideText:
        """For all that is put into the model's template."""
        placeholders = [getattr(self.processor, name, None) for name in PLACEHOLDERS]
        return OutsideText(self.tokenizer, [one for one in placeholders if one])

    @property
    def image_id(self) -> int | None:
        """Of the placeholders of images; None if neither processor nor config names it."""
        found = getattr(self.processor, "image_token_id", None)
        return getattr(self.model.config, "image_token_id", None) if found is None else found

    @property
    def end_ids(self) -> frozenset[int]:
        """Of the tokens that end an answer."""
        found = self.model.generation_config.eos_token_id
        if found is None:
            found = self.tokenizer.eos_token_id
        return frozenset(found if isinstance(found, list) else [found])

    @property
    def pad_id(self) -> int:
        return self.tokenizer.pad_token_id

    @property
    def num_positions(self) -> int | None:
        """Tokens that the language model was made for."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)


def describe(checkpoint: str | os.PathLike[str], *, revision: str | None = None) -> dict[str, Any]:
    """The config.json of a folder or hub id, `_commit_hash` of the latter; empty if none.

    Args:
        revision: of a hub id: commit, tag or branch.
    """
    is_folder = Path(checkpoint).is_dir()
    return _read(checkpoint) if is_folder else _read_once(str(checkpoint), revision)


def _read(checkpoint: str | os.PathLike[str], revision: str | None = None) -> dict[str, Any]:
    try:
        return PreTrainedConfig.get_config_dict(checkpoint, revision=revision)[0]
    except OSError:
        return {}


_read_once = cache(_read)  # of the hub, which may take long not to be reached


def is_plain(checkpoint: str | os.PathLike[str]) -> bool:
    """Whether a checkpoint is an image-text-to-text model of transformers and no PixSearch."""
    return describe(checkpoint).get("model_type") in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def _load(load: Callable[..., Part], checkpoint: str | os.PathLike[str], **options: Any) -> Part:
    try:
        return load(checkpoint, **options)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"checkpoint={checkpoint}: model or processor cannot be loaded: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _check(
    processor: ProcessorMixin, config: PreTrainedConfig, checkpoint: str | os.PathLike[str]
) -> None:
    """See that a model can be asked, before its weights are loaded.

    Raises:
        ValueError: it cannot; says why.
    """
    tokenizer = getattr(processor, "tokenizer", None)
    templates = [getattr(one, "chat_template", None) for one in (processor, tokenizer)]
    lacks = {
        "has no tokenizer with places of its tokens": not getattr(tokenizer, "is_fast", False),
        "has no chat template": not any(templates),
        "has an encoder for the question": bool(config.is_encoder_decoder),
    }
    found = [lack for lack, is_so in lacks.items() if is_so]
    if found:
        raise ValueError(
            f"checkpoint={checkpoint}: it {' and '.join(found)}; choose a decoder that was "
            "published with a fast tokenizer and a chat template"
        )


def _prepare(tokenizer: PreTrainedTokenizerFast) -> None:
    """For batches of prompts."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
