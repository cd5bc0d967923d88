"""Index types side by side, and our call beside FAISS's own: one table, one file."""

import json
import logging
import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from jaxtyping import Float32, Int64

from pixsearch.config import BenchRetrievalOptions
from pixsearch.retrieval.bench.synthetic import Topics, write_documents
from pixsearch.retrieval.building.filling import fill_index, set_search_parameters
from pixsearch.retrieval.building.recall import NUM_NEAREST
from pixsearch.retrieval.index import VectorIndex
from pixsearch.retrieval.knowledge_base import KnowledgeBase
from pixsearch.retrieval.vectors import Vectors

logger = logging.getLogger(__name__)

Matrix = Float32[np.ndarray, "num dimension"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One index type with its search parameters.

    Attributes:
        bytes_per_vector: of the index as it is written to disk.
        build_seconds: to train it and to add all vectors.
        vectors_per_second: that were trained on and added in that time.
        recall_at_10: share of the exact ten nearest that it finds.
        queries_per_second: in batches.
        milliseconds: of one query alone, median.
    """

    factory: str
    search_parameters: str
    bytes_per_vector: float
    build_seconds: float
    vectors_per_second: float
    recall_at_10: float
    queries_per_second: float
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """What our call, vectors in and passages out, takes beside `faiss.Index.search` of the same k.

    Attributes:
        ratio: of the two medians.
        ms_ours, ms_bare: median milliseconds of a batch.
    """

    ratio: float
    ms_ours: float
    ms_bare: float


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What all index types are measured on.

    Attributes:
        exact: places of each query's ten nearest vectors.
        batches: other queries, by which overheads are measured.
    """

    vectors: Matrix
    queries: Matrix
    exact: Int64[np.ndarray, "num_queries ten"]
    batches: list[Matrix]
    documents: KnowledgeBase


def bench_retrieval(options: BenchRetrievalOptions) -> dict[str, Any]:
    """Measure all index types; write and return what came of it."""
    faiss.omp_set_num_threads(options.build.threads or faiss.omp_get_max_threads())
    folder = Path(options.folder)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        rows, overhead = _measure_all(options, _subject(options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {
        "overhead": {name: asdict(each) for name, each in overhead.items()},
        "rows": [asdict(row) for row in rows],
        "options": asdict(options),
        "faiss": faiss.__version__,
        "threads": faiss.omp_get_max_threads(),
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
    }
    for line in table(rows, overhead, options):
        logger.info("%s", line)
    path = Path(options.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    return result


def table(
    rows: list[Row], overhead: dict[str, Overhead], options: BenchRetrievalOptions
) -> Iterator[str]:
    """Lines to be read."""
    yield (
        f"{options.count} vectors of {options.dimension} dimensions about "
        f"{_num_topics(options)} points; {options.num_queries} queries"
    )
    head = ("recall@10", "queries/s", "ms alone", "bytes", "build s")
    yield f"{'index':54} {head[0]:>9} {head[1]:>9} {head[2]:>9} {head[3]:>6} {head[4]:>8}"
    for row in rows:
        yield (
            f"{row.factory + ' ' + row.search_parameters:54} {row.recall_at_10:9.3f}"
            f" {row.queries_per_second:9.0f} {row.milliseconds:9.2f}"
            f" {row.bytes_per_vector:6.0f} {row.build_seconds:8.1f}"
        )
    for name, each in overhead.items():
        yield (
            f"{name}: {options.batch} queries with their passages {each.ms_ours:.2f} ms, "
            f"faiss alone {each.ms_bare:.2f} ms: {each.ratio - 1:+.1%}"
        )


def paired(
    ours: Callable[[Matrix], Any], bare: Callable[[Matrix], Any], batches: list[Matrix]
) -> Overhead:
    """Both calls on every batch, which of them first in turns: the second finds a warm cache."""
    taken: dict[Callable[[Matrix], Any], list[float]] = {ours: [], bare: []}
    for number, batch in enumerate(batches):
        for call in (ours, bare) if number % 2 else (bare, ours):
            taken[call].append(_milliseconds(call, batch))
    ms_ours, ms_bare = statistics.median(taken[ours]), statistics.median(taken[bare])
    return Overhead(ratio=ms_ours / ms_bare, ms_ours=ms_ours, ms_bare=ms_bare)


def _subject(options: BenchRetrievalOptions) -> Subject:
    seed = options.build.seed
    topics = Topics(_num_topics(options), options.dimension, seed=seed)
    vectors, queries = topics.draw(options.count), topics.draw(options.num_queries)
    batches = [topics.draw(options.batch) for _ in range(options.repeats)]
    folder = Path(options.folder)
    write_documents(folder, count=options.count, words=options.words, seed=seed)
    nearest = min(NUM_NEAREST, options.count)
    exact = faiss.knn(queries, vectors, nearest, metric=faiss.METRIC_INNER_PRODUCT)[1]
    logger.info("vectors and documents are drawn")
    return Subject(
        vectors=vectors,
        queries=queries,
        exact=exact,
        batches=batches,
        documents=KnowledgeBase(folder),
    )


def _num_topics(options: BenchRetrievalOptions) -> int:
    return max(1, options.count // options.documents_per_topic)


def _measure_all(
    options: BenchRetrievalOptions, subject: Subject
) -> tuple[list[Row], dict[str, Overhead]]:
    """One index in memory at a time; several search parameters share one that was built."""
    rows: list[Row] = []
    overhead: dict[str, Overhead] = {}
    names = list(dict.fromkeys([*options.indexes, *options.overhead]))
    for factory in dict.fromkeys(name.partition(" ")[0] for name in names):
        started = time.perf_counter()
        index = fill_index(Vectors([subject.vectors]), factory, options.build)
        seconds = time.perf_counter() - started
        size = _bytes_per_vector(index, Path(options.folder))
        for name in (name for name in names if name.partition(" ")[0] == factory):
            set_search_parameters(index, name.partition(" ")[2])
            if name in options.indexes:
                rows.append(_row(name, index, subject, options, seconds=seconds, size=size))
                logger.info("%s: recall@10 %.3f", name, rows[-1].recall_at_10)
            if name in options.overhead:
                overhead[name] = _overhead(index, subject, options)
    return rows, overhead


def _row(
    name: str,
    index: faiss.Index,
    subject: Subject,
    options: BenchRetrievalOptions,
    *,
    seconds: float,
    size: float,
) -> Row:
    nearest = subject.exact.shape[1]
    batches = np.array_split(subject.queries, max(1, len(subject.queries) // options.batch))
    index.search(batches[0], nearest)
    together = sum(_milliseconds(lambda each: index.search(each, nearest), b) for b in batches)
    alone = [
        _milliseconds(lambda each: index.search(each, nearest), query[None])
        for query in subject.queries[: 2 * options.batch]
    ]
    found = index.search(subject.queries, nearest)[1]
    shared = [len(np.intersect1d(*pair)) for pair in zip(subject.exact, found, strict=True)]
    return Row(
        factory=name.partition(" ")[0],
        search_parameters=name.partition(" ")[2],
        bytes_per_vector=round(size, 1),
        build_seconds=round(seconds, 2),
        vectors_per_second=round(len(subject.vectors) / seconds, 1),
        recall_at_10=float(np.mean(shared) / nearest),
        queries_per_second=1000 * len(subject.queries) / together,
        milliseconds=statistics.median(alone),
    )


def _overhead(index: faiss.Index, subject: Subject, options: BenchRetrievalOptions) -> Overhead:
    """`Searcher` does with a text query's vector what is called ours here."""
    searched = VectorIndex(index, np.arange(len(subject.vectors)))

    def ours(batch: Matrix) -> Any:
        return subject.documents.passages(searched.search(batch, options.k))

    def bare(batch: Matrix) -> Any:
        return index.search(batch, options.k)

    for call in (ours, bare):
        call(subject.queries[: options.batch])
    return paired(ours, bare, subject.batches)


def _milliseconds(call: Callable[[Matrix], Any], batch: Matrix) -> float:
    started = time.perf_counter()
    call(batch)
    return 1000 * (time.perf_counter() - started)


def _bytes_per_vector(index: faiss.Index, folder: Path) -> float:
    path = folder / "index.faiss"
    faiss.write_index(index, str(path))
    size = path.stat().st_size / index.ntotal
    path.unlink()
    return size
