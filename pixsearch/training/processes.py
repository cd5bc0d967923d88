"""The processes of a run: how many there are, on which device, and what they tell each other."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

PATIENCE = timedelta(hours=2)  # the main process writes large checkpoints while the others wait
BACKENDS = {"cuda": "nccl", "xpu": "xccl"}  # of torch.distributed; gloo for all others


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process among those that were launched.

    Attributes:
        count: of all machines together.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Go on once every process has come here."""
        if self.count > 1:
            distributed.barrier()

    def total(self, values: Tensor) -> Tensor:
        """The sum of every process's values."""
        if self.count > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def gather(self, objects: list[Any]) -> list[Any]:
        """The objects of all processes, in the order of their ranks."""
        if self.count == 1:
            return objects
        gathered: list[list[Any]] = [[] for _ in range(self.count)]
        distributed.all_gather_object(gathered, objects)
        return [one for objects_of_rank in gathered for one in objects_of_rank]


def join_processes() -> Processes:
    """Join those that `accelerate launch`, `torchrun` or a job of submitit started.

    There is one under plain python. With `ACCELERATE_USE_CPU=true` on the CPU, whatever
    accelerators there are.
    """
    if "SUBMITIT_EXECUTOR" in os.environ and "RANK" not in os.environ:
        _take_place_in_job()
    count, rank = (int(os.environ.get(name, default)) for name, default in _PLACE)
    device = _device(int(os.environ.get("LOCAL_RANK", "0")))
    if count > 1 and not distributed.is_initialized():
        backend = BACKENDS.get(device.type, "gloo")
        distributed.init_process_group(backend, timeout=PATIENCE)
    return Processes(rank=rank, count=count, device=device)


_PLACE = (("WORLD_SIZE", "1"), ("RANK", "0"))


def _take_place_in_job() -> None:
    """Tell torch.distributed which task of a submitit job this is (configs/hydra/launcher/)."""
    from submitit.helpers import TorchDistributedEnvironment

    TorchDistributedEnvironment().export(set_cuda_visible_devices=False)


def _device(local_rank: int) -> torch.device:
    """The accelerator that belongs to this process of its machine, or the CPU."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None or is_set("ACCELERATE_USE_CPU"):
        return torch.device("cpu")
    device = torch.device(found.type, local_rank % torch.accelerator.device_count())
    torch.accelerator.set_device_index(device.index)
    return device


def is_set(variable: str) -> bool:
    """Whether a flag of the environment is on."""
    return os.environ.get(variable, "").lower() in {"1", "true", "yes", "y"}
