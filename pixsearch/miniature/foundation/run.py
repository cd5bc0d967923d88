"""Pre-trains the miniature's parts and writes them with a model card."""

import hashlib
import json
import logging
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import CLIPVisionModel, LlavaForConditionalGeneration, PreTrainedModel

from pixsearch.config import PretrainOptions
from pixsearch.datasets.files import read_json
from pixsearch.miniature.appearance import FOUNDATION_SEED
from pixsearch.miniature.foundation.bank import build_entities, build_scenes
from pixsearch.miniature.foundation.language_figures import measure_language_model
from pixsearch.miniature.foundation.language_model import train_language_model
from pixsearch.miniature.foundation.segmenter import measure_segmenter, train_segmenter
from pixsearch.miniature.foundation.tokenizer import train_tokenizer
from pixsearch.miniature.foundation.tower import measure_tower, train_tower
from pixsearch.miniature.manifests import is_built, write_manifest

logger = logging.getLogger(__name__)

VERSION = 2
_FIGURES = "figures.json"
_SIDE = 128
_HELD_OUT_SEED = FOUNDATION_SEED + 1
_HELD_OUT_ENTITIES, _HELD_OUT_SCENES = 300, 200


def pretrain_miniature(options: PretrainOptions) -> dict[str, float]:
    """Draw the pictures, train segmenter, tower and language model, measure them, write all.

    Interrupted, it goes on where it stopped (OUTPUT/work/); the pictures are drawn again. What is
    finished is left as it is.

    Returns:
        The figures on held-out pictures.

    Raises:
        ValueError: OUTPUT/work/ was begun with other options.
    """
    output = Path(options.output_dir)
    work = output / "work"
    if not is_built(work, _described(options)):
        work.mkdir(parents=True)
        write_manifest(work, _described(options))
    if (work / _FIGURES).is_file():
        logger.info("%s: reused", output)
        return read_json(work / _FIGURES)
    entities = build_entities(num_entities=options.num_entities, seed=FOUNDATION_SEED, side=_SIDE)
    scenes = build_scenes(entities, num_scenes=options.num_scenes, seed=FOUNDATION_SEED, side=_SIDE)
    segmenter = train_segmenter(
        scenes,
        steps=options.segmenter_steps,
        folder=work / "segmenter",
        seed=FOUNDATION_SEED,
    )
    tower = train_tower(
        scenes,
        entities,
        steps=options.tower_steps,
        folder=work / "tower",
        seed=FOUNDATION_SEED,
    )
    write_vision(tower.tower, segmenter, output)
    llava = train_language_model(
        CLIPVisionModel.from_pretrained(output / "tower", dtype=torch.float32),
        scenes,
        entities,
        steps=options.language_model_steps,
        folder=work / "language_model",
        seed=FOUNDATION_SEED,
    )
    others = build_entities(num_entities=_HELD_OUT_ENTITIES, seed=_HELD_OUT_SEED, side=_SIDE)
    other_scenes = build_scenes(
        others, num_scenes=_HELD_OUT_SCENES, seed=_HELD_OUT_SEED, side=_SIDE
    )
    figures = measure_tower(tower, other_scenes, others)
    figures |= measure_segmenter(segmenter, other_scenes, _HELD_OUT_SEED)
    figures |= measure_language_model(llava, other_scenes, others, _HELD_OUT_SEED)
    write_language_model(llava, output)
    write_card(output, options, figures)
    (work / _FIGURES).write_text(json.dumps(figures))
    return figures


def _described(options: PretrainOptions) -> dict[str, Any]:
    """All that decides the weights."""
    return {"version": VERSION} | asdict(options) | {"output_dir": ""}


def write_vision(tower: PreTrainedModel, segmenter: PreTrainedModel, output: Path) -> None:
    """Weights in fp16, so that all parts together stay under 10 MB."""
    for name, part in (("tower", tower), ("segmenter", segmenter)):
        deepcopy(part).to(torch.float16).save_pretrained(output / name)


def write_language_model(llava: LlavaForConditionalGeneration, output: Path) -> None:
    """The LLaVA's config, its weights without the tower's, in fp16, and the tokenizer.

    The head is left out: it is the embeddings.
    """
    llava.config.save_pretrained(output / "language_model")
    speaking = {
        name: weight.to(torch.float16).contiguous()
        for name, weight in llava.state_dict().items()
        if "vision_tower" not in name and name != "lm_head.weight"
    }
    save_file(speaking, output / "language_model" / "model.safetensors")
    train_tokenizer().save_pretrained(output / "tokenizer")


def write_card(output: Path, options: PretrainOptions, figures: dict[str, float]) -> None:
    """README.md beside the weights: what they are, how they were made, what they reach."""
    files = sorted(output.glob("*/model.safetensors"))
    hashes = "\n".join(
        f"| `{file.relative_to(output)}` | {file.stat().st_size:,} | "
        f"`{hashlib.sha256(file.read_bytes()).hexdigest()}` |"
        for file in files
    )
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in figures.items())
    (output / "README.md").write_text(
        _CARD.format(
            options=json.dumps(_described(options)),
            training=FOUNDATION_SEED,
            held_out=_HELD_OUT_SEED,
            hashes=hashes,
            rows=rows,
        )
    )


_CARD = """# The miniature's pre-trained parts

A vision tower (`CLIPVisionModelWithProjection`), a promptable segmenter (`SamModel`), a language
model (`LlavaForConditionalGeneration`, saved without its tower), a tokenizer. They know the
miniature's drawing style and none of its entities: they saw a world of seed {training}, which
`miniature.seed` refuses, in one half of the space of appearances, from which no evaluated world
draws. The language model talks about pictures, tells in which cell of a grid a thing stands, and
reads articles of that world, alone and beside a picture; it saw no search and no mask. Its head is
its embeddings. Weights are fp16.

    python scripts/pretrain_miniature.py

Options: `{options}`.

| file | bytes | sha256 |
|---|---|---|
{hashes}

Measured on held-out pictures of seed {held_out} (fp32 weights, before rounding to fp16):

| figure | value |
|---|---|
{rows}

`*_accuracy` is per patch that shows the thing; `crop_recall_at_k` is the share of crops whose
entity's photo is among the k nearest of 300; `mask_iou` is by one point or one box;
`answer_tokens_*` is the share of the answers' tokens that the language model puts first, `cells`
that of the cells in which things stand, told by 64 names; with another picture it can only guess.
`answers_*` is the share of whole answers to a question about a picture that stands before and
behind five articles of things of one kind, by the place of the one that it needs; without it the
right answer is "I don't know".
"""
