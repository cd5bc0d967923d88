"""Pictures of results, as PNG: the paper's figure 4, accuracy by budget, losses over steps."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pixsearch.config import QueryType
from pixsearch.evaluation.paper import paper_score
from pixsearch.evaluation.paper_tables.folders import ResultFolder
from pixsearch.evaluation.paper_tables.searching import Behaviour, search_behaviour

Points = Sequence[tuple[float, float]]
BUDGETS = ("no_search", "budget_1", "budget_2", "budget_3", "budget_4")  # by number of searches
LOSSES = ("loss", "language", "mask_bce", "mask_overlap")
COLOURS = ("#2f5fb3", "#c2571a", "#6b7686")
DOTS_PER_INCH = 110


def draw_search(folders: Sequence[Path]) -> bytes:
    """Figure 4 of policy `full`; answers of several folders are counted together.

    Raises:
        ValueError: a folder lacks scores of single samples, or predictions.
    """
    counted: dict[str, list[Behaviour]] = {}
    for folder in folders:
        for kind, behaviour in search_behaviour(ResultFolder.open(folder), "full").items():
            counted.setdefault(kind, []).append(behaviour)
    return as_png(search_figure({kind: _together(each) for kind, each in counted.items()}))


def draw_budgets(folders: Sequence[Path]) -> bytes:
    """Accuracy by the number of searches that are allowed, a line for each folder.

    Raises:
        ValueError: a folder has fewer than two of the budgets.
    """
    opened = [ResultFolder.open(folder) for folder in folders]
    for folder in opened:
        if not has_budgets(folder):
            raise ValueError(
                f"{folder.path}: two budgets at least are needed, evaluate policy="
                f"{','.join(BUDGETS)}"
            )
    return as_png(budget_figure(opened))


def draw_losses(folders: Sequence[Path]) -> bytes:
    """Losses of training runs, a row of panels for each.

    Raises:
        ValueError: a folder has no metrics.jsonl.
    """
    for folder in folders:
        if not (folder / "metrics.jsonl").exists():
            raise ValueError(f"{folder}: no metrics.jsonl; name the folder of a training run")
    return as_png(loss_figure({"/".join(folder.parts[-2:]): folder for folder in folders}))


FIGURES: dict[str, Callable[[Sequence[Path]], bytes]] = {
    "4": draw_search,
    "budgets": draw_budgets,
    "losses": draw_losses,
}
"""Name → what draws it from folders."""


def search_figure(behaviours: Mapping[str, Behaviour]) -> Figure:
    """Left: share of answers by their number of searches. Right: searches per answer by type."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    width = 0.8 / max(1, len(behaviours))
    for place, (kind, found) in enumerate(behaviours.items()):
        offset = (place - (len(behaviours) - 1) / 2) * width
        style: dict[str, Any] = {"color": COLOURS[place % len(COLOURS)], "width": width}
        counts = found.histogram
        label = f"{kind.replace('_', '-')} (n = {found.num_answers})"
        shares = [count / found.num_answers for count in counts.values()]
        left.bar([calls + offset for calls in counts], shares, label=label, **style)
        means = [found.by_type[type.value] / found.num_answers for type in QueryType]
        right.bar([spot + offset for spot in range(len(means))], means, **style)
    most = max((calls for found in behaviours.values() for calls in found.histogram), default=0)
    left.set_xticks(range(most + 1))
    left.set(xlabel="searches", ylabel="share of answers")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize="small")
    right.set_xticks(range(len(QueryType)), [type.value for type in QueryType])
    right.set(xlabel="type of query", ylabel="searches per answer")
    return figure


def has_budgets(folder: ResultFolder) -> bool:
    """Whether there is a curve to draw."""
    return sum(name in folder.sections for name in BUDGETS) > 1


def budget_figure(folders: Sequence[ResultFolder]) -> Figure:
    """Accuracy over all questions with its 95 % interval; the paper's as a dashed line."""
    figure = Figure(figsize=(4.5, 3), layout="constrained")
    axes = figure.subplots()
    for place, folder in enumerate(folders):
        found = {
            number: score
            for number, name in enumerate(BUDGETS)
            if (score := folder.figure(name, ("overall", "accuracy"))) is not None
        }
        values = [score.value for score in found.values()]
        bounds = [score.interval or (score.value, score.value) for score in found.values()]
        below = [value - low for value, (low, _) in zip(values, bounds, strict=True)]
        above = [high - value for value, (_, high) in zip(values, bounds, strict=True)]
        axes.errorbar(
            list(found),
            values,
            yerr=[below, above],
            marker="o",
            capsize=3,
            color=COLOURS[place % len(COLOURS)],
            label=folder.benchmark["name"] if len(folders) == 1 else str(folder.path),
        )
    if not any(folder.is_plain for folder in folders):  # the paper's are those of its PixSearch
        printed = [paper_score(name, "overall", "accuracy") for name in BUDGETS]
        axes.plot(range(len(BUDGETS)), printed, "--", color="#6b7686", label="paper, CRAG-MM")
    axes.set_xticks(range(len(BUDGETS)))
    axes.set(xlabel="searches at most", ylabel="accuracy", ylim=(0, 1))
    axes.legend(frameon=False, fontsize="small")
    return figure


def loss_figure(runs: Mapping[str, Path]) -> Figure:
    """Losses over steps, in training and on held-out examples.

    Args:
        runs: name → folder of a training run.
    """
    figure = Figure(figsize=(12, 2.6 * len(runs)), layout="constrained")
    panels = figure.subplots(len(runs), len(LOSSES), squeeze=False)
    for row, (name, folder) in zip(panels, runs.items(), strict=True):
        for axes, loss in zip(row, LOSSES, strict=True):
            _draw_loss(axes, folder, loss)
            axes.set_title(loss, fontsize="small")
        row[0].set_ylabel(name)
        row[0].legend(frameon=False, fontsize="x-small")
    return figure


def thinned(points: Points, *, most: int = 400) -> list[tuple[float, float]]:
    """Neighbouring points averaged, so that no more than `most` are left.

    >>> thinned([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)], most=2)
    [(0.5, 2.0), (2.0, 5.0)]
    """
    size = max(1, -(-len(points) // most))
    groups = (points[start : start + size] for start in range(0, len(points), size))
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]


def as_png(figure: Figure) -> bytes:
    """The same bytes for the same figure: no version of the library is written into it."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _draw_loss(axes: Axes, folder: Path, loss: str) -> None:
    files = {"training": ("metrics.jsonl", ""), "held out": ("held_out.jsonl", "o")}
    for colour, (label, (name, marker)) in zip(COLOURS, files.items(), strict=False):
        lines = _read_metrics(folder / name)
        points = thinned([(float(line["step"]), float(line[loss])) for line in lines])
        steps, values = [step for step, _ in points], [value for _, value in points]
        axes.plot(steps, values, marker=marker, markersize=3, color=colour, label=label)


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _together(found: Sequence[Behaviour]) -> Behaviour:
    """Counts of several added up."""
    histogram = sum((Counter(each.histogram) for each in found), Counter())
    by_type = sum((Counter(each.by_type) for each in found), Counter())
    return Behaviour(
        histogram=dict(sorted(histogram.items())),
        by_type={type.value: by_type[type.value] for type in QueryType},
    )
