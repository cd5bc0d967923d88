"""The paper's figure 4: how often answers search, and by what, with what the paper says of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from pixsearch.config import QueryType
from pixsearch.evaluation.paper import MOSTLY, TEXT_SHARE
from pixsearch.evaluation.paper_tables.directions import directions_table, search_directions
from pixsearch.evaluation.paper_tables.filling import figure_cell
from pixsearch.evaluation.paper_tables.folders import EGOCENTRIC, Figure, ResultFolder
from pixsearch.evaluation.paper_tables.model import Cell, Column, Document, Row, Table
from pixsearch.evaluation.paper_tables.pictures import COLOURS, Picture, as_png, errors
from pixsearch.evaluation.paper_tables.protocol import protocol_of
from pixsearch.evaluation.paper_tables.searching import Behaviour, search_behaviour

SEARCH_LEGEND = (
    "Shares in percent, searches per answer as they are, in square brackets the 95 % bootstrap "
    "interval. Samples that failed or have no answer are left out. What the paper says is shaded "
    "in the picture (how often answers mostly search) or dashed (the share of text)."
)


def draw_search(folders: Sequence[Path]) -> Picture:
    """Figure 4 of policy `full`; answers of several folders are counted together.

    Raises:
        ValueError: a folder lacks scores of single samples, or predictions.
    """
    opened = [ResultFolder.open(folder) for folder in folders]
    behaviours = search_behaviour(opened, "full")
    document = Document(
        title="Figure 4: how answers search",
        legend=SEARCH_LEGEND,
        tables=(search_table(behaviours), directions_table(search_directions(behaviours))),
        protocol=tuple(protocol_of(opened)),
    )
    return Picture(png=as_png(search_figure(behaviours)), document=document)


def search_figure(behaviours: Mapping[str, Behaviour]) -> Drawing:
    """Left: share of answers by their number of searches. Right: share of searches by type.

    With 95 % intervals. Shaded and dashed: what the paper says.
    """
    figure = Drawing(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    width = 0.8 / max(1, len(behaviours))
    numbers = range(_most_searches(behaviours) + 1)
    for place, (kind, found) in enumerate(behaviours.items()):
        offset = (place - (len(behaviours) - 1) / 2) * width
        style: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "width": width}
        shares = [found.share_of_answers(number) for number in numbers]
        label = f"{_words(kind)} ({found.num_answers} answers, {found.num_searches} searches)"
        _draw_shares(left, shares, offset, label=label, **style)
        by_type = [found.share_of_searches(type) for type in QueryType]
        _draw_shares(right, by_type, offset, **style)
        _draw_paper(left, right, kind, style["color"])
    left.set_xticks(numbers)
    left.set(xlabel="searches", ylabel="share of answers")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize="small")
    right.set_xticks(range(len(QueryType)), [type.value for type in QueryType])
    right.set(xlabel="type of query", ylabel="share of searches")
    return figure


def search_table(behaviours: Mapping[str, Behaviour]) -> Table:
    """What `search_figure` draws, a row for each kind of image, with what was left out."""
    numbers = range(_most_searches(behaviours) + 1)
    columns = (
        *(Column(name=name) for name in ("answers", "left out", "searches", "per answer")),
        *(Column(name=str(number), group="share of answers by searches") for number in numbers),
        *(Column(name=type.value, group="share of searches") for type in QueryType),
    )
    return Table(
        title="Searches of policy full",
        corner="images",
        columns=columns,
        rows=tuple(
            Row(label=_words(kind), cells=_search_cells(found, numbers))
            for kind, found in behaviours.items()
        ),
    )


def _search_cells(found: Behaviour, numbers: Sequence[int]) -> tuple[Cell | str, ...]:
    by_type = [found.share_of_searches(type) for type in QueryType]
    return (
        *map(str, (found.num_answers, found.num_left_out, found.num_searches)),
        figure_cell([found.per_answer()], is_share=False),
        *(figure_cell([found.share_of_answers(number)]) for number in numbers),
        *(figure_cell([share] if share else []) for share in by_type),
    )


def _draw_shares(axes: Axes, shares: Sequence[Figure | None], offset: float, **style: Any) -> None:
    """Bars with their intervals, one for each place; none where there is no share."""
    drawn = [(place + offset, share) for place, share in enumerate(shares) if share]
    values = [share.value for _, share in drawn]
    bounds = [share.interval or (share.value, share.value) for _, share in drawn]
    axes.bar(
        [place for place, _ in drawn],
        values,
        yerr=errors(values, bounds),
        capsize=2,
        error_kw={"linewidth": 0.8},
        **style,
    )


def _draw_paper(left: Axes, right: Axes, kind: str, colour: str) -> None:
    """How often answers mostly search, and the share of text about egocentric images."""
    if kind in MOSTLY:
        low, high = MOSTLY[kind]
        label = f"paper, {_words(kind)}: mostly {low} to {high}"
        style: dict[str, Any] = {"color": colour, "alpha": 0.15, "linewidth": 0, "zorder": 0}
        left.axvspan(low - 0.5, high + 0.5, label=label, **style)
    if kind == EGOCENTRIC:
        place = list(QueryType).index(QueryType.text)
        ends = (place - 0.5, place + 0.5)
        label = f"paper, {_words(kind)}: about {TEXT_SHARE} are text"
        right.plot(ends, (TEXT_SHARE, TEXT_SHARE), "k--", label=label)


def _most_searches(behaviours: Mapping[str, Behaviour]) -> int:
    """Of any answer; the paper's largest number at least."""
    drawn = (number for found in behaviours.values() for number in found.histogram)
    return max(*drawn, *(high for _, high in MOSTLY.values()))


def _words(kind: str) -> str:
    return kind.replace("_", "-")
