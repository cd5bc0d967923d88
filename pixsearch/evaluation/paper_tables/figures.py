"""Pictures of results by name: the paper's figure 4, accuracy by budget, losses over steps."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pixsearch.evaluation.paper import paper_score
from pixsearch.evaluation.paper_tables.figure_4 import draw_search
from pixsearch.evaluation.paper_tables.folders import ResultFolder
from pixsearch.evaluation.paper_tables.pictures import COLOURS, Picture, as_png, errors

Points = Sequence[tuple[float, float]]
BUDGETS = ("no_search", "budget_1", "budget_2", "budget_3", "budget_4")  # by number of searches
LOSSES = ("loss", "language", "mask_bce", "mask_overlap")


def draw_budgets(folders: Sequence[Path]) -> Picture:
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
    return Picture(png=as_png(budget_figure(opened)))


def draw_losses(folders: Sequence[Path]) -> Picture:
    """Losses of training runs, a row of panels for each.

    Raises:
        ValueError: a folder has no metrics.jsonl.
    """
    for folder in folders:
        if not (folder / "metrics.jsonl").exists():
            raise ValueError(f"{folder}: no metrics.jsonl; name the folder of a training run")
    runs = {"/".join(folder.parts[-2:]): folder for folder in folders}
    return Picture(png=as_png(loss_figure(runs)))


FIGURES: dict[str, Callable[[Sequence[Path]], Picture]] = {
    "4": draw_search,
    "budgets": draw_budgets,
    "losses": draw_losses,
}
"""Name → what draws it from folders."""


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
        axes.errorbar(
            list(found),
            values,
            yerr=errors(values, bounds),
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
