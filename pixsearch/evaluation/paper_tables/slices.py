"""Scores by what the annotations say of a question: domain, type, image quality, dynamism, …"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from pixsearch.evaluation.metrics.bootstrap import mean_interval
from pixsearch.evaluation.paper_tables.filling import figure_cell
from pixsearch.evaluation.paper_tables.folders import Figure, ResultFolder, interval_of
from pixsearch.evaluation.paper_tables.model import Column, Row, Table
from pixsearch.evaluation.sample_scores import ScoredSample

Slice = tuple[str, str]  # label, value


def slices_table(
    folder: ResultFolder, *, policies: Sequence[str] | None, metric: str | None
) -> Table:
    """A row for each value of each label, a column for each policy.

    Args:
        policies: None: all that have scores of single samples.
        metric: None: accuracy where there is one, else the first.

    Raises:
        ValueError: there are no such scores.
    """
    scored = {name: folder.scores(name) for name in policies or folder.sections}
    scored = {name: samples for name, samples in scored.items() if samples}
    if not scored or (policies and set(policies) - set(scored)):
        lacking = sorted(set(policies or folder.sections) - set(scored))
        raise ValueError(
            f"{folder.path}/scores: no scores of {', '.join(lacking)}; evaluate, or score=only"
        )
    first = next(iter(next(iter(scored.values())).values()))
    name = metric or _main_metric(first.scores, folder)
    if name not in first.scores:
        raise ValueError(f"metric={name}: {folder.path} has {', '.join(first.scores)}")
    by_policy = {
        policy: _by_slice(list(samples.values()), name) for policy, samples in scored.items()
    }
    slices = sorted({each for figures in by_policy.values() for each in figures})
    rows = [_row(each, by_policy, is_signed=name == "truthfulness") for each in slices]
    return Table(
        title=f"{name} by slice",
        corner="slice",
        columns=tuple(Column(name=policy) for policy in (*by_policy, "n")),
        rows=tuple(rows),
    )


def _main_metric(scores: Mapping[str, float | None], folder: ResultFolder) -> str:
    if not scores:
        raise ValueError(f"{folder.path}/scores: samples without a single score; score again")
    return "accuracy" if "accuracy" in scores else next(iter(scores))


def _row(each: Slice, by_policy: Mapping[str, Mapping[Slice, Figure]], *, is_signed: bool) -> Row:
    figures = [found.get(each) for found in by_policy.values()]
    cells = [figure_cell([figure] if figure else [], is_signed=is_signed) for figure in figures]
    counts = {str(figure.n) for figure in figures if figure}
    return Row(label=": ".join(each), cells=(*cells, " / ".join(sorted(counts))))


def _by_slice(samples: Sequence[ScoredSample], metric: str) -> dict[Slice, Figure]:
    """The metric's mean and interval in each slice, without samples that it leaves out."""
    members: dict[Slice, list[ScoredSample]] = defaultdict(list)
    for sample in samples:
        for each in sample.slices.items():
            if sample.scores.get(metric) is not None:
                members[each].append(sample)
    return {each: _figure(found, metric) for each, found in members.items()}


def _figure(samples: Sequence[ScoredSample], metric: str) -> Figure:
    values = [sample.scores[metric] or 0.0 for sample in samples]
    interval = mean_interval(values, [sample.cluster for sample in samples])
    return Figure(value=interval.estimate, interval=interval_of(interval), n=len(samples))
