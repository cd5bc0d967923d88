"""Accuracy, missing, hallucination and truthfulness, as CRAG-MM defines them.

The judge is rule-based: a normalised exact match with the gold answer or an alias. The test for
"I don't know" is that of the paper's repository (facebookresearch/CRAG-MM).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pixsearch.evaluation.metrics.normalisation import squad

MAX_ANSWER_WORDS = 12  # a longer answer is wrong, so that listing candidates does not pay


class Verdict(StrEnum):
    CORRECT = "correct"
    MISSING = "missing"  # the answer says that it does not know
    HALLUCINATION = "hallucination"  # all else


@dataclass(frozen=True, kw_only=True)
class Truthfulness:
    """Fractions of `n` answers; truthfulness lies in [-1, 1]."""

    accuracy: float
    missing: float
    hallucination: float
    truthfulness: float
    n: int


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall:
    """None where the denominator is zero."""

    precision: float | None
    recall: float | None


def says_unknown(answer: str) -> bool:
    """Whether the answer abstains, by the official test: every character but a-z, 0-9 and white
    space is dropped, so that a curly apostrophe counts.

    >>> says_unknown("I don\u2019t know."), says_unknown("I do not know"), says_unknown("No idea")
    (True, True, False)
    """
    plain = re.sub(r"[^a-z0-9\s]", "", answer.lower())
    return "i dont know" in plain or "i do not know" in plain


def judge(answer: str, gold: str, aliases: Sequence[str] = ()) -> Verdict:
    """The verdict on one answer to an answerable question.

    >>> judge("Red.", "red").value, judge("I don't know", "red").value, judge("", "red").value
    ('correct', 'missing', 'hallucination')
    """
    if says_unknown(answer):
        return Verdict.MISSING
    return Verdict.CORRECT if matches(answer, (gold, *aliases)) else Verdict.HALLUCINATION


def matches(answer: str, accepted: Sequence[str]) -> bool:
    """Whether an answer is short enough and one of the accepted ones, both normalised.

    >>> matches("The Red.", ["blue", "red"])
    True
    """
    if len(answer.split()) > MAX_ANSWER_WORDS:
        return False
    return squad(answer) in {squad(text) for text in accepted}


def truthfulness(verdicts: Sequence[Verdict]) -> Truthfulness:
    """Scores of the verdicts: truthfulness = (2 correct + missing) / n - 1.

    Raises:
        ValueError: no verdict, so that no fraction is defined.

    >>> truthfulness([Verdict.CORRECT, Verdict.MISSING, Verdict.HALLUCINATION, Verdict.CORRECT])
    Truthfulness(accuracy=0.5, missing=0.25, hallucination=0.25, truthfulness=0.25, n=4)
    """
    n = len(verdicts)
    if n == 0:
        raise ValueError("truthfulness of no answers is not defined")
    count = Counter(verdicts)
    correct, missing, wrong = (count[verdict] for verdict in Verdict)
    assert correct + missing + wrong == n
    return Truthfulness(
        accuracy=correct / n,
        missing=missing / n,
        hallucination=wrong / n,
        truthfulness=(2 * correct + missing) / n - 1,
        n=n,
    )


def hallucination_when_attempted(scores: Truthfulness) -> float | None:
    """Share of wrong answers among those that do not abstain; None if all abstain.

    >>> hallucination_when_attempted(truthfulness([Verdict.MISSING, Verdict.HALLUCINATION]))
    1.0
    """
    attempted = scores.accuracy + scores.hallucination
    return scores.hallucination / attempted if attempted else None


def precision_recall(relevant: Sequence[bool], chosen: Sequence[bool]) -> PrecisionRecall:
    """Precision and recall of a yes/no decision.

    >>> precision_recall([True, True, False, False], [True, False, True, False])
    PrecisionRecall(precision=0.5, recall=0.5)
    """
    both = sum(wanted and taken for wanted, taken in zip(relevant, chosen, strict=True))
    return PrecisionRecall(
        precision=both / sum(chosen) if any(chosen) else None,
        recall=both / sum(relevant) if any(relevant) else None,
    )


def abstention(answerable: Sequence[bool], answers: Sequence[str]) -> PrecisionRecall:
    """Precision and recall of saying "I don't know" where there is no answer.

    >>> abstention([True, False], ["I don't know", "I do not know"])
    PrecisionRecall(precision=0.5, recall=1.0)
    """
    unanswerable = [not flag for flag in answerable]
    return precision_recall(unanswerable, [says_unknown(answer) for answer in answers])
