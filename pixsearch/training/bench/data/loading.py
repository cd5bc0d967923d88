"""How many samples a second the path that training takes makes ready, images and masks decoded."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier

import torch

from pixsearch.config import (
    BenchDataOptions,
    BenchTrainingOptions,
    DatasetOptions,
    ModelOptions,
    RunOptions,
    StageOptions,
    TrainOptions,
)
from pixsearch.datasets import open_dataset
from pixsearch.datasets.mixture import Mixture
from pixsearch.model.pixsearch import PixSearch
from pixsearch.training.batches import BatchSource
from pixsearch.training.bench.subject import build_model

NAME = "measured"
LONGEST_WAIT = 600.0  # seconds that one process waits for the other to have opened its data
MAX_LENGTH = 8192  # tokens; nothing is too long here
SMALL = BenchTrainingOptions(
    width=64,
    layers=1,
    tower_width=32,
    tower_layers=1,
    segmenter_width=64,
    segmenter_layers=1,
    segmenter_side=1024,  # SAM's, so that masks become targets of 256 x 256 as in the paper's run
)


_barrier: Barrier | None = None  # of the processes of a pool, set when they start


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who prepares batches: threads of each process, and processes as ranks of one run."""

    name: str
    num_threads: int
    num_processes: int


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured once.

    Attributes:
        samples_per_second: by the clock on the wall, of all workers together.
        cpu_seconds: per sample, of all workers together; it hangs less on what runs beside.
    """

    samples_per_second: float
    cpu_seconds: float


WORKERS = (
    Workers(name="1", num_threads=1, num_processes=1),  # the thread that decodes ahead
    Workers(name="2 threads", num_threads=2, num_processes=1),
    Workers(name="2 processes", num_threads=1, num_processes=2),
)


@contextmanager
def measuring_pool() -> Iterator[ProcessPoolExecutor]:
    """Fresh processes for `measure`, as many as the most that work at once."""
    count = max(workers.num_processes for workers in WORKERS)
    context = get_context("spawn")
    barrier = context.Barrier(count, timeout=LONGEST_WAIT)
    with ProcessPoolExecutor(count, context, initializer=_start, initargs=(barrier,)) as pool:
        yield pool


def measure(
    pool: ProcessPoolExecutor, source: DatasetOptions, workers: Workers, options: BenchDataOptions
) -> Speed:
    """All samples of a dataset once, behind a step to warm up."""
    ranks = range(workers.num_processes)
    futures = [pool.submit(_prepare_all, source, workers, options, rank=rank) for rank in ranks]
    samples, seconds, cpu = zip(*(future.result() for future in futures), strict=True)
    return Speed(
        samples_per_second=sum(samples) / max(seconds), cpu_seconds=sum(cpu) / sum(samples)
    )


def open_source(
    source: DatasetOptions, options: BenchDataOptions, *, rank: int, num_processes: int
) -> tuple[BatchSource, int]:
    """Training's own source of batches over one dataset, and its steps in one pass."""
    train = TrainOptions(
        model=ModelOptions(language_model="none", segmenter="none"),
        stage=StageOptions(
            name="bench",
            steps=1,
            trainable=[],
            mixture={NAME: 1.0},
            batch_size=options.batch_size,
            accumulation=1,
            max_length=MAX_LENGTH,
            by_image=True,
        ),
        run=RunOptions(output_dir="none", seed=options.seed),
    )
    dataset = open_dataset(source)
    mixture = Mixture({NAME: dataset}, train.stage.mixture, seed=options.seed, by_image=True)
    batches = BatchSource(train, _model(), mixture, rank=rank, num_processes=num_processes)
    return batches, len(dataset) // batches.global_batch


def _start(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier
    torch.set_num_threads(1)  # a second one would take the other worker's core


def _prepare_all(
    source: DatasetOptions, workers: Workers, options: BenchDataOptions, *, rank: int
) -> tuple[int, float, float]:
    """In a process of the pool: samples, seconds, and seconds of its threads together."""
    batches, num_steps = open_source(
        source, options, rank=rank, num_processes=workers.num_processes
    )

    def prepare(step: int) -> int:
        return sum(len(batch) for batch in batches.prepare(step).batches)

    prepare(num_steps)  # of the second pass
    if workers.num_processes > 1:
        assert _barrier is not None
        _barrier.wait()
    started, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(workers.num_threads) as pool:
        samples = sum(pool.map(prepare, range(num_steps)))
    return samples, time.perf_counter() - started, time.process_time() - cpu


@cache
def _model() -> PixSearch:
    return build_model(SMALL)
