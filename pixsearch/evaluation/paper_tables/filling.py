"""Result folders into the rows and columns of a layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from pixsearch.evaluation.paper_tables.folders import Figure, ResultFolder
from pixsearch.evaluation.paper_tables.layouts import (
    FREE_RUNNING,
    ColumnLayout,
    Layout,
    RowLayout,
)
from pixsearch.evaluation.paper_tables.model import Cell, Column, Row, Table

NOT_RUN = "not run"


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Where a row's figures come from: a folder, and the section of it."""

    folder: ResultFolder
    section: str


Sources = Mapping[str, tuple[Source, ...]]
"""Row → its folders. Several of one benchmark are seeds."""


def assign(
    layout: Layout, runs: Sequence[ResultFolder], rows: Mapping[str, Sequence[ResultFolder]]
) -> dict[str, tuple[Source, ...]]:
    """Which folders speak for which row: those named for it, else all of ours that have its policy.

    Args:
        runs: of PixSearch: each fills all rows whose policy it has.
        rows: key of a row → its folders. Keys that the layout has not are rows of their own.

    Raises:
        ValueError: a folder fills nothing, has nothing for the row that it is named for, or is a
            plain model's and named for none.
    """
    for folder in runs:
        if folder.is_plain:
            raise ValueError(
                f"{folder.path}: a plain model answered; name its row, e.g. "
                f"runs=[llava_13b:{folder.path}]"
            )
    found: dict[str, tuple[Source, ...]] = {}
    for row in layout.rows:
        if row.key in rows:
            found[row.key] = tuple(_named(row.key, row.section, each) for each in rows[row.key])
        elif row.is_ours:
            found[row.key] = tuple(
                Source(folder=folder, section=row.section)
                for folder in runs
                if row.section in folder.sections
            )
    known = {row.key for row in layout.rows}
    for key, folders in rows.items():
        if key not in known:
            found[key] = tuple(_named(key, key, each) for each in folders)
    _refuse_useless(layout, runs, found)
    return found


def _named(key: str, section: str, folder: ResultFolder) -> Source:
    """The row's own section; `full`, or the only policy, where a folder was named for it."""
    for name in (section, "full", FREE_RUNNING):
        if name in folder.sections:
            return Source(folder=folder, section=name)
    if len(folder.sections) > 1 or folder.has_modes:
        raise ValueError(
            f"{key}:{folder.path} has nothing of {section}; it has {', '.join(folder.sections)}"
        )
    return Source(folder=folder, section=next(iter(folder.sections)))


def _refuse_useless(layout: Layout, runs: Sequence[ResultFolder], sources: Sources) -> None:
    """See that each folder fills something, lest a slip looks like what was not run."""
    used = [source.folder for row in sources.values() for source in row]
    for folder in [*runs, *used]:
        if not any(fits(folder, column) for column in layout.columns):
            identity = folder.benchmark
            raise ValueError(
                f"{folder.path} is of {identity['name']} {identity.get('split', '')}, of which "
                f"table {layout.number} has no column"
            )
        if folder not in used:
            raise ValueError(
                f"{folder.path} has {', '.join(folder.sections)}, of which table {layout.number} "
                f"has no row of ours; name one, runs=[ROW:{folder.path}]"
            )


def all_rows(layout: Layout, sources: Sources) -> tuple[RowLayout, ...]:
    """The layout's, then those that the user named."""
    known = {row.key for row in layout.rows}
    more = [RowLayout(key=key, label=key, section=key) for key in sources if key not in known]
    return (*layout.rows, *more)


def fits(folder: ResultFolder, column: ColumnLayout) -> bool:
    """Whether a folder's benchmark is that of a column."""
    split = folder.benchmark.get("split")
    return folder.benchmark["name"] in column.benchmarks and column.split in (None, split)


def check_benchmarks(layout: Layout, sources: Sources) -> None:
    """See that what stands in one column is of one benchmark and split.

    Raises:
        ValueError: it is not.
    """
    for column in layout.columns:
        found: dict[str, Source] = {}
        for source in (each for row in sources.values() for each in row):
            if fits(source.folder, column):
                identity = source.folder.benchmark
                found.setdefault(f"{identity['name']} {identity.get('split', '')}".strip(), source)
        if len(found) > 1:
            told = ", ".join(f"{name} ({each.folder.path})" for name, each in found.items())
            raise ValueError(
                f"{column.title}: the runs are of several benchmarks, {told}; make a table of each"
            )


def main_table(layout: Layout, sources: Sources) -> Table:
    """The paper's table: ours, and the paper's; a last column says what ours are means over."""
    notes = tuple(dict.fromkeys(layout.notes.values()))
    rows = [
        Row(label=row.label, cells=_cells(layout, row, sources.get(row.key, ()), notes))
        for row in all_rows(layout, sources)
    ]
    columns = [Column(name=column.name, group=column.heading) for column in layout.columns]
    return Table(
        title=layout.title,
        corner="system",
        columns=(*columns, Column(name="n")),
        rows=tuple(rows),
        notes=notes,
    )


def _cells(
    layout: Layout, row: RowLayout, sources: Sequence[Source], notes: Sequence[str]
) -> tuple[Cell | str, ...]:
    cells = []
    for place, column in enumerate(layout.columns):
        figures = _figures(sources, column)
        note = layout.notes.get((row.key, column.heading))
        paper = layout.paper.get(row.key)
        cells.append(
            figure_cell(
                figures,
                paper=None if paper is None else round(paper[place] / 100, 6),
                mark=None if note is None else notes.index(note) + 1,
                is_signed=column.is_signed,
                decimals=layout.decimals,
            )
        )
    return (*cells, _denominators(layout, sources))


def _figures(sources: Sequence[Source], column: ColumnLayout) -> list[Figure]:
    found = [
        source.folder.figure(source.section, column.path)
        for source in sources
        if fits(source.folder, column)
    ]
    return [figure for figure in found if figure is not None]


def figure_cell(
    figures: Sequence[Figure],
    *,
    paper: float | None = None,
    mark: int | None = None,
    is_signed: bool = False,
    is_share: bool = True,
    decimals: int = 1,
) -> Cell:
    """One figure with its interval; of several (seeds) the mean and the standard deviation.

    >>> two = [Figure(value=value, interval=None, n=10) for value in (0.5, 0.7)]
    >>> cell = figure_cell(two)
    >>> round(cell.value, 3), round(cell.deviation, 3), cell.n
    (0.6, 0.141, 20)
    """
    values = [figure.value for figure in figures]
    counts = [figure.n for figure in figures if figure.n is not None]
    return Cell(
        value=fmean(values) if values else None,
        interval=figures[0].interval if len(figures) == 1 else None,
        deviation=stdev(values) if len(values) > 1 else None,
        n=sum(counts) if counts else None,
        paper=paper,
        mark=mark,
        is_signed=is_signed,
        is_share=is_share,
        decimals=decimals,
    )


def _denominators(layout: Layout, sources: Sequence[Source]) -> str:
    """One for each heading; `not run` where there is none.

    A figure that left more samples out than its heading's first has its own n in the pages' hints.
    """
    found = [
        written_n(_figures(sources, layout.columns[place]))
        for place in first_of_headings(layout.columns)
    ]
    return NOT_RUN if set(found) == {"-"} else " / ".join(found)


def first_of_headings(columns: Sequence[ColumnLayout]) -> list[int]:
    """Places of the columns that begin a heading, a benchmark or a split."""
    firsts: dict[tuple[object, ...], int] = {}
    for place, column in enumerate(columns):
        firsts.setdefault((column.heading, column.benchmarks, column.split), place)
    return list(firsts.values())


def written_n(figures: Sequence[Figure]) -> str:
    """What figures are means over, those of seeds joined by a plus.

    >>> written_n([Figure(value=value, interval=None, n=10) for value in (0.5, 0.7)])
    '10 + 10'
    """
    return " + ".join(str(figure.n) for figure in figures) or "-"
