"""What a judge is, and what is settled before one is asked."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pixsearch.evaluation.judging.cases import Case
from pixsearch.evaluation.metrics.crag_mm import is_exact
from pixsearch.evaluation.verdicts import EMPTY, EXACT, UNKNOWN, JudgeVerdict


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """A verdict and where it comes from.

    Attributes:
        by: the judge's name, or what settled it without one.
        reason: in the judge's words, or why there is no verdict.
    """

    verdict: JudgeVerdict
    by: str
    reason: str | None = None


@runtime_checkable
class Judge(Protocol):
    """Gives verdicts.

    Attributes:
        name: in every verdict.
        identity: plain values, all that decides a verdict.
        is_free: its verdicts cost nothing, so that none is kept for later.
    """

    name: str
    identity: dict[str, Any]
    is_free: bool

    def rule(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Ruling]]:
        """A ruling on each case, as they are ready; `unscored` where the judge gave none.

        Raises:
            EndpointUnavailable: nobody answers, and nobody has answered yet.
        """
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...


def without_judge(case: Case, says_unknown: Callable[[str], bool]) -> Ruling | None:
    """What needs no judge, by the rules of CRAG-MM's official scorers; None for all else.

    Both ask no judge about an answer that abstains or equals the reference. An empty answer cannot
    come about in them; their judges are told that what does not answer is wrong, so it is.

    Where the reference itself abstains, the official scorers count an equal answer twice, as
    missing and as correct; here it is missing.
    """
    if not case.answer.strip():
        return Ruling(verdict=JudgeVerdict.hallucination, by=EMPTY)
    if says_unknown(case.answer):
        return Ruling(verdict=JudgeVerdict.missing, by=UNKNOWN)
    if any(is_exact(case.answer, reference) for reference in case.references):
        return Ruling(verdict=JudgeVerdict.correct, by=EXACT)
    return None
