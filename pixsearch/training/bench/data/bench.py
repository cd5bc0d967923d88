"""Every reader's speed, and the opening of a long file: one table, one file."""

import json
import logging
import os
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pixsearch.config import BenchDataOptions, to_dict
from pixsearch.training.bench.data.formats import write_formats, write_long_file
from pixsearch.training.bench.data.loading import WORKERS, Speed, measure, measuring_pool
from pixsearch.training.bench.data.opening import (
    Opening,
    Start,
    measure_opening,
    measure_starts,
)

logger = logging.getLogger(__name__)

MIB = 2**20

Speeds = dict[str, dict[str, list[Speed]]]
"""Reader -> workers -> every repetition."""


def bench_data(options: BenchDataOptions) -> dict[str, Any]:
    """Draw the data, measure, take them away; write and return what came of it."""
    Path(options.folder).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=options.folder, prefix="drawn-") as drawn:
        folder = Path(drawn)
        speeds = _measure_readers(options, folder)
        openings, starts = (
            _measure_long(options, folder / "long") if options.num_lines else ({}, {})
        )
    result = {
        "readers": {reader: _summary(found) for reader, found in speeds.items()},
        "opening": {name: asdict(opening) for name, opening in openings.items()},
        "starting": {name: asdict(start) for name, start in starts.items()},
        "options": to_dict(options),
        "cpus": os.cpu_count(),
    }
    for line in table(result["readers"], openings, starts):
        logger.info("%s", line)
    path = Path(options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    return result


def _measure_readers(options: BenchDataOptions, folder: Path) -> Speeds:
    """Readers and workers in turn, so that what runs beside hits all alike."""
    sources = write_formats(options, folder)
    found: Speeds = {reader: {each.name: [] for each in WORKERS} for reader in sources}
    with measuring_pool() as pool:
        for _ in range(options.repeats):
            for reader, workers in product(sources, WORKERS):
                speed = measure(pool, sources[reader], workers, options)
                found[reader][workers.name].append(speed)
                line = "%s, workers %s: %.1f samples/s"
                logger.info(line, reader, workers.name, speed.samples_per_second)
    return found


def _measure_long(
    options: BenchDataOptions, root: Path
) -> tuple[dict[str, Opening], dict[str, Start]]:
    write_long_file(options, root / "train.jsonl")
    return measure_opening(root, options), measure_starts(root)


def _summary(found: Mapping[str, list[Speed]]) -> dict[str, dict[str, float]]:
    """Medians over the repetitions, and how far their speeds lie apart."""
    return {workers: _medians(speeds) for workers, speeds in found.items()}


def _medians(found: list[Speed]) -> dict[str, float]:
    speeds = [one.samples_per_second for one in found]
    return {
        "samples_per_second": statistics.median(speeds),
        "spread": (max(speeds) - min(speeds)) / statistics.median(speeds),
        "cpu_seconds": statistics.median(one.cpu_seconds for one in found),
    }


def table(
    readers: Mapping[str, Mapping[str, Mapping[str, float]]],
    openings: Mapping[str, Opening],
    starts: Mapping[str, Start],
) -> Iterator[str]:
    """Lines to be read."""
    if readers:
        yield f"{'samples/s':16} " + " ".join(f"{each.name:>28}" for each in WORKERS)
    for reader, found in readers.items():
        cells = (
            f"{one['samples_per_second']:.1f} (±{one['spread'] / 2:.0%}, "
            f"{1000 * one['cpu_seconds']:.0f} ms CPU)"
            for one in found.values()
        )
        yield f"{reader:16} " + " ".join(f"{cell:>28}" for cell in cells)
    for name, one in openings.items():
        yield (
            f"{one.num_lines:,} lines, {name} opening: {one.opened:.3f} s, "
            f"{one.peak_bytes / MIB:.0f} MiB; then 1000 examples in {one.read:.2f} s"
        )
    for name, done in starts.items():
        yield (
            f"opening and {name}: {done.seconds:.2f} s ({done.cpu_seconds:.2f} s CPU), "
            f"{done.peak_bytes / MIB:.0f} MiB"
        )
