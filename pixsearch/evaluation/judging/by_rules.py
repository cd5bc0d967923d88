"""A judge without a model: the normalised match by which the miniature is scored."""

from collections.abc import Iterable, Iterator

from pixsearch.evaluation.judging.cases import Case
from pixsearch.evaluation.judging.judge import Ruling
from pixsearch.evaluation.metrics.truthfulness import matches
from pixsearch.evaluation.verdicts import JudgeVerdict


class RulesJudge:
    """See `Judge`. It takes a right answer in other words for wrong."""

    is_free = True

    def __init__(self) -> None:
        self.name = "rules"
        self.identity = {"kind": "rules", "version": 1}

    def rule(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Ruling]]:
        for case in cases:
            is_right = matches(case.answer, case.references)
            verdict = JudgeVerdict.correct if is_right else JudgeVerdict.hallucination
            yield case, Ruling(verdict=verdict, by=self.name)

    def close(self) -> None:
        """Nothing is held open."""
