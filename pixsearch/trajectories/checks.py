"""Rules for candidate answers that need no teacher."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.tokens import SPECIAL_TOKENS
from pixsearch.trajectories.quarantine import Reason
from pixsearch.trajectories.records import Response, SubQuestion


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with a response.

    Attributes:
        told: in words, for the teacher.
    """

    reason: Reason
    told: str


def has_words_of(text: str, phrase: str) -> bool:
    """Whether the words of `phrase` stand in `text` together; case and punctuation do not count.

    >>> has_words_of("It was made in Osmeth.", "osmeth"), has_words_of("the cat", "at")
    (True, False)
    """
    return f" {_normal(phrase)} " in f" {_normal(text)} "


def faults_of(
    response: Response, sub_questions: Sequence[SubQuestion], question: AnnotatedQuestion
) -> list[Fault]:
    """What is wrong with where a response searches and what it says; [] if nothing is."""
    found = {
        Reason.misplaced_searches: _misplaced(response, sub_questions),
        Reason.answer_not_accepted: _wrong_answer(response, question),
        Reason.answer_before_search: _told_early(response, question),
        Reason.spelled_token: _spelled_tokens(response),
    }
    return [Fault(reason=reason, told=told) for reason, told in found.items() if told]


def _misplaced(response: Response, sub_questions: Sequence[SubQuestion]) -> str | None:
    needed = [each.number for each in sub_questions if each.needs_search]
    searched = [segment.sub_question for segment in response.segments]
    if searched == needed:
        return None
    return f"it searches for the sub-questions {searched}; those that need a search are {needed}"


def _wrong_answer(response: Response, question: AnnotatedQuestion) -> str | None:
    if any(has_words_of(response.answer, answer) for answer in question.answers):
        return None
    return f"its answer holds none of the accepted answers, as {question.answers[0]!r}"


def _told_early(response: Response, question: AnnotatedQuestion) -> str | None:
    """The answer may not stand before the evidence, unless the question itself says it."""
    before = " ".join(segment.words for segment in response.segments)
    for answer in question.answers:
        if has_words_of(before, answer) and not has_words_of(question.question, answer):
            return f"it says {answer!r} before the last search"
    return None


def _spelled_tokens(response: Response) -> str | None:
    words = " ".join([*(segment.words for segment in response.segments), response.answer])
    spelled = [token for token in SPECIAL_TOKENS if token in words]
    return f"it spells {', '.join(spelled)}, which are not its to write" if spelled else None


def _normal(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
