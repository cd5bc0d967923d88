"""Time and memory of some steps, in a process of their own."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pixsearch.config import BenchTrainingOptions, LossOptions
from pixsearch.datasets.example import Example
from pixsearch.model.losses import Losses
from pixsearch.model.pixsearch import PixSearch
from pixsearch.precision import keep_frozen_in_bf16
from pixsearch.training.bench.steps import ProductStep, Savings, Step, mixture_of
from pixsearch.training.bench.subject import build_model, examples

MIB = 2**20

LossesOf = Callable[[int], Losses]
"""Number of a step -> its losses, with their graph."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one process found.

    Attributes:
        first, later: conversations per second in the first epoch, whose images nobody has seen,
            and in those after it.
        memory_mib: most resident memory of the steps, above what the loaded model takes.
        losses: of every step.
    """

    first: float
    later: float
    memory_mib: float
    losses: tuple[float, ...]


def measure(options: BenchTrainingOptions, savings: Savings) -> Measurement:
    """Epochs over the same conversations in the same order, behind one step to warm up.

    Frozen weights lie in bf16 on every side, as LISA's do under DeepSpeed.
    """
    torch.set_num_threads(options.threads)
    model = build_model(options)
    keep_frozen_in_bf16(model)
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.lr, betas=(0.9, 0.95), weight_decay=0.0)
    size = options.images_per_step * options.num_classes
    conversations = examples(options)
    measured, unseen = conversations[:-size], conversations[-size:]
    num_steps = len(measured) // size
    before = resident_mib()
    forget_peak()
    take(losses_of(model, unseen, savings, options)(0), optimizer, move=False)
    of_step = losses_of(model, measured, savings, options)
    speeds, losses = [], []
    for epoch in range(options.num_epochs):
        started = time.perf_counter()
        steps = range(epoch * num_steps, (epoch + 1) * num_steps)
        losses += [take(of_step(step), optimizer) for step in steps]
        speeds.append(len(measured) / (time.perf_counter() - started))
    return Measurement(
        first=speeds[0],
        later=sum(speeds[1:]) / (len(speeds) - 1),
        memory_mib=peak_mib() - before,
        losses=tuple(losses),
    )


def losses_of(
    model: PixSearch,
    conversations: Sequence[Example],
    savings: Savings,
    options: BenchTrainingOptions,
) -> LossesOf:
    """The steps over some conversations; with all savings those of a run itself."""
    size = options.images_per_step * options.num_classes
    if savings == Savings.all():
        product = ProductStep(model, conversations, size=size, max_length=options.max_length)
        return in_bf16(product.losses)
    step, mixture = Step(model, savings, max_length=options.max_length), mixture_of(conversations)
    return in_bf16(
        lambda number: step.losses([mixture[number * size + place] for place in range(size)])
    )


def in_bf16(losses: LossesOf) -> LossesOf:
    """The same in the arithmetic of the paper's run."""

    def rounded(step: int) -> Losses:
        with torch.autocast("cpu", torch.bfloat16):
            return losses(step)

    return rounded


def take(losses: Losses, optimizer: torch.optim.Optimizer, *, move: bool = True) -> float:
    """Backward and, unless the weights are to stay, an update; the loss."""
    loss = losses.total(LossOptions())
    loss.backward()
    if move:
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


def forget_peak() -> None:
    """Begin to count the process's largest resident memory anew (Linux, proc(5): clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    return _status("VmHWM")


def resident_mib() -> float:
    return _status("VmRSS")


def _status(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / MIB
    raise ValueError(f"/proc/self/status has no {name}: the benchmark needs Linux")
