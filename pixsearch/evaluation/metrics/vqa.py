"""Scores of answers to questions about images that ten people (or so) have answered."""

import re
from collections.abc import Sequence

from pixsearch.evaluation.metrics.normalisation import (
    Normaliser,
    caseless,
    evalai,
    one_line,
    verbatim,
    vqa,
)
from pixsearch.evaluation.metrics.text_qa import exact_match

FULL_SCORE = 3  # as many people must have given an answer for it to count fully
_LETTER = re.compile(r"\(?([A-Z])(?:[).:]|$)")  # "B", "(B)", "B.", "B: bus"; not "A bus"


def vqa_accuracy(answer: str, human_answers: Sequence[str]) -> float:
    """VQA's soft accuracy (VQAv2; OK-VQA over the `answer` fields of its annotations).

    Mean over the people of min(1, others who gave the answer / 3). Answers are normalised only
    where the people differ: where all ten wrote the same, one has to write just that.

    >>> people = ["2"] * 2 + ["three"] * 8
    >>> round(vqa_accuracy("two", people), 2), vqa_accuracy("3", people)
    (0.6, 1.0)
    >>> vqa_accuracy("two", ["2"] * 10)
    0.0
    """
    given = [one_line(each) for each in human_answers]
    said = one_line(answer)
    if len(set(given)) > 1:
        given, said = [vqa(each) for each in given], vqa(said)
    return leave_one_out(given.count(said), len(given))


def evalai_accuracy(answer: str, human_answers: Sequence[str]) -> float:
    """The soft accuracy of TextVQA's server (and of lmms-eval): always normalised, by `evalai`.

    >>> evalai_accuracy("two", ["2"] * 10)
    1.0
    """
    given = [evalai(each) for each in human_answers]
    return leave_one_out(given.count(evalai(answer)), len(given))


def leave_one_out(num_same: int, num_people: int) -> float:
    """Mean over the people of min(1, how many of the others gave the answer / 3).

    >>> [round(leave_one_out(num_same, 10), 2) for num_same in range(5)]
    [0.0, 0.3, 0.6, 0.9, 1.0]
    """
    if num_people == 0:
        raise ValueError("a question without a human answer has no accuracy")
    itself = num_same * min(1.0, (num_same - 1) / FULL_SCORE)
    others = (num_people - num_same) * min(1.0, num_same / FULL_SCORE)
    return (itself + others) / num_people


def textvqa_exact_match(
    answer: str, human_answers: Sequence[str], *, normalise: Normaliser = evalai
) -> bool:
    """Whether any of the ten people gave the answer: the EM of PixSearch's table, not TextVQA's
    own score. The paper does not say how it normalises.

    >>> textvqa_exact_match("Dr. Pepper", ["dr pepper"] + ["pepsi"] * 9)
    True
    """
    return exact_match(answer, human_answers, normalise=normalise)


def direct_answer_score(answer: str, human_answers: Sequence[str]) -> float:
    """A-OKVQA's: min(1, people who wrote just that / 3), of all ten and with no normalisation.

    >>> direct_answer_score("red", ["red"] * 3 + ["Red"] * 7), direct_answer_score("Re", ["red"])
    (1.0, 0.0)
    """
    return min(1.0, list(human_answers).count(answer) / FULL_SCORE)


def multiple_choice_score(answer: str, choices: Sequence[str], correct: int) -> float:
    """A-OKVQA's: whether the right choice was written out, letter by letter.

    >>> multiple_choice_score("bus", ["car", "bus"], 1), multiple_choice_score("Bus", ["bus"], 0)
    (1.0, 0.0)
    """
    return float(answer == choices[correct])


def chosen(answer: str, choices: Sequence[str]) -> str:
    """The choice that an answer names, by its words or by its letter; else the answer itself.

    >>> [chosen(answer, ["car", "bus"]) for answer in ("B. bus", "(A)", "Car.", "b", "C", "A bus")]
    ['bus', 'car', 'car', 'b', 'C', 'A bus']
    """
    plain = caseless(answer).strip()
    by_words = [choice for choice in choices if caseless(choice).strip() == plain]
    letter = _LETTER.match(answer.strip())
    by_letter = [choices[place] for place in _place(letter) if place < len(choices)]
    return next(iter([*by_words, *by_letter]), answer)


def _place(letter: re.Match[str] | None) -> list[int]:
    return [] if letter is None else [ord(letter.group(1)) - ord("A")]


def gqa_exact_match(answer: str, gold: str, *, normalise: Normaliser = verbatim) -> bool:
    """GQA's: plain equality. lmms-eval passes over case and punctuation: normalise=caseless.

    >>> gqa_exact_match("yes", "yes"), gqa_exact_match("Yes.", "yes")
    (True, False)
    """
    return exact_match(answer, [gold], normalise=normalise)
