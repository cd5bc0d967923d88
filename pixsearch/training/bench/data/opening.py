"""What opening a trajectory file of a million lines takes, and what training does with it at first.

Each in a process of its own.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pixsearch.config import BenchDataOptions, DatasetOptions
from pixsearch.datasets import open_dataset
from pixsearch.datasets.exclusion import without_images
from pixsearch.datasets.mixture import Mixture
from pixsearch.datasets.subset import SomeExamples
from pixsearch.memory import peak_of
from pixsearch.training.data import hold_back

NUM_READ = 1000  # examples at random, to see that the index leads to them
NUM_HELD_BACK = 64
EXCLUDED = frozenset(f"coco/{number:012d}" for number in range(5000))  # as many as COCO's val2017


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


@dataclass(frozen=True, kw_only=True)
class Start:
    """One thing that training does once with all lines of a file that was opened before.

    Attributes:
        cpu_seconds: of the process; hangs less than `seconds` on what else runs.
        peak_bytes: most anonymous memory, above the state after imports.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measure_starts(root: Path) -> dict[str, Start]:
    """Each of `STARTS`, opening included."""
    source = DatasetOptions(reader="trajectories", root=str(root))
    found = {}
    for name in STARTS:
        (seconds, cpu), peak, _ = peak_of(start, source, name)
        found[name] = Start(seconds=seconds, cpu_seconds=cpu, peak_bytes=peak)
    return found


def start(source: DatasetOptions, name: str) -> tuple[float, float]:
    """Seconds on the wall's clock and of the process."""
    started, cpu = time.perf_counter(), time.process_time()
    examples = open_dataset(source)
    STARTS[name](SomeExamples(examples, range(len(examples))))
    return time.perf_counter() - started, time.process_time() - cpu


def _hold_back(examples: SomeExamples) -> None:
    hold_back(examples, NUM_HELD_BACK, name="long")


def _draw_by_image(examples: SomeExamples) -> None:
    Mixture({"long": examples}, {"long": 1.0}, seed=0, by_image=True).locate(0)


def _exclude(examples: SomeExamples) -> None:
    without_images(examples, EXCLUDED)


STARTS = {
    "run.held_out": _hold_back,
    "stage.by_image": _draw_by_image,
    "data.exclude_eval_images": _exclude,
}
