"""Results as text for the terminal: figures with intervals, denominators, and the protocol."""

from collections.abc import Mapping, Sequence
from typing import Any

from pixsearch.evaluation.tables import aligned, percent

FIGURE_HEADING = ("metric", "percent", "95 %", "n", "left out")


def protocol_card(results: Mapping[str, Any], *, only: str | None = None) -> str:
    """A row per policy and metric, what is missing, and a line for each rule of the protocol.

    Args:
        only: this policy's rows alone.
    """
    policies = {
        name: each for name, each in results["policies"].items() if only is None or name == only
    }
    rows = [["policy", *FIGURE_HEADING]]
    for name, policy in policies.items():
        rows += [figure_row(name, metric, each) for metric, each in policy["metrics"].items()]
    counts = [_counts(name, policy) for name, policy in policies.items()]
    counts += [
        f"{name}: {missing} answers are missing and count as wrong"
        for name, policy in results["policies"].items()
        if name not in policies and (missing := policy["num_missing_predictions"])
    ]
    return card(results, rows, counts)


def card(results: Mapping[str, Any], rows: Sequence[Sequence[str]], counts: Sequence[str]) -> str:
    """Figures and counts below the benchmark's name, above the rules of its protocol."""
    identity = results["benchmark"]
    heading = (
        f"{identity['name']} v{identity['version']}, {identity['split']}, "
        f"{identity['num_samples']} samples"
    )
    rules = [f"{name}: {rule}" for name, rule in results["protocol"].items() if name != "run"]
    return "\n".join([heading, aligned(rows), *counts, *rules])


def figure_row(policy: str, metric: str, figure: Mapping[str, Any]) -> list[str]:
    """The cells of one figure under a policy (or a mode of masks)."""
    low, high = figure["interval"] or (None, None)
    interval = "-" if low is None else f"{percent(low)} to {percent(high)}"
    numbers = [str(figure["n"]), str(figure["num_left_out"])]
    return [policy, metric, percent(figure["value"]), interval, *numbers]


def _counts(name: str, policy: Mapping[str, Any]) -> str:
    return (
        f"{name}: {policy['n']} samples, {policy['num_missing_predictions']} without a prediction, "
        f"{policy['num_failed']} failed, {policy['num_empty_answers']} empty answers, "
        f"{policy['searches']['calls_per_sample']['all']:.2f} searches per sample"
    )
