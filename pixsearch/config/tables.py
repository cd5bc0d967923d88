"""Options of the paper's tables and figures."""

from dataclasses import dataclass, field
from enum import StrEnum

from pixsearch.config.paths import PathOptions


class TableFormat(StrEnum):
    """How a table is written."""

    markdown = "markdown"
    latex = "latex"
    html = "html"


@dataclass
class MakeTableOptions:
    """scripts/make_table.py: a table or figure of the paper, from folders with a results.json."""

    table: str | None = None  # 1 to 7 of the paper, or slices, mixtures
    figure: str | None = None  # 4 of the paper, or budgets, losses (folders of training runs)
    # FOLDER or ROW:FOLDER, several of a row are seeds; []: outputs/evaluation/<benchmark>
    runs: list[str] = field(default_factory=list)
    format: TableFormat | None = None  # null: all
    policies: list[str] | None = None  # of table=slices; null: all that are there
    metric: str | None = None  # of table=slices; null: accuracy, or the benchmark's first
    output_dir: str = "outputs/tables"
    paths: PathOptions = field(default_factory=PathOptions)
