"""Which of the processes that build an index together this one is."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Process:
    """One of `world_size` processes. They share files and exchange no messages.

    Attributes:
        rank: its number, from 0.
        local_rank: its number on its machine, which chooses its GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls) -> "Process":
        """As `accelerate launch` and torchrun set it; alone where they did not start this.

        Raises:
            ValueError: RANK, WORLD_SIZE and LOCAL_RANK do not go together.
        """
        rank, world_size, local_rank = (
            _number(name, default)
            for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
        if not 0 <= rank < world_size:
            raise ValueError(
                f"RANK={rank}, WORLD_SIZE={world_size}: a rank lies between 0 and the number of "
                "processes; start them with accelerate launch, or unset both"
            )
        return cls(rank=rank, world_size=world_size, local_rank=local_rank)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def __str__(self) -> str:
        return f"process {self.rank} of {self.world_size}"

    def share(self, count: int) -> range:
        """Its part of the numbers 0 to `count` - 1.

        >>> list(Process(rank=1, world_size=3).share(8))
        [1, 4, 7]
        """
        return range(self.rank, count, self.world_size)

    def take_accelerator(self) -> None:
        """Make `best_device()` mean this process's own GPU, where there are any."""
        import torch  # a search by words alone, which imports this file, starts without it

        found = torch.accelerator.current_accelerator(check_available=True)
        if self.world_size > 1 and found is not None:
            torch.accelerator.set_device_index(self.local_rank % torch.accelerator.device_count())


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise ValueError(f"{name}={text!r} in the environment is no number: unset it")
    return int(text)
