"""The processes of a run: which part of the work each does, and that they do not meet others.

They tell each other nothing: each takes every n-th of what is to be done, writes files of its own
and reads those of the others. So a run may go on with another number of processes.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from pixsearch.line_store import LOCK

PREPARING = ".preparing"  # lock of whoever opens or sums up an output folder


@dataclass(frozen=True, kw_only=True)
class Place:
    """This process among those that were launched."""

    rank: int = 0
    count: int = 1

    def share(self, items: Sequence[Any]) -> list[Any]:
        """What this process does of all items: every `count`-th, none of them twice.

        >>> [Place(rank=rank, count=2).share("abcde") for rank in range(2)]
        [['a', 'c', 'e'], ['b', 'd']]
        """
        return [items[index] for index in np.arange(len(items))[self.rank :: self.count]]


def place_in_run() -> Place:
    """As `torchrun` and `accelerate launch` say it; alone under plain python.

    Raises:
        ValueError: RANK and WORLD_SIZE do not go together.
    """
    rank, count = (int(os.environ.get(name, alone)) for name, alone in _ALONE.items())
    if not 0 <= rank < count:
        raise ValueError(f"RANK={rank} of WORLD_SIZE={count}: ranks go from 0 to {count - 1}")
    return Place(rank=rank, count=count)


def take_device() -> None:
    """Have each process of a machine compute on an accelerator of its own, if it has any."""
    if torch.accelerator.is_available() and "LOCAL_RANK" in os.environ:
        number = int(os.environ["LOCAL_RANK"]) % torch.accelerator.device_count()
        torch.accelerator.set_device_index(number)


@contextmanager
def one_run(folder: Path, place: Place) -> Iterator[None]:
    """Keep other runs from writing to a folder; a kill lets go of it.

    Raises:
        ValueError: another run is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _lock_of(folder, place.rank).open("a+") as file:
        with preparing(folder):
            if not _try_to_lock(file) or _others(folder, place):
                raise ValueError(
                    f"{folder}: another run writes there; wait for it, or set output_dir"
                )
            file.truncate(0)
            file.write(str(place.count))
            file.flush()
        yield


@contextmanager
def preparing(folder: Path) -> Iterator[None]:
    """One process of a run at a time."""
    with (folder / PREPARING).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_ALONE = {"RANK": 0, "WORLD_SIZE": 1}


def _lock_of(folder: Path, rank: int) -> Path:
    return folder / (f"{LOCK}-{rank:02d}" if rank else LOCK)


def _others(folder: Path, place: Place) -> list[Path]:
    """Locks that are held by processes of a run of another number of processes."""
    found = []
    for path in folder.glob(f"{LOCK}*"):
        with path.open("r+") as file:  # NFS locks no file that is open for reading alone
            is_other = path != _lock_of(folder, place.rank) and not _try_to_lock(file)
            if is_other and file.read() != str(place.count):
                found.append(path)
    return found


def _try_to_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
