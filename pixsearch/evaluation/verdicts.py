"""Verdicts on saved answers: `scripts/judge.py` writes them, scoring reads them.

OUTPUT/verdicts/POLICY.jsonl            a `JudgedAnswer` per sample
OUTPUT/verdicts/POLICY.second.jsonl     of a second judge
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from pixsearch.line_store import read_lines, read_manifest

logger = logging.getLogger(__name__)

VERDICTS = "verdicts"  # folder of POLICY.jsonl
SECOND = ".second"  # behind a policy's name: of the second judge

EXACT, UNKNOWN, EMPTY = "exact", "unknown", "empty"  # `by` where no judge was asked
SETTLED = frozenset({EXACT, UNKNOWN, EMPTY})


class JudgeVerdict(StrEnum):
    correct = "correct"
    missing = "missing"  # the answer says that it does not know
    hallucination = "hallucination"  # the answer is wrong
    unscored = "unscored"  # the judge gave no verdict that could be read


@dataclass(frozen=True, kw_only=True)
class JudgedAnswer:
    """One line.

    Attributes:
        by: one of `SETTLED`, or the judge's name.
        reason: in the judge's words, or why there is no verdict.
        answer: `answer_key` of the text that was judged; another answer needs another verdict.
    """

    id: str
    verdict: JudgeVerdict
    by: str
    answer: str
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "JudgedAnswer":
        return cls(**{**record, "verdict": JudgeVerdict(record["verdict"])})


def answer_key(answer: str) -> str:
    """Names a text among a benchmark's answers.

    >>> answer_key("Osmeth") == answer_key("Osmeth"), len(answer_key("Osmeth"))
    (True, 16)
    """
    return sha256(answer.encode()).hexdigest()[:16]


def verdicts_path(output_dir: Path, policy: str, *, second: bool = False) -> Path:
    return output_dir / VERDICTS / f"{policy}{SECOND if second else ''}.jsonl"


def verdicts_manifest(
    predictions: Mapping[str, Any],
    judge: Mapping[str, Any],
    *,
    answer_span: str,
    unknown_test: str,
) -> dict[str, Any]:
    """The manifest of a file of verdicts.

    Args:
        predictions: the manifest of the predictions that are judged.
        judge: all that decides a verdict: backend, model, version of its prompt.
        answer_span: which text is judged.
        unknown_test: `JudgeRules.name` of the benchmark.
    """
    return {
        "run": predictions["run"],
        "policy": predictions["policy"],
        "answer_span": answer_span,
        "unknown_test": unknown_test,
        "judge": dict(judge),
    }


def read_verdicts(
    path: Path,
    predictions: Mapping[str, Any],
    answers: Mapping[str, str],
    *,
    answer_span: str,
    unknown_test: str,
) -> dict[str, JudgedAnswer]:
    """The verdicts on a policy's answers by sample id; those on texts that have changed are left
    out, so they are to be given again. A file of verdicts on other predictions or by other rules is
    named in the log and not read: a new run in its folder is to be judged, and ends no sweep.

    Args:
        predictions: the manifest of the predictions.
        answers: the text of each answer that is scored, by sample id.
        answer_span, unknown_test: as in `verdicts_manifest`.

    Raises:
        ValueError: a line is broken.
    """
    if not path.exists():
        return {}
    manifest = read_manifest(path)
    expected = verdicts_manifest(
        predictions,
        manifest.get("judge", {}),
        answer_span=answer_span,
        unknown_test=unknown_test,
    )
    if manifest != expected:
        logger.warning(
            "%s: verdicts on answers of another run, policy, span or protocol than those that are "
            "scored; scripts/judge.py sets them aside",
            path,
        )
        return {}
    found = {}
    for number, line in enumerate(read_lines(path, id_field="id"), start=1):
        judged = _parse(line, f"{path}:{number}")
        if judged.id in answers and judged.answer == answer_key(answers[judged.id]):
            found[judged.id] = judged
    return found


def not_judged(path: Path, ids: Iterable[str], verdicts: Mapping[str, JudgedAnswer]) -> str | None:
    """What is to be done about answers without a verdict, in one line; None if each has one.

    Args:
        ids: of the answers that must be judged.
    """
    wanted = list(ids)
    missing = sum(id not in verdicts for id in wanted)
    if not missing:
        return None
    return (
        f"{path}: {missing} of {len(wanted)} answers have no verdict; run scripts/judge.py with "
        "the same options, then score=only"
    )


def _parse(line: dict[str, Any], where: str) -> JudgedAnswer:
    try:
        return JudgedAnswer.from_json(line)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: no verdict ({error!r}); remove the line") from error
