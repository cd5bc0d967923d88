"""Whether a retrieved passage has an accepted answer in its text (DPR, KILT)."""

import unicodedata
from collections.abc import Callable, Collection, Sequence
from itertools import groupby

from pixsearch.evaluation.metrics.text_qa import contains

HasAnswer = Callable[[str, Collection[str]], bool]


def dpr_has_answer(passage: str, golds: Collection[str]) -> bool:
    """DPR's test: the answer's words stand side by side in the passage, case aside.

    Words are runs of letters, digits and marks, and single other signs, of the decomposed text
    (NFD). An answer without words is found everywhere, as in the official script.

    >>> dpr_has_answer("Mr. O'Neil (born 1956)", ["o'neil", "1957"])
    True
    >>> dpr_has_answer("born in 1956", ["195"])
    False
    """
    words = dpr_words(passage)
    return any(_stands_in(dpr_words(gold), words) for gold in golds)


def kilt_has_answer(passage: str, golds: Collection[str]) -> bool:
    """KILT's test in DPR's repository: the normalised answer is a part of the normalised passage.

    >>> kilt_has_answer("born in 1956", ["195"])
    True
    """
    return contains(passage, golds)


def answer_hit(
    passages: Sequence[str], golds: Collection[str], *, k: int, has_answer: HasAnswer
) -> bool:
    """Whether one of the first k passages has an accepted answer.

    >>> answer_hit(["Oslo", "Paris"], ["paris"], k=1, has_answer=dpr_has_answer)
    False
    """
    return any(has_answer(passage, golds) for passage in passages[:k])


def dpr_words(text: str) -> list[str]:
    """
    >>> dpr_words("O'Neil, 3.5")
    ['o', "'", 'neil', ',', '3', '.', '5']
    """
    found: list[str] = []
    for kind, run in groupby(unicodedata.normalize("NFD", text), key=_kind):
        if kind == "word":
            found.append("".join(run).lower())
        elif kind == "sign":
            found += [sign.lower() for sign in run]
    return found


def _kind(character: str) -> str:
    """By the first letter of the Unicode category."""
    category = unicodedata.category(character)[0]
    if category in "LNM":
        return "word"
    return "space" if category in "ZC" else "sign"


def _stands_in(words: list[str], passage: list[str]) -> bool:
    length = len(words)
    starts = range(len(passage) - length + 1)
    return any(passage[start : start + length] == words for start in starts)
