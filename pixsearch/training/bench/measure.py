"""Time and memory of some steps, in a process of their own."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pixsearch.config import BenchTrainingOptions, LossOptions
from pixsearch.datasets.example import Example
from pixsearch.training.bench.steps import Savings, Step
from pixsearch.training.bench.subject import build_model, examples

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one process found.

    Attributes:
        first, later: conversations per second in the first epoch, whose images nobody has seen,
            and in the one after it.
        memory_mib: most resident memory of the steps, above what the loaded model takes.
        losses: of every step.
    """

    first: float
    later: float
    memory_mib: float
    losses: tuple[float, ...]


def measure(options: BenchTrainingOptions, savings: Savings) -> Measurement:
    """Two epochs over the same conversations in the same order, behind one step to warm up."""
    torch.set_num_threads(options.threads)
    model = build_model(options)
    step = Step(model, savings, max_length=options.max_length)
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.lr, betas=(0.9, 0.95), weight_decay=0.0)
    conversations = examples(options)
    size = options.images_per_step * options.num_classes
    *batches, unmeasured = [
        conversations[start : start + size] for start in range(0, len(conversations), size)
    ]
    before = resident_mib()
    forget_peak()
    take(step, unmeasured, optimizer, move=False)
    speeds, losses = [], []
    for _ in range(2):
        started = time.perf_counter()
        losses += [take(step, batch, optimizer) for batch in batches]
        speeds.append(size * len(batches) / (time.perf_counter() - started))
    return Measurement(
        first=speeds[0],
        later=speeds[1],
        memory_mib=peak_mib() - before,
        losses=tuple(losses),
    )


def take(
    step: Step, batch: Sequence[Example], optimizer: torch.optim.Optimizer, *, move: bool = True
) -> float:
    """Forward, backward and, unless the weights are to stay, an update; the loss."""
    with torch.autocast("cpu", torch.bfloat16):
        loss = step.losses(batch).total(LossOptions())
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
