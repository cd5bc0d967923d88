"""Paired differences between rows, from the scores of single samples."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from pixsearch.evaluation.metrics.bootstrap import difference_interval
from pixsearch.evaluation.paper_tables.filling import (
    Source,
    Sources,
    all_rows,
    first_of_headings,
    fits,
)
from pixsearch.evaluation.paper_tables.folders import interval_of, scene_kind
from pixsearch.evaluation.paper_tables.layouts import ColumnLayout, Layout
from pixsearch.evaluation.paper_tables.model import Cell, Column, Row, Table
from pixsearch.evaluation.sample_scores import ScoredSample

Samples = Mapping[tuple[str, str], tuple[float | None, str]]
"""(benchmark, sample id) → its score, a mean over seeds of one benchmark, and its cluster.

The score is None where the metric leaves the sample out.
"""


def differences_table(layout: Layout, sources: Sources) -> Table | None:
    """The layout's reference less each other row; None where no two rows can be compared.

    Raises:
        ValueError: two rows have answers to different samples.
    """
    rows = [
        row
        for each in all_rows(layout, sources)
        if each.key != layout.reference and sources.get(each.key) and sources.get(layout.reference)
        for row in _compared(layout, each.key, sources)
    ]
    if not rows:
        return None
    columns = [
        Column(name=column.name, group=column.heading) for column in _compared_columns(layout)
    ]
    return Table(
        title=f"Paired differences to {layout.reference}",
        corner="rows",
        columns=(*columns, Column(name="n")),
        rows=tuple(rows),
    )


def _compared_columns(layout: Layout) -> list[ColumnLayout]:
    return [layout.columns[place] for place in layout.compared]


def _compared(layout: Layout, key: str, sources: Sources) -> list[Row]:
    """The reference less a row, and whether the paper says so; nothing where nothing is paired."""
    cells = [_difference(layout, place, key, sources) for place in layout.compared]
    if not any(isinstance(cell, Cell) for cell in cells):
        return []
    firsts = [cells[place] for place in first_of_headings(_compared_columns(layout))]
    counts = " / ".join("-" if isinstance(cell, str) else str(cell.n) for cell in firsts)
    rows = [Row(label=f"{layout.reference} less {key}", cells=(*cells, counts))]
    verdicts = tuple(map(_direction, cells))
    if set(verdicts) != {"-"}:
        rows.append(Row(label="as in the paper", cells=(*verdicts, "")))
    return rows


def _difference(layout: Layout, place: int, key: str, sources: Sources) -> Cell | str:
    column = layout.columns[place]
    first = sample_scores(sources[layout.reference], column)
    second = sample_scores(sources[key], column)
    if not first or not second:
        return "-"
    names = (layout.reference, key)
    pairs = _pairs(first, second, names=names)
    if not pairs:
        return "-"
    found = difference_interval(*zip(*pairs, strict=True))
    printed = [layout.paper.get(name) for name in names]
    both = None if None in printed else printed[0][place] - printed[1][place]
    return Cell(
        value=found.estimate,
        interval=interval_of(found),
        paper=None if both is None else round(both / 100, 6),
        n=len(pairs),
        is_signed=True,
        decimals=layout.decimals,
    )


def _direction(cell: Cell | str) -> str:
    """Whether a difference goes the paper's way; open where its interval holds zero.

    >>> _direction(Cell(value=0.1, interval=(0.02, 0.2), paper=0.05))
    'yes'
    >>> _direction(Cell(value=0.1, interval=(-0.02, 0.2), paper=0.05))
    'open'
    """
    if isinstance(cell, str) or not cell.paper:
        return "-"
    low, high = cell.interval or (0.0, 0.0)
    if low <= 0 <= high:
        return "open"
    return "yes" if (low > 0) == (cell.paper > 0) else "no"


def _pairs(
    first: Samples, second: Samples, *, names: tuple[str, str]
) -> list[tuple[float, float, tuple[str, str]]]:
    """Both scores of each sample that has two, and what is drawn together.

    Raises:
        ValueError: they are scores of different samples.
    """
    if first.keys() != second.keys():
        raise ValueError(
            f"{names[0]} and {names[1]} cannot be compared: {_only(first, second)}, "
            f"{_only(second, first)}; name runs over the same benchmark"
        )
    return [
        (ours, second[id][0], (id[0], cluster))
        for id, (ours, cluster) in first.items()
        if ours is not None and second[id][0] is not None
    ]


def _only(some: Samples, others: Samples) -> str:
    """How many samples of which benchmark one side alone has."""
    alone = [benchmark for benchmark, _ in some.keys() - others.keys()]
    return f"{len(alone)} samples of {', '.join(sorted(set(alone))) or 'none'} on one side alone"


def sample_scores(sources: Sequence[Source], column: ColumnLayout) -> Samples:
    """Scores that fill a column, over all of a row's folders."""
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    clusters: dict[tuple[str, str], str] = {}
    for source in sources:
        if not fits(source.folder, column):
            continue
        for sample in source.folder.scores(source.section).values():
            if in_group(sample, column.group):
                key = (source.folder.identity, sample.id)
                clusters[key] = sample.cluster
                score = sample.scores.get(column.metric)
                scores[key] += [] if score is None else [score]
    return {key: (fmean(found) if found else None, clusters[key]) for key, found in scores.items()}


def in_group(sample: ScoredSample, group: str) -> bool:
    """
    >>> one = ScoredSample(id="a", cluster="a", slices={"is_egocentric": "true"}, scores={})
    >>> in_group(one, "overall"), in_group(one, "egocentric"), in_group(one, "non_egocentric")
    (True, True, False)
    """
    return group == "overall" or scene_kind(sample) == group
