"""Results as text for the terminal: the policies beside the paper's, and the claims."""

from collections.abc import Mapping, Sequence
from typing import Any

from pixsearch.evaluation.claims import Claim
from pixsearch.evaluation.paper import paper_score

COLUMNS = (
    ("overall", "truthfulness", "truth"),
    ("overall", "accuracy", "acc"),
    ("overall", "missing", "miss"),
    ("overall", "hallucination", "hall"),
    ("egocentric", "accuracy", "ego acc"),
    ("non_egocentric", "accuracy", "other acc"),
)
"""Group, score and heading of each column; the paper's figure follows in brackets."""

WITHOUT_ANSWER = {"num_missing_predictions": "are missing", "num_failed": "failed"}

VERDICTS = {True: "met", False: "NOT MET", None: "not measured"}


def percent(value: float | None, *, signed: bool = False) -> str:
    """
    >>> percent(0.377), percent(-0.03, signed=True), percent(None)
    ('37.7', '-3.0', '-')
    """
    if value is None:
        return "-"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"


def policy_table(results: Mapping[str, Any], *, only: str | None = None) -> str:
    """One row per policy: our figures in percent, the paper's (on CRAG-MM) in brackets.

    The paper's are those of its PixSearch, so none stand beside a plain model's.

    Args:
        only: this policy's row alone.
    """
    heading = ["policy", *(title for _, _, title in COLUMNS), "searches"]
    policies = results["policies"]
    protocol = results["protocol"]
    beside_paper = is_pixsearch(results)
    rows = [
        _policy_row(name, policies[name], beside_paper=beside_paper)
        for name in ([only] if only else policies)
    ]
    units = "percent; (paper, CRAG-MM)" if beside_paper else "percent"
    note = (
        f"{units}; n = {protocol['num_answerable']} answerable, "
        f"{protocol['num_unanswerable']} unanswerable apart; answer: {protocol['answer_span']}"
    )
    decision = results["search_decision"]
    summary = (
        f"{_masks(results['segmentation'])}, "
        f"search decision: precision {percent(decision['precision'])}, "
        f"recall {percent(decision['recall'])}"
    )
    return "\n".join([aligned([heading, *rows]), note, summary, *_without_answer(results)])


def _without_answer(results: Mapping[str, Any]) -> list[str]:
    """A line for each count of answers that are not there, of all policies and of the masks."""
    counted = {**results["policies"], "masks": results["segmentation"] or {}}
    return [
        f"{name}: {count} answers {what} and count as wrong"
        for name, counts in counted.items()
        for key, what in WITHOUT_ANSWER.items()
        if (count := counts.get(key))
    ]


def claims_table(claims: Sequence[Claim]) -> str:
    """One row per claim: what, the figure, what it should be, whether it is."""
    rows = [
        [
            claim.name,
            _figure(claim.value),
            f"{claim.relation.value} {_figure(claim.threshold)}",
            VERDICTS[claim.met],
        ]
        for claim in claims
    ]
    return aligned([["claim", "value", "asked", ""], *rows])


def _masks(segmentation: Mapping[str, Any] | None) -> str:
    """
    >>> _masks(None)
    'masks: not measured'
    """
    if segmentation is None:
        return "masks: not measured"
    return f"gIoU {percent(segmentation['giou'])}, cIoU {percent(segmentation['ciou'])}"


def is_pixsearch(results: Mapping[str, Any]) -> bool:
    """Whether the results are not those of a plain model."""
    return results["protocol"]["run"].get("has_masks", True)


def _policy_row(name: str, scores: Mapping[str, Any], *, beside_paper: bool) -> list[str]:
    cells = [name]
    for group, score, _ in COLUMNS:
        signed = score == "truthfulness"
        ours = percent(scores[group][score], signed=signed)
        theirs = paper_score(name, group, score) if beside_paper else None
        cells.append(ours if theirs is None else f"{ours} ({percent(theirs, signed=signed)})")
    return [*cells, f"{scores['calls_per_sample']['overall']['all']:.2f}"]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines, the first column to the left, the others to the right.

    >>> print(aligned([["a", "bc"], ["def", "g"]]))
    a    bc
    def   g
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
