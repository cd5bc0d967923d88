"""The optimiser and its schedule."""

import math

import torch
from torch import nn
from torch.optim import AdamW

from pixsearch.config import Decay, OptimOptions, TrainablePart


def lr_factor(step: int, *, options: OptimOptions, num_steps: int) -> float:
    """Factor on the learning rate at a step, counted from 0: linear warm-up, then decay.

    >>> options = OptimOptions(warmup_steps=2, decay=Decay.linear, final_lr_ratio=0.0)
    >>> [lr_factor(step, options=options, num_steps=6) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    if step < options.warmup_steps:
        return (step + 1) / options.warmup_steps
    progress = (step - options.warmup_steps) / max(1, num_steps - options.warmup_steps)
    match options.decay:
        case Decay.linear:
            height = 1 - progress
        case Decay.cosine:
            height = (1 + math.cos(math.pi * progress)) / 2
        case Decay.constant:
            height = 1.0
    return options.final_lr_ratio + (1 - options.final_lr_ratio) * height


def build_optimizer(parts: dict[TrainablePart, list[nn.Parameter]], options: OptimOptions) -> AdamW:
    """AdamW with one group per trained part; a group's `base_lr` is `lr` times its `lr_scale`.

    Raises:
        ValueError: `lr_scale` names a part that does not train.
    """
    unknown = sorted(set(options.lr_scale) - set(parts))
    if unknown:
        raise ValueError(
            f"stage.optim.lr_scale names {', '.join(unknown)}, which does not train: "
            f"stage.trainable has {', '.join(parts)}"
        )
    groups = []
    for part, parameters in parts.items():
        base_lr = options.lr * options.lr_scale.get(part, 1.0)
        groups.append({"params": parameters, "lr": base_lr, "base_lr": base_lr})
    betas = (options.betas[0], options.betas[1])
    return AdamW(groups, betas=betas, weight_decay=options.weight_decay, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to a factor of its `base_lr`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
