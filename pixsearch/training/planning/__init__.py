"""What a run would need, from its options alone."""

import json
import logging
from pathlib import Path

from pixsearch.config import PlanOptions
from pixsearch.training.planning.plan import Plan, make_plan
from pixsearch.training.planning.table import as_json, as_table

__all__ = ["Plan", "make_plan", "report_plan"]

logger = logging.getLogger(__name__)


def report_plan(options: PlanOptions, name: str) -> Path:
    """Make a plan, log its table and write its numbers; returns the file.

    Raises:
        ValueError: sizes of the model are unknown, or the stage's parts do not fit it.
    """
    plan = make_plan(options, name)
    file = Path(options.paths.outputs) / "plan" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(as_json(plan), indent=2))
    logger.info("%s", as_table(plan))
    logger.info("%s has these numbers", file)
    return file
