"""Reads the tensors of a published checkpoint under their plain names."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

PREFIX = "base_model.model."  # what peft puts before every name, and DeepSpeed keeps
LORA = re.compile(r"(.+)\.lora_([AB])\.default\.weight")

Tensors = dict[str, Tensor]


def read_tensors(folder: Path) -> Tensors:
    """All tensors of the folder's shards, safetensors or torch's own files.

    DeepSpeed's zero_to_fp32.py writes a folder where older versions wrote a file; both are read.

    Raises:
        ValueError: there are none, or two shards hold the same name.
    """
    files = sorted(folder.glob("*.safetensors")) or sorted(
        file
        for file in folder.rglob("*.bin")
        if file.is_file() and "training_args" not in file.name
    )
    if not files:
        raise ValueError(
            f"source={folder}: there are no *.safetensors and no *.bin files; give the folder that "
            "the merge script or zero_to_fp32.py wrote"
        )
    tensors: Tensors = {}
    for file in files:
        shard = _read(file)
        twice = tensors.keys() & shard.keys()
        if twice:
            raise ValueError(f"{file}: {min(twice)} is in another file of {folder} as well")
        tensors |= shard
    return tensors


def plain_names(tensors: Mapping[str, Tensor]) -> Tensors:
    """The same tensors without peft's prefix."""
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}


def merge_lora(tensors: Mapping[str, Tensor], *, alpha: float) -> Tensors:
    """Add adapters to the matrices that they belong to: W + alpha / r * B A.

    Args:
        alpha: of the training run; the rank r is read from the shapes.

    Raises:
        ValueError: an adapter has no partner or no matrix.
    """
    adapters: dict[str, dict[str, Tensor]] = {}
    merged: Tensors = {}
    for name, tensor in tensors.items():
        found = LORA.fullmatch(name)
        if found:
            adapters.setdefault(found[1], {})[found[2]] = tensor
        else:
            merged[name.replace(".base_layer.", ".")] = tensor  # peft >= 0.6
    for owner, parts in adapters.items():
        weight = f"{owner}.weight"
        if parts.keys() != {"A", "B"} or weight not in merged:
            raise ValueError(f"{owner}: an adapter needs lora_A, lora_B and a weight of its owner")
        down, up = parts["A"].double(), parts["B"].double()
        change = (alpha / len(down)) * (up @ down)
        merged[weight] = (merged[weight].double() + change).to(merged[weight].dtype)
    return merged


def _read(file: Path) -> Tensors:
    if file.suffix == ".safetensors":
        return load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
