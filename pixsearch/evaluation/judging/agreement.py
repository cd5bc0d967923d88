"""How far two judges agree on the answers of an output folder: verdicts/agreement.json.

    {POLICY: {"judges": [identity, identity], "all": FIGURES, "asked": FIGURES}}
    FIGURES: {"n", "num_left_out", "equal", "equal_interval", "kappa", "kappa_interval",
              "pairs": {first verdict: {second verdict: count}}}

`all` is every answer, `asked` those on which the judges were asked: what is settled without a judge
is the same for both, and would flatter them.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pixsearch.evaluation.judging.cases import Case, PolicyCases
from pixsearch.evaluation.metrics.agreement import agreement
from pixsearch.evaluation.metrics.bootstrap import Interval
from pixsearch.evaluation.verdicts import (
    SETTLED,
    VERDICTS,
    JudgedAnswer,
    JudgeVerdict,
    verdicts_path,
)
from pixsearch.line_store import read_lines, read_manifest, write_json

logger = logging.getLogger(__name__)

AGREEMENT = "agreement.json"

Pair = tuple[Case, JudgedAnswer, JudgedAnswer]


def write_agreement(output_dir: Path, policies: Sequence[PolicyCases]) -> dict[str, Any]:
    """Compare both judges' verdicts on these policies.

    Figures of other policies in the file are kept while both their files of verdicts are there, by
    the same judges; those of another run are not.
    """
    path = output_dir / VERDICTS / AGREEMENT
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found = {
        policy: one
        for policy, one in earlier.items()
        if one["judges"] == _judges(output_dir, policy)
    }
    for one in policies:
        found[one.policy] = _of_policy(output_dir, one)
        _say(one.policy, found[one.policy])
    write_json(path, found)
    return found


def _of_policy(output_dir: Path, policy: PolicyCases) -> dict[str, Any]:
    first, second = (_read(path) for path in _paths(output_dir, policy.policy))
    pairs = [(case, first[case.id], second[case.id]) for case in policy.cases]
    asked = [pair for pair in pairs if pair[1].by not in SETTLED]
    judges = _judges(output_dir, policy.policy)
    return {"judges": judges, "all": figures(pairs), "asked": figures(asked)}


def _paths(output_dir: Path, policy: str) -> list[Path]:
    return [verdicts_path(output_dir, policy, second=each) for each in (False, True)]


def _judges(output_dir: Path, policy: str) -> list[Any] | None:
    """Who gave the verdicts that there are; None unless two judges did."""
    paths = _paths(output_dir, policy)
    if not all(path.exists() for path in paths):
        return None
    return [read_manifest(path)["judge"] for path in paths]


def figures(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Of the pairs that both judges scored; the others are counted."""
    unscored = JudgeVerdict.unscored
    kept = [pair for pair in pairs if unscored not in (pair[1].verdict, pair[2].verdict)]
    said: dict[str, Any] = {"n": len(kept), "num_left_out": len(pairs) - len(kept)}
    names = ("equal", "equal_interval", "kappa", "kappa_interval")
    if not kept:
        return said | dict.fromkeys(names) | {"pairs": {}}
    both = agreement(
        [first.verdict for _, first, _ in kept],
        [second.verdict for _, _, second in kept],
        [case.cluster for case, _, _ in kept],
    )
    values = [part for one in (both.equal, both.kappa) for part in _parts(one)]
    return said | dict(zip(names, values, strict=True)) | {"pairs": _counts(kept)}


def _read(path: Path) -> dict[str, JudgedAnswer]:
    lines = read_lines(path, id_field="id")
    return {line["id"]: JudgedAnswer.from_json(line) for line in lines}


def _parts(interval: Interval | None) -> tuple[float | None, list[float] | None]:
    return (None, None) if interval is None else (interval.estimate, [interval.low, interval.high])


def _counts(pairs: Sequence[Pair]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for _, first, second in pairs:
        row = found.setdefault(first.verdict.value, {})
        row[second.verdict.value] = row.get(second.verdict.value, 0) + 1
    return found


def _say(policy: str, of_policy: dict[str, Any]) -> None:
    for name in ("all", "asked"):
        one = of_policy[name]
        logger.info(
            "%s: the judges agree on %s of %d answers (%s), kappa %s, %d left out as unscored",
            *(policy, _shown(one["equal"]), one["n"], name, _shown(one["kappa"])),
            one["num_left_out"],
        )


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
