"""From a published checkpoint to a PixSearch that computes the same."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixsearch.config import ConvertOptions
from pixsearch.model.pixsearch import PixSearch
from pixsearch.model.published.family import Published, Source
from pixsearch.model.published.lisa import Lisa
from pixsearch.model.published.names import rename
from pixsearch.model.published.plum import Plum
from pixsearch.model.published.read import Tensors, merge_lora, plain_names, read_tensors
from pixsearch.model.published.sa2va import Sa2va

PUBLISHED: tuple[Published, ...] = (Plum(), Lisa(), Sa2va())


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What came of a conversion.

    Attributes:
        dropped: reason -> the published names that it holds for.
    """

    model: PixSearch
    dropped: dict[str, list[str]]


def convert(options: ConvertOptions) -> Conversion:
    """Read a published checkpoint and build the model that computes the same.

    1. Read the shards; their names tell the family.
    2. Merge the adapters, bring the names under ours.
    3. Infer the sizes, take what shapes do not tell from the checkpoint's config.json; add what it
       lacks, and the rows of the tokens that are ours.
    4. Load strictly: each weight of the model once, each tensor used or dropped for a reason.

    Raises:
        ValueError: something is missing, left over or misshapen; one message that lists it all.
    """
    folder = Path(options.source)
    told = _read_config(folder)
    published = plain_names(read_tensors(folder))
    family = _family(published.keys(), folder)
    source = Source(folder=folder, told=told, names=published.keys())
    family.check(source, options)
    renamed = rename(
        family.prepare(merge_lora(published, alpha=options.lora_alpha), source),
        rules=family.rules,
        dropped=family.dropped,
        family=family.name,
    )
    tokenizer = family.tokenizer(source, options)
    converted = family.convert(renamed.tensors, source, tokenizer, options)
    model = PixSearch(converted.config, tokenizer=tokenizer)
    _load_strictly(model, converted.weights, folder)
    return Conversion(model=model.eval(), dropped=renamed.dropped)


def _read_config(folder: Path) -> dict[str, Any]:
    """What config.json says; see that it and the tokenizer lie beside the weights.

    Raises:
        ValueError: they do not.
    """
    told = folder / "config.json"
    has_tokenizer = any(folder.glob("tokenizer*")) or (folder / "vocab.json").exists()
    if not told.exists() or not has_tokenizer:
        raise ValueError(
            f"source={folder}: config.json and the tokenizer's files must lie beside the weights; "
            "what zero_to_fp32.py writes lacks them, copy those of the base model there"
        )
    return json.loads(told.read_text())


def _family(names: Collection[str], folder: Path) -> Published:
    """The family that a checkpoint with these names is of.

    Raises:
        ValueError: it is of none that PixSearch reads.
    """
    for family in PUBLISHED:
        if family.owns(names):
            return family
    raise ValueError(
        f"source={folder}: its tensors (such as {min(names)}) are not those of a "
        f"{', a '.join(family.name for family in PUBLISHED)}; give another folder"
    )


def _load_strictly(model: PixSearch, weights: Tensors, source: Path) -> None:
    """Load, or say all that does not fit.

    Raises:
        ValueError: tensors are missing, left over or misshapen; lists each, with both shapes.
    """
    ours = model.state_dict()
    missing = [f"{name} is missing" for name in ours.keys() - weights.keys()]
    extra = [f"{name} is left over" for name in weights.keys() - ours.keys()]
    misshapen = [
        f"{name} is {tuple(weights[name].shape)}, here {tuple(ours[name].shape)}"
        for name in ours.keys() & weights.keys()
        if weights[name].shape != ours[name].shape
    ]
    wrong = sorted(missing) + sorted(extra) + sorted(misshapen)
    if wrong:
        raise ValueError(f"source={source}: {len(wrong)} tensors do not fit: {'; '.join(wrong)}")
    model.load_state_dict(weights)
