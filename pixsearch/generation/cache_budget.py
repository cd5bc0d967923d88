"""How many tokens the cache of keys and values may hold."""

import math
from pathlib import Path

import psutil
import torch
from transformers import PreTrainedConfig

CONTROL_GROUP = Path("/sys/fs/cgroup")  # of version 2, as a container sees its own
FREE_SHARE = 0.6  # of the memory that is free; the rest is for what is computed on the way


def cache_budget(
    gib: float | None, config: PreTrainedConfig, dtype: torch.dtype, device: torch.device
) -> int:
    """Tokens that a cache of so many GiB holds.

    Args:
        gib: None for FREE_SHARE of what is free on the device now.
        config: of the language model.
    """
    num_bytes = FREE_SHARE * free_bytes(device) if gib is None else gib * 2**30
    return int(num_bytes / bytes_per_token(config, dtype))


def bytes_per_token(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """What the keys and values of a token take in all layers."""
    heads = config.num_key_value_heads
    head_width = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    return 2 * config.num_hidden_layers * heads * head_width * dtype.itemsize


def free_bytes(device: torch.device) -> int:
    """Memory that can be had now: of a GPU, what torch holds in reserve included; beside one what
    the machine and the container still have."""
    if device.type != "cuda":
        return int(min(psutil.virtual_memory().available, _left_in_container()))
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _left_in_container() -> float:
    """Infinite where the control group has no limit, or is not mounted here."""
    try:
        most, taken = [
            (CONTROL_GROUP / f"memory.{name}").read_text() for name in ("max", "current")
        ]
    except OSError:
        return math.inf
    return math.inf if most.strip() == "max" else float(most) - float(taken)
