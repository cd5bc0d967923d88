"""What it takes to open a trajectory file of a million lines, in processes of their own."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixsearch.config import BenchDataOptions, DatasetOptions
from pixsearch.datasets import open_dataset
from pixsearch.memory import peak_of

NUM_READ = 1000  # examples at random, to see that the index leads to them


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One process that opens the file.

    Attributes:
        opened: seconds until the dataset is there.
        read: seconds for `NUM_READ` examples at random places.
        peak_bytes: most anonymous memory of all that, above the state after imports.
    """

    num_lines: int
    opened: float
    read: float
    peak_bytes: int


def measure_opening(root: Path, options: BenchDataOptions) -> dict[str, Opening]:
    """The first opening, which finds the lines, and the one after it."""
    source = DatasetOptions(reader="trajectories", root=str(root))
    found = {}
    for name in ("first", "later"):
        (num_lines, opened, read), peak, _ = peak_of(open_and_read, source, options.seed)
        found[name] = Opening(num_lines=num_lines, opened=opened, read=read, peak_bytes=peak)
    return found


def open_and_read(source: DatasetOptions, seed: int) -> tuple[int, float, float]:
    """Number of lines, seconds to open, seconds to read some of them."""
    started = time.perf_counter()
    examples = open_dataset(source)
    opened = time.perf_counter()
    for row in np.random.default_rng(seed).integers(len(examples), size=NUM_READ):
        assert examples[int(row)].id == str(row)
    return len(examples), opened - started, time.perf_counter() - opened
