"""The small loop that pre-trains a part: AdamW, cosine decay, a progress bar, resumable."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

logger = logging.getLogger(__name__)

StepLosses = dict[str, torch.Tensor]


def pretrain(
    module: nn.Module,
    losses_of_step: Callable[[int], StepLosses],
    *,
    steps: int,
    lr: float,
    folder: Path,
    weight_decay: float = 0.05,
    save_every: int = 100,
) -> None:
    """Train `module` in place; the sum of the step's named losses is minimised.

    Args:
        losses_of_step: step number → named losses. It draws its batch from the step's number alone,
            so that a resumed run sees what the uninterrupted one would have seen.
        folder: holds `progress.pt`; a run that was interrupted continues from it.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=weight_decay)
    start = _resume(module, optimizer, folder / "progress.pt")
    bar = tqdm(range(start, steps), initial=start, total=steps, desc=folder.name)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = lr * _factor(step, steps)
        losses = losses_of_step(step)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 0:
            bar.set_postfix({name: f"{loss.item():.3f}" for name, loss in losses.items()})
        if (step + 1) % save_every == 0 or step + 1 == steps:
            _save(module, optimizer, step + 1, folder / "progress.pt")


def _factor(step: int, steps: int, warmup: int = 100) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _save(module: nn.Module, optimizer: torch.optim.Optimizer, step: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".tmp")
    torch.save(
        {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, aside
    )
    aside.rename(path)


def _resume(module: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> int:
    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=True)
    module.load_state_dict(saved["module"])
    optimizer.load_state_dict(saved["optimizer"])
    logger.info("resumed %s at step %d", path, saved["step"])
    return int(saved["step"])
