"""How many processes train, on which device, in which precision."""

import os

import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedDataParallelKwargs, parse_flag_from_env

from pixsearch.config import Precision
from pixsearch.precision import mixed_precision


def build_accelerator(precision: Precision) -> Accelerator:
    """Accelerate's engine: one process under plain python, else as many as were launched.

    Parts of the model may have nothing to do in a micro-batch (no image, no mask, no new token), on
    one rank or on all: hence `find_unused_parameters`.

    Raises:
        ValueError: the launched processes do not know of each other.
    """
    # Accelerate must be told: launched on a machine without GPUs it runs lone processes otherwise.
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    device = PartialState(cpu=cpu).device
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=mixed_precision(precision, device),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != launched:
        raise ValueError(
            f"{launched} processes were launched, but this one belongs to a group of "
            f"{accelerator.num_processes}: start them by `accelerate launch` or `torchrun`"
        )
    return accelerator
