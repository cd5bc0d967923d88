"""Verdicts on the turns of conversations: CRAG-MM's rule of two failures in a row."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from pixsearch.config import CragMMProtocol
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.metrics.bootstrap import mean_interval
from pixsearch.evaluation.metrics.crag_mm import conversation_scores, first_stop, stop_early
from pixsearch.evaluation.metrics.truthfulness import Verdict, truthfulness
from pixsearch.evaluation.verdicts import JudgeVerdict

_PLAIN = {
    JudgeVerdict.correct: Verdict.CORRECT,
    JudgeVerdict.missing: Verdict.MISSING,
    JudgeVerdict.hallucination: Verdict.HALLUCINATION,
    JudgeVerdict.unscored: Verdict.MISSING,  # not known to be right, and neither point nor penalty
}


def count_turns(
    questions: Sequence[AnnotatedQuestion],
    verdicts: Sequence[JudgeVerdict],
    *,
    protocol: CragMMProtocol,
) -> list[JudgeVerdict]:
    """The verdicts as turns count: under `kit` those after two failures in a row are missing."""
    counted = list(verdicts)
    if protocol is CragMMProtocol.paper:
        return counted
    for places in _conversations(questions):
        stop = first_stop([_PLAIN[verdicts[place]] for place in places])
        for place in places[stop:] if stop is not None else ():
            counted[place] = JudgeVerdict.missing
    return counted


def conversation_figures(
    questions: Sequence[AnnotatedQuestion], verdicts: Sequence[JudgeVerdict]
) -> dict[str, Any]:
    """Scores of whole conversations; an unscored turn is a failure worth 0 points.

    Args:
        verdicts: before `count_turns`.
    """
    conversations = [
        [_PLAIN[verdicts[place]] for place in places] for places in _conversations(questions)
    ]
    scores = asdict(conversation_scores(conversations))
    of_each = [truthfulness(stop_early(turns)).truthfulness for turns in conversations]
    interval = mean_interval(of_each, range(len(of_each)))
    return {**scores, "conversation_score_interval": [interval.low, interval.high]}


def _conversations(questions: Sequence[AnnotatedQuestion]) -> Iterator[list[int]]:
    """Places of each conversation's turns, in order."""
    found: dict[str | None, list[int]] = {}
    for place, question in enumerate(questions):
        found.setdefault(question.session_id, []).append(place)
    yield from found.values()
