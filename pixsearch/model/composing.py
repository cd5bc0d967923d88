"""From folders to the parts of a PixSearch, and the checks of what was loaded."""

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoTokenizer,
    BaseImageProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pixsearch.chat_templates import TEMPLATES, ChatTemplate
from pixsearch.config import GroundBy, ModelOptions
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.families import check_family
from pixsearch.model.quantization import check_bitsandbytes, loading_options
from pixsearch.model.segmenters import segmenter_kind
from pixsearch.tokens import TokenIds, add_special_tokens, find_token_ids

Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What `PixSearch.compose` puts together.

    Attributes:
        kept_ids: of the special tokens that the backbone brings along, with their rows.
    """

    config: PixSearchConfig
    backbone: PreTrainedModel
    segmenter: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    kept_ids: tuple[int, ...] = ()


def load_parts(options: ModelOptions) -> Parts:
    """Load the pre-trained parts and describe their composition.

    Raises:
        ValueError: a part cannot be loaded or does not fit; one line that names the option.
    """
    light = _light_parts(options)
    kind = segmenter_kind(light.segmenter)
    load = partial(AutoModelForImageTextToText.from_pretrained, **loading_options(options))
    backbone = _load(load, *_backbone_source(options), weights=True)
    segmenter = _load(kind.model_class.from_pretrained, *_segmenter_source(options), weights=True)
    kind.prepare(segmenter)
    # config.json of some backbones says tied where the weights are two matrices
    is_tied = backbone.lm_head.weight is backbone.get_input_embeddings().weight
    backbone.config.tie_word_embeddings = is_tied
    rows = backbone.get_input_embeddings().num_embeddings
    found = replace(light, backbone=backbone.config, segmenter=segmenter.config)
    config = _describe(found, options, rows=rows)
    kept = light.tokenizer.convert_tokens_to_ids(list(options.token_mapping.values()))
    return Parts(
        config=config,
        backbone=backbone,
        segmenter=segmenter,
        tokenizer=light.tokenizer,
        kept_ids=tuple(kept),
    )


def describe_parts(options: ModelOptions) -> tuple[PixSearchConfig, PreTrainedTokenizerFast]:
    """A composition's config and its tokenizer, without any weights.

    Raises:
        ValueError: as `load_parts`.
    """
    light = _light_parts(options)
    rows = light.backbone.get_text_config().vocab_size
    return _describe(light, options, rows=rows), light.tokenizer


@dataclass(frozen=True, kw_only=True)
class _LightParts:
    """What is read before any weights: configs, and the tokenizer without our tokens."""

    backbone: PreTrainedConfig
    segmenter: PreTrainedConfig
    tokenizer: PreTrainedTokenizerFast


def _light_parts(options: ModelOptions) -> _LightParts:
    _check_grounding(options)
    backbone = _load(AutoConfig.from_pretrained, *_backbone_source(options))
    check_family(backbone)
    segmenter = _load(AutoConfig.from_pretrained, *_segmenter_source(options))
    segmenter_kind(segmenter)
    tokenizer = _load(AutoTokenizer.from_pretrained, *_backbone_source(options))
    return _LightParts(backbone=backbone, segmenter=segmenter, tokenizer=tokenizer)


def _describe(light: _LightParts, options: ModelOptions, *, rows: int) -> PixSearchConfig:
    """Add our tokens to the tokenizer, and describe the composition.

    Args:
        rows: of the backbone's embedding.
    """
    template = replace(TEMPLATES[options.chat], restate_question=options.restate_question)
    _check_template(template, light.tokenizer, options)
    vision = _load(AutoImageProcessor.from_pretrained, *_backbone_source(options))
    pixels = _load(AutoImageProcessor.from_pretrained, *_segmenter_source(options))
    return composite_config(
        options,
        backbone=light.backbone,
        segmenter=light.segmenter,
        token_ids=_token_ids(light, options, rows=rows),
        template=template,
        vision=vision,
        pixels=pixels,
    )


def _backbone_source(options: ModelOptions) -> tuple[str, str]:
    return "model.language_model", options.language_model


def _segmenter_source(options: ModelOptions) -> tuple[str, str]:
    return "model.segmenter", options.segmenter


def composite_config(
    options: ModelOptions,
    *,
    backbone: PreTrainedConfig,
    segmenter: PreTrainedConfig,
    token_ids: TokenIds,
    template: ChatTemplate,
    vision: BaseImageProcessor,
    pixels: BaseImageProcessor,
) -> PixSearchConfig:
    """Describe a composition; the one place where options become a model's config.

    Args:
        vision: the backbone's image processor.
        pixels: the segmenter's.
    """
    return PixSearchConfig(
        backbone=backbone,
        segmenter=segmenter,
        ground_by=options.ground_by.value,
        seg_state=options.seg_state.value,
        tagger_heads=options.tagger_heads,
        tagger_width=options.tagger_width,
        tagger_dropout=options.tagger_dropout,
        mask_feedback=options.mask_feedback,
        image_fit=options.image_fit.value,
        projector=options.projector.value,
        token_ids=asdict(token_ids),
        template=asdict(template),
        image_processor=vision.to_dict(),
        vision_mean=list(vision.image_mean),
        vision_std=list(vision.image_std),
        segmenter_mean=list(pixels.image_mean),
        segmenter_std=list(pixels.image_std),
        lora_rank=options.lora_rank,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        lora_targets=list(options.lora_targets),
        quantization=options.quantization.value,
        **_take_quantization(backbone),
        attn_implementation={},  # each part keeps its own; by default all would be set to None
    )


def _check_grounding(options: ModelOptions) -> None:
    if options.mask_feedback and options.ground_by is not GroundBy.span:
        raise ValueError(
            "model.mask_feedback=true goes with model.ground_by=span alone: set that too, or leave "
            "mask_feedback at false"
        )


def check_checkpoint(folder: str | os.PathLike[str]) -> None:
    """See that a checkpoint of PixSearch lies there, before anything heavy is loaded.

    Raises:
        ValueError: nothing lies there, or the checkpoint of another kind of model, or what it needs
            to be read is not installed.
    """
    try:
        found, _ = PixSearchConfig.get_config_dict(folder)
    except OSError:
        found = {}
    if found.get("model_type") != PixSearchConfig.model_type:
        kind = f"is of a {found['model_type']!r} model" if found else "is not there"
        raise ValueError(
            f"checkpoint {folder}: its config.json {kind}; "
            "give a folder that PixSearch.save_pretrained wrote"
        )
    if found.get("quantization_config"):
        check_bitsandbytes(f"checkpoint {folder} holds 4-bit weights")


def check_loaded(folder: str | os.PathLike[str], report: Mapping[str, Collection[Any]]) -> None:
    """See that every weight of the model came from the checkpoint, and every one of it was used.

    Args:
        report: transformers' loading report.

    Raises:
        ValueError: the weights do not fit config.json; one line with an example of each kind.
    """
    kinds = {
        "missing": "missing_keys",
        "unused": "unexpected_keys",
        "of another shape": "mismatched_keys",
    }
    found = [
        f"{len(report[key])} {kind} ({min(map(str, report[key]))}, …)"
        for kind, key in kinds.items()
        if report[key]
    ]
    if found:
        raise ValueError(
            f"checkpoint {folder}: its weights do not fit its config.json: {', '.join(found)}; "
            "the two files are of different runs, copy the checkpoint anew"
        )


def _take_quantization(backbone: PreTrainedConfig) -> dict[str, Any]:
    """How its weights are kept, out of the backbone's configuration: the whole model's says it."""
    found = getattr(backbone, "quantization_config", None)
    if found is None:
        return {}
    del backbone.quantization_config
    return {"quantization_config": found}


def _load(load: Callable[..., Part], option: str, source: str, *, weights: bool = False) -> Part:
    """Load from a folder or hub id; weights in fp32."""
    try:
        return load(source, dtype=torch.float32) if weights else load(source)
    except (OSError, ValueError, SafetensorError) as error:
        what = "weights" if weights else "config, tokenizer or image processor"
        kind = "folder" if Path(source).is_dir() else "folder or hub id"
        raise ValueError(
            f"{option}={source}: the {what} cannot be loaded from this {kind}: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _check_template(
    template: ChatTemplate, tokenizer: PreTrainedTokenizerFast, options: ModelOptions
) -> None:
    """See that the markers of a template are tokens.

    Raises:
        ValueError: one is not; it would be spelled out in pieces.
    """
    words = " ".join(value for value in asdict(template).values() if isinstance(value, str))
    added = tokenizer.get_added_vocab()
    missing = [marker for marker in re.findall(r"</?[^<>\s]+>", words) if marker not in added]
    if missing:
        raise ValueError(
            f"model.chat={options.chat}: {', '.join(dict.fromkeys(missing))} are no tokens of "
            f"model.language_model={options.language_model}; choose the style it was trained with"
        )


def _token_ids(light: _LightParts, options: ModelOptions, *, rows: int) -> TokenIds:
    """Add PixSearch's tokens and look all ids up.

    Raises:
        ValueError: the tokenizer has tokens for which the backbone has no rows.
    """
    tokenizer, mapping = light.tokenizer, options.token_mapping
    if len(tokenizer) > rows:
        raise ValueError(
            f"model.language_model={options.language_model}: its tokenizer has {len(tokenizer)} "
            f"tokens, its embedding {rows} rows; the two are of different models"
        )
    add_special_tokens(tokenizer, mapping)
    image = light.backbone.image_token_id
    return find_token_ids(tokenizer, image_token_id=image, mapping=mapping)
