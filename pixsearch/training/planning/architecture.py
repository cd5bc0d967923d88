"""The model that options describe, on the meta device: sizes and no weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    PreTrainedConfig,
)

from pixsearch.chat_templates import TEMPLATES
from pixsearch.config import ModelOptions
from pixsearch.model.composing import composite_config
from pixsearch.model.families import check_family
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.segmenters import segmenter_kind
from pixsearch.tokens import TokenIds


def planned_model(options: ModelOptions, architectures: str) -> PixSearch:
    """Build the PixSearch of the options without weights and without a network.

    Args:
        architectures: folder with the published configurations, by the hub's ids.

    Raises:
        ValueError: the sizes of a part are unknown; one line that says what to add.
    """
    language_model = sizes_folder("model.language_model", options.language_model, architectures)
    segmenter = sizes_folder("model.segmenter", options.segmenter, architectures)
    backbone_config = AutoConfig.from_pretrained(language_model)
    check_family(backbone_config)
    backbone_config.dtype = torch.float32  # as composing.py loads weights, whatever is published
    segmenter_config = AutoConfig.from_pretrained(segmenter)
    segmenter_kind(segmenter_config)
    config = composite_config(
        options,
        backbone=backbone_config,
        segmenter=segmenter_config,
        token_ids=_ids_behind(backbone_config),
        template=replace(TEMPLATES[options.chat], restate_question=options.restate_question),
        vision=AutoImageProcessor.from_pretrained(language_model),
        pixels=AutoImageProcessor.from_pretrained(segmenter),
    )
    with torch.device("meta"):
        backbone = AutoModelForImageTextToText.from_config(config.backbone)
        return PixSearch(config, backbone=backbone)


def sizes_folder(option: str, source: str, architectures: str) -> Path:
    """Where the configuration of a model lies: its own folder, or that of its hub id.

    Raises:
        ValueError: neither is there.
    """
    published = Path(architectures) / source
    for folder in (Path(source), published):
        if (folder / "config.json").exists():
            return folder
    raise ValueError(
        f"{option}={source}: its sizes are unknown, there is neither {source}/config.json nor "
        f"{published}/config.json; put the published config.json and preprocessor_config.json there"
    )


def _ids_behind(config: PreTrainedConfig) -> TokenIds:
    """Ids behind the vocabulary: a plan has no tokenizer, and only their number has a size."""
    rows = config.get_text_config().vocab_size
    names = ("search", "search_end", "region", "whole", "information", "information_end", "seg")
    own: dict[str, Any] = {name: rows + place for place, name in enumerate(names)}
    return TokenIds(**own, end=0, pad=0, image=config.image_token_id)
