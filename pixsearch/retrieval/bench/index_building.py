"""Indexes over synthetic vectors: memory and time of building them, one table, one file."""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from pixsearch.config import BenchIndexOptions
from pixsearch.retrieval.bench.memory import peak_of
from pixsearch.retrieval.bench.synthetic import Topics
from pixsearch.retrieval.building.finishing import write_vector_index
from pixsearch.retrieval.index import VECTORS
from pixsearch.retrieval.manifest import Identity
from pixsearch.retrieval.vectors import Vectors

logger = logging.getLogger(__name__)

MIB, GIB = 2**20, 2**30
ROWS_PER_FILE = 100_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One factory.

    Attributes:
        index_bytes: of the finished index on disk.
        peak_bytes: most anonymous memory while it was trained, filled, written and measured, above
            the state after imports.
        limit_bytes: 1.5 x `index_bytes` + 1 GiB.
        seconds: of all that.
    """

    factory: str
    search_parameters: str
    index_bytes: int
    bytes_per_vector: float
    peak_bytes: int
    limit_bytes: int
    within_limit: bool
    seconds: float
    recall_at_10: float


def bench_index(options: BenchIndexOptions) -> dict[str, Any]:
    """Build every factory's index in a process of its own; write and return what came of it."""
    folder = Path(options.folder)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        write_vectors(options)
        rows = [measure(options, factory) for factory in options.factories]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {
        "all_within_limit": all(row.within_limit for row in rows),
        "rows": [asdict(row) for row in rows],
        "options": asdict(options),
        "faiss": faiss.__version__,
        "cpus": os.cpu_count(),
    }
    for line in table(rows):
        logger.info("%s", line)
    path = Path(options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    return result


def write_vectors(options: BenchIndexOptions) -> None:
    """The vectors of `Topics`, in files of 100,000."""
    folder = Path(options.folder)
    folder.mkdir(parents=True)
    topics = Topics(options.num_topics, options.dimension, seed=options.build.seed)
    for number, start in enumerate(range(0, options.count, ROWS_PER_FILE)):
        vectors = topics.draw(min(ROWS_PER_FILE, options.count - start))
        np.save(folder / f"{number:05}.npy", vectors)
    logger.info("%d vectors of %d dimensions are drawn", options.count, options.dimension)


def measure(options: BenchIndexOptions, factory: str) -> Row:
    """Build one index in a fresh process."""
    factory, _, search_parameters = factory.partition(" ")
    found, peak, _ = peak_of(build_one, options, factory, search_parameters)
    size = found["index_bytes"]
    limit = int(1.5 * size) + GIB
    row = Row(
        factory=factory,
        search_parameters=search_parameters,
        bytes_per_vector=size / options.count,
        peak_bytes=peak,
        limit_bytes=limit,
        within_limit=peak <= limit,
        **found,
    )
    logger.info("%s: peak %.0f MiB, %.0f s", factory, peak / MIB, row.seconds)
    return row


def build_one(options: BenchIndexOptions, factory: str, search_parameters: str) -> dict[str, Any]:
    """As scripts/build_index.py does it from finished shards."""
    files = sorted(Path(options.folder).glob("*.npy"))
    vectors = Vectors([np.load(file, mmap_mode="r") for file in files])
    folder = Path(options.folder) / "index"
    folder.mkdir()
    started = time.monotonic()
    manifest = write_vector_index(
        folder,
        vectors,
        np.arange(len(vectors)),
        _identity(options, factory),
        model="",
        search_parameters=search_parameters,
        options=options.build,
    )
    seconds = time.monotonic() - started
    size = (folder / VECTORS).stat().st_size
    shutil.rmtree(folder)
    return {
        "index_bytes": size,
        "seconds": round(seconds, 1),
        "recall_at_10": manifest.recall_at_10,
    }


def table(rows: list[Row]) -> Iterator[str]:
    """Lines to be read."""
    yield f"{'factory':32} {'index':>10} {'bytes':>6} {'peak':>10} {'limit':>10} {'recall':>7} time"
    for row in rows:
        yield (
            f"{row.factory:32} {row.index_bytes / MIB:6.0f} MiB {row.bytes_per_vector:6.0f}"
            f" {row.peak_bytes / MIB:6.0f} MiB {row.limit_bytes / MIB:6.0f} MiB"
            f" {row.recall_at_10:7.3f} {row.seconds:.0f} s"
        )


def _identity(options: BenchIndexOptions, factory: str) -> Identity:
    return Identity(
        encoder="synthetic",
        fingerprint="",
        dimension=options.dimension,
        metric="cosine",
        prefix="",
        pooling="none",
        corpus_sha256="",
        factory=factory,
    )
