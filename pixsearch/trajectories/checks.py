"""Rules for candidate answers that need no teacher."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pixsearch.datasets.leaks import normalised_text
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
    return f" {normalised_text(phrase)} " in f" {normalised_text(text)} "


def repeats_answer(response: Response, question: AnnotatedQuestion) -> bool:
    """Whether an accepted answer stands in the response's own, word for word."""
    return any(has_words_of(response.answer, answer) for answer in question.answers)


def has_long_answers(question: AnnotatedQuestion, *, most_words: int) -> bool:
    """Whether all accepted answers have more words: sentences, which nobody repeats as they are."""
    lengths = [len(normalised_text(answer).split()) for answer in question.answers]
    return min(lengths) > most_words


def faults_of(
    response: Response,
    sub_questions: Sequence[SubQuestion],
    question: AnnotatedQuestion,
    *,
    most_words: int,
) -> list[Fault]:
    """What is wrong with where a response searches and what it says; [] if nothing is.

    Whether it says the same as an accepted answer of more than `most_words` words no rule can tell
    (agreement.py).
    """
    found = {
        Reason.misplaced_searches: _misplaced(response, sub_questions),
        Reason.answer_not_accepted: _wrong_answer(response, question, most_words),
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


def _wrong_answer(response: Response, question: AnnotatedQuestion, most_words: int) -> str | None:
    if repeats_answer(response, question):
        return None
    if not has_long_answers(question, most_words=most_words):
        return f"its answer holds none of the accepted answers, as {question.answers[0]!r}"
    known = _numbers(" ".join([question.question, *question.answers]))
    if unknown := sorted(_numbers(response.answer) - known):
        return f"its answer says {', '.join(unknown)}, which the accepted answers do not"
    return None


def _numbers(text: str) -> set[str]:
    """Those in digits.

    >>> sorted(_numbers("In 1,889 it was 3.5 m, in 1902 4."))
    ['1889', '1902', '3.5', '4']
    """
    return {number.replace(",", "") for number in re.findall(r"\d+(?:[.,]\d+)*", text)}


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
