"""Several finished demos together: `scripts/pool.py`."""

import logging
from pathlib import Path
from typing import Any

from pixsearch.config import BenchmarkOptions, PoolOptions
from pixsearch.evaluation.benchmarks import open_benchmark
from pixsearch.evaluation.claims import PAPER_RATIO, pooled_ratio
from pixsearch.evaluation.score import finite
from pixsearch.line_store import write_json

logger = logging.getLogger(__name__)


def pool(options: PoolOptions) -> dict[str, Any]:
    """Write accuracy(full) / accuracy(whole_image) over the questions of all runs.

    Raises:
        ValueError: a run is not there or is not finished.
    """
    folders = [
        (
            Path(run) / "evaluation",
            open_benchmark(BenchmarkOptions(name="crag_mm_miniature", root=f"{run}/world")),
        )
        for run in options.runs
    ]
    ratio = pooled_ratio(folders, span=options.answer)
    pooled = {"runs": options.runs, "full_over_whole_image": ratio, "paper": PAPER_RATIO}
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json(output, finite(pooled))
    logger.info(
        "%s: full / whole_image %.3f (95 %%: %.3f to %.3f) over %d runs, %.3f in the paper",
        output,
        *(ratio[name] for name in ("estimate", "low", "high")),
        len(folders),
        PAPER_RATIO,
    )
    return pooled
