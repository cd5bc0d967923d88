"""What a large knowledge base needs: arithmetic on measured figures, written into docs/scale.md.

Measured are bytes per vector, recall and the rate of building at one size, and the peak of memory
of a build at another. What is not measured is how the rate falls as an index grows; `growth` says
what is assumed.
"""

import json
import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixsearch.config import ScaleOptions

logger = logging.getLogger(__name__)

BEGIN, END = "<!-- tables: scripts/scale_table.py -->", "<!-- end of tables -->"
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One index type, as the benchmarks found it.

    Attributes:
        name: factory and search parameters.
        count: vectors with which `core_seconds` was measured.
        core_seconds: of building, for one vector: wall seconds x threads / count.
        peak_ratio: peak of memory while building / size of the index; None: not measured.
    """

    name: str
    recall_at_10: float
    bytes_per_vector: float
    count: int
    core_seconds: float
    peak_ratio: float | None


@dataclass(frozen=True, kw_only=True)
class Need:
    """What so many vectors take.

    Attributes:
        index_gib: in memory while it is searched.
        machines: whose memories together hold the index, with a part of the documents each.
        build_gib: at the most on one machine, while it builds its part; None: not measured.
        core_hours: of building it.
        hours: with all cores of these machines at work.
    """

    index_gib: float
    machines: int
    build_gib: float | None
    core_hours: float
    hours: float


def write_tables(options: ScaleOptions) -> None:
    """Put the tables between the marks in the document.

    Raises:
        ValueError: a benchmark has not been run, or the document has no marks.
    """
    path = Path(options.document)
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no lines {BEGIN} and {END}, between which the tables go")
    retrieval = _read(options.searching, "bench_retrieval")
    index = _read(options.building, "bench_index")
    tables = "\n".join(tables_of(retrieval, index, options))
    path.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}")
    logger.info("%s: %d index types", path, len(retrieval["rows"]))


def tables_of(
    retrieval: dict[str, Any], index: dict[str, Any], options: ScaleOptions
) -> Iterator[str]:
    """Lines of Markdown: where the figures come from, then one table for each count."""
    rows = measured(retrieval, index)
    size, built = retrieval["options"], index["options"]
    yield (
        f"Measured: bytes, recall and rates with {size['count']:,} vectors of {size['dimension']} "
        f"dimensions and {retrieval['threads']} threads (FAISS {retrieval['faiss']}); peaks with "
        f"{built['count']:,} vectors of {built['dimension']} dimensions."
    )
    yield (
        f"Assumed: machines with {options.machine_gib} GiB and {options.machine_cores} cores, "
        f"{options.usable:.0%} of the memory for the index."
    )
    for count in options.counts:
        yield from _table(rows, count, options)


def measured(retrieval: dict[str, Any], index: dict[str, Any]) -> list[Measured]:
    """All rows of bench_retrieval, with the peak of bench_index where it built the same type."""
    peaks = {row["factory"]: row["peak_bytes"] / row["index_bytes"] for row in index["rows"]}
    return [
        Measured(
            name=f"{row['factory']} {row['search_parameters']}".strip(),
            recall_at_10=row["recall_at_10"],
            bytes_per_vector=row["bytes_per_vector"],
            count=retrieval["options"]["count"],
            core_seconds=retrieval["threads"] / row["vectors_per_second"],
            peak_ratio=_peak_of(row["factory"], peaks),
        )
        for row in retrieval["rows"]
    ]


def need(of: Measured, count: int, options: ScaleOptions) -> Need:
    """What `count` vectors take as the index type that was measured.

    Each machine builds the index of its own part, so that a rate falls with the size of a part.
    """
    size = count * of.bytes_per_vector / GIB
    machines = max(1, math.ceil(size / (options.machine_gib * options.usable)))
    seconds = count * of.core_seconds * growth(of.name, count / machines, float(of.count))
    return Need(
        index_gib=size,
        machines=machines,
        build_gib=None if of.peak_ratio is None else size * of.peak_ratio / machines,
        core_hours=seconds / 3600,
        hours=seconds / 3600 / (options.machine_cores * machines),
    )


def growth(name: str, count: float, measured_count: float) -> float:
    """By how much one more vector takes longer in an index of `count` than in the measured one.

    Assumed: a graph is searched for each new vector, in time that grows as the logarithm; an
    inverted file has cells as the root of its vectors, all of which each vector is compared with.

    >>> growth("HNSW32,SQ8", 1e6, 1e3), growth("IVF1024,SQ8", 400.0, 100.0), growth("SQ8", 9.0, 1.0)
    (2.0, 2.0, 1.0)
    """
    if "HNSW" in name:
        return math.log(count) / math.log(measured_count)
    if name.startswith("IVF"):
        return math.sqrt(count / measured_count)
    return 1.0


def _table(rows: Sequence[Measured], count: int, options: ScaleOptions) -> Iterator[str]:
    yield ""
    yield f"### {count:,} vectors"
    yield ""
    yield (
        "| index | recall@10 | bytes per vector | GiB | machines | GiB on one, building"
        " | core hours | hours |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        needed = need(row, count, options)
        building = "not measured" if needed.build_gib is None else f"{needed.build_gib:,.1f}"
        yield (
            f"| `{row.name}` | {row.recall_at_10:.3f} | {row.bytes_per_vector:.0f}"
            f" | {needed.index_gib:,.1f} | {needed.machines} | {building}"
            f" | {needed.core_hours:,.1f} | {needed.hours:,.2f} |"
        )


def _peak_of(factory: str, peaks: dict[str, float]) -> float | None:
    """Cells differ in number from benchmark to benchmark, what stands behind them does not."""
    kind = _kind(factory)
    return next((peak for other, peak in peaks.items() if _kind(other) == kind), None)


def _kind(factory: str) -> str:
    return re.sub(r"^IVF\d+", "IVF", factory)


def _read(path: str, script: str) -> dict[str, Any]:
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: run scripts/{script}.py first") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is cut off: run scripts/{script}.py again") from error
