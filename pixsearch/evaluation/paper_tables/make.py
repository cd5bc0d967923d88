"""`scripts/make_table.py`: a table or a figure of the paper, from result folders to files."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pixsearch.config import MakeTableOptions, TableFormat
from pixsearch.evaluation.paper_tables.comparing import differences_table
from pixsearch.evaluation.paper_tables.figures import FIGURES
from pixsearch.evaluation.paper_tables.filling import assign, check_benchmarks, fits, main_table
from pixsearch.evaluation.paper_tables.folders import ResultFolder
from pixsearch.evaluation.paper_tables.layouts import LAYOUTS, Layout
from pixsearch.evaluation.paper_tables.mixtures import mixtures_tables
from pixsearch.evaluation.paper_tables.model import Document
from pixsearch.evaluation.paper_tables.protocol import protocol_of
from pixsearch.evaluation.paper_tables.rendering import RENDERERS, to_markdown
from pixsearch.evaluation.paper_tables.slices import slices_table
from pixsearch.evaluation.score import RESULTS

logger = logging.getLogger(__name__)

SLICES, MIXTURES = "slices", "mixtures"
TABLES = (*LAYOUTS, SLICES, MIXTURES)
TABLE_OF = {"4": "1", "budgets": "7"}  # figure → the table whose folders are drawn by default
LEGEND = (
    "Percent. In square brackets the 95 % bootstrap interval, behind ± the standard deviation over "
    "seeds, in round brackets (in grey) the paper's figure. Under n is what the figures of each "
    "heading are means over."
)
SLICES_LEGEND = "Percent, with the 95 % bootstrap interval in square brackets."
MIXTURES_LEGEND = (
    "Masks and answers in percent, searches as they are. In square brackets the 95 % bootstrap "
    "interval, behind ± the standard deviation over seeds."
)


def make_table(options: MakeTableOptions) -> list[Path]:
    """Write the table or figure that was asked for, and return the files.

    Raises:
        ValueError: there is no such table, a folder has no results, or rows cannot be compared.
    """
    if (options.table is None) == (options.figure is None):
        raise ValueError(f"give one of table={'|'.join(TABLES)} and figure={'|'.join(FIGURES)}")
    output = Path(options.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    if options.figure is not None:
        return _make_figure(options, output)
    document = compose(options)
    logger.info("%s", to_markdown(document))
    formats = list(TableFormat) if options.format is None else [options.format]
    return [_write(document, output / f"table_{options.table}", each) for each in formats]


def compose(options: MakeTableOptions) -> Document:
    """The document of a table."""
    if options.table not in TABLES:
        raise ValueError(f"table={options.table}: choose one of {', '.join(TABLES)}")
    runs, rows = open_runs(options.runs)
    if options.table == SLICES:
        return _slices(options, _all(runs, rows))
    if options.table == MIXTURES:
        return Document(
            title="Mixtures of stage 2",
            legend=MIXTURES_LEGEND,
            tables=mixtures_tables(rows),
            protocol=tuple(protocol_of(_all(runs, rows))),
        )
    layout = LAYOUTS[options.table]
    return of_layout(layout, runs or _usual_folders(layout, options, has_rows=bool(rows)), rows)


def open_runs(
    names: Sequence[str],
) -> tuple[list[ResultFolder], dict[str, list[ResultFolder]]]:
    """Folders that fill the rows of their policies, and those that a row was given for.

    Args:
        names: each a folder, or `row:folder`.

    Raises:
        ValueError: a folder has no results.
    """
    runs: list[ResultFolder] = []
    rows: dict[str, list[ResultFolder]] = {}
    for name in names:
        row, colon, path = name.partition(":")
        if not colon or Path(name).is_dir():
            runs.append(ResultFolder.open(name))
        else:
            rows.setdefault(row, []).append(ResultFolder.open(path))
    return runs, rows


def of_layout(
    layout: Layout, runs: Sequence[ResultFolder], rows: Mapping[str, Sequence[ResultFolder]]
) -> Document:
    """A table of the paper with its paired differences and its protocol."""
    sources = assign(layout, runs, rows)
    check_benchmarks(layout, sources)
    differences = differences_table(layout, sources)
    remarks = tuple(("remark", remark) for remark in layout.remarks)
    return Document(
        title=layout.title,
        legend=LEGEND,
        tables=(main_table(layout, sources), *([differences] if differences else [])),
        protocol=(*remarks, *protocol_of(_all(runs, rows))),
    )


def _slices(options: MakeTableOptions, runs: Sequence[ResultFolder]) -> Document:
    if not runs:
        raise ValueError("table=slices: name folders, runs=[FOLDER]")
    tables = [
        slices_table(folder, policies=options.policies, metric=options.metric) for folder in runs
    ]
    return Document(
        title="Slices",
        legend=SLICES_LEGEND,
        tables=tuple(tables),
        protocol=tuple(protocol_of(runs)),
    )


def _usual_folders(
    layout: Layout, options: MakeTableOptions, *, has_rows: bool
) -> list[ResultFolder]:
    """Where scripts/evaluate.py writes each of the table's benchmarks, if nobody names folders.

    Of several benchmarks for one column the first that is there.
    """
    root = Path(options.paths.outputs) / "evaluation"
    found: dict[str, ResultFolder] = {}
    for column in layout.columns:
        for name in column.benchmarks:
            there = [folder for folder in _written_for(name, root) if fits(folder, column)]
            found |= {str(folder.path): folder for folder in there}
            if there:
                break
    if not found and not has_rows:
        names = dict.fromkeys(name for column in layout.columns for name in column.benchmarks)
        raise ValueError(
            f"{root}: no results of {', '.join(names)}; evaluate, or name runs=[FOLDER]"
        )
    return list(found.values())


def _written_for(benchmark: str, root: Path) -> Iterator[ResultFolder]:
    """NAME, and NAME_SPLIT of each split that was run; not what somebody has named like them."""
    for path in (root / benchmark, *sorted(root.glob(f"{benchmark}_*"))):
        if (path / RESULTS).exists():
            folder = ResultFolder.open(path)
            identity = folder.benchmark
            usual = (benchmark, f"{benchmark}_{identity.get('split')}")
            if identity["name"] == benchmark and path.name in usual:
                yield folder


def _all(
    runs: Sequence[ResultFolder], rows: Mapping[str, Sequence[ResultFolder]]
) -> list[ResultFolder]:
    """Each folder once."""
    named = [folder for folders in rows.values() for folder in folders]
    return list({str(folder.path): folder for folder in (*runs, *named)}.values())


def _make_figure(options: MakeTableOptions, output: Path) -> list[Path]:
    """A picture, and beside it what there is to say of it."""
    if options.figure not in FIGURES:
        raise ValueError(f"figure={options.figure}: choose one of {', '.join(FIGURES)}")
    picture = FIGURES[options.figure](_drawn_folders(options.figure, options))
    path = output / f"figure_{options.figure}.png"
    path.write_bytes(picture.png)
    logger.info("%s", path)
    if picture.document is None:
        return [path]
    logger.info("%s", to_markdown(picture.document))
    return [path, _write(picture.document, path.with_suffix(""), TableFormat.markdown)]


def _drawn_folders(figure: str, options: MakeTableOptions) -> list[Path]:
    """Those that are named, else those of the table that shows the same answers."""
    if options.runs:
        return [Path(run) for run in options.runs]
    if figure not in TABLE_OF:
        raise ValueError(f"figure={figure}: name folders, runs=[FOLDER]")
    usual = _usual_folders(LAYOUTS[TABLE_OF[figure]], options, has_rows=False)
    return [folder.path for folder in usual]


def _write(document: Document, stem: Path, format: TableFormat) -> Path:
    suffix, render = RENDERERS[format]
    path = stem.with_suffix(f".{suffix}")
    path.write_text(render(document), encoding="utf-8")
    logger.info("%s", path)
    return path
