"""Exact match and F1 of words: SQuAD's, and where HotpotQA, MuSiQue, FlashRAG and PopQA differ.

Every function takes one answer and the benchmark's accepted answers, of which the best one counts.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass

from pixsearch.evaluation.metrics.normalisation import Normaliser, squad

CLOSED_ANSWERS = frozenset({"yes", "no", "noanswer"})  # HotpotQA's: nothing but itself is like one


@dataclass(frozen=True, kw_only=True)
class PrecisionRecallF1:
    """What a prediction shares with its gold, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


NOTHING = PrecisionRecallF1(precision=0.0, recall=0.0, f1=0.0)
ALL = PrecisionRecallF1(precision=1.0, recall=1.0, f1=1.0)


def exact_match(answer: str, golds: Collection[str], *, normalise: Normaliser = squad) -> bool:
    """Whether an accepted answer is the same once both are normalised.

    >>> exact_match("The Thames.", ["Thames"]), exact_match("river Thames", ["Thames"])
    (True, False)
    """
    return normalise(answer) in {normalise(gold) for gold in golds}


def contains(answer: str, golds: Collection[str], *, normalise: Normaliser = squad) -> bool:
    """Whether an accepted answer stands in the answer, both normalised (FlashRAG's `acc`).

    Letters are compared, not words, so that "5" is found in "1956".

    >>> contains("It is the river Thames.", ["Thames"]), contains("in 1956", ["5"])
    (True, True)
    """
    plain = normalise(answer)
    return any(normalise(gold) in plain for gold in golds)


def token_overlap(answer: str, gold: str, *, normalise: Normaliser = squad) -> PrecisionRecallF1:
    """Precision, recall and F1 of the words, as SQuAD 1.1 counts them; two empty texts share none.

    >>> token_overlap("Barack Obama", "President Barack Obama")
    PrecisionRecallF1(precision=1.0, recall=0.6666666666666666, f1=0.8)
    """
    return bag_overlap(normalise(answer).split(), normalise(gold).split())


def bag_overlap(predicted: Sequence[Hashable], gold: Sequence[Hashable]) -> PrecisionRecallF1:
    """Overlap of two bags of words or of token ids.

    >>> bag_overlap([1, 1, 2], [1, 3]).f1
    0.4
    """
    shared = sum((Counter(predicted) & Counter(gold)).values())
    if shared == 0:
        return NOTHING
    return _overlap(shared / len(predicted), shared / len(gold))


def token_f1(answer: str, golds: Collection[str], *, normalise: Normaliser = squad) -> float:
    """F1 against the accepted answer that fits best; 0 where there is none.

    >>> token_f1("Barack Obama", ["Obama", "President Barack Obama"])
    0.8
    """
    return _best(lambda gold: token_overlap(answer, gold, normalise=normalise).f1, golds)


def hotpotqa_overlap(answer: str, gold: str) -> PrecisionRecallF1:
    """HotpotQA's: `token_overlap`, but yes, no and "noanswer" share nothing with anything else.

    >>> hotpotqa_overlap("yes it is", "yes").f1, token_overlap("yes it is", "yes").f1
    (0.0, 0.5)
    """
    predicted, wanted = squad(answer), squad(gold)
    if predicted != wanted and CLOSED_ANSWERS & {predicted, wanted}:
        return NOTHING
    return bag_overlap(predicted.split(), wanted.split())


def musique_f1(answer: str, golds: Collection[str]) -> float:
    """MuSiQue's (SQuAD 2.0's): no rule for yes and no, and two empty texts are alike.

    >>> musique_f1("yes it is", ["yes"]), musique_f1("the", ["a"]), musique_f1("the", ["b"])
    (0.5, 1.0, 0.0)
    """
    return _best(lambda gold: float(squad(answer) == squad(gold) or _f1(answer, gold)), golds)


def flashrag_overlap(answer: str, golds: Collection[str]) -> PrecisionRecallF1:
    """FlashRAG's: HotpotQA's rule on every benchmark; the best precision, recall and F1 each of any
    gold, so that the three need not belong together.

    >>> found = flashrag_overlap("a cat and a dog", ["cat", "big black dog and cat"])
    >>> found.precision, found.recall, round(found.f1, 3)
    (1.0, 1.0, 0.75)
    """
    found = [NOTHING, *(hotpotqa_overlap(answer, gold) for gold in golds)]
    return PrecisionRecallF1(
        precision=max(each.precision for each in found),
        recall=max(each.recall for each in found),
        f1=max(each.f1 for each in found),
    )


def popqa_accuracy(answer: str, possible_answers: Collection[str]) -> bool:
    """PopQA's own accuracy: a possible answer stands in the answer's first line.

    The answer keeps its case; the possible answer is tried as it is, in lower case, and with its
    first letter alone upper case.

    >>> [popqa_accuracy(said, ["Politician"]) for said in ("a politician", "POLITICIAN")]
    [True, False]
    """
    line = answer.removeprefix("\n\n").split("\n")[0]
    spellings = {way(gold) for gold in possible_answers for way in (str, str.lower, str.capitalize)}
    return any(spelling in line for spelling in spellings)


def support_overlap(
    predicted: Collection[Hashable], gold: Collection[Hashable], *, empty_is_right: bool = False
) -> PrecisionRecallF1:
    """Overlap of the sets of supporting facts (HotpotQA) or of paragraph numbers (MuSiQue).

    Args:
        empty_is_right: two empty sets have an F1 of 1 (MuSiQue) instead of 0 (HotpotQA).

    >>> support_overlap([("Paris", 0), ("Paris", 2)], [("Paris", 0)]).f1
    0.6666666666666666
    """
    if not predicted and not gold:
        return ALL if empty_is_right else NOTHING
    return bag_overlap(list(set(predicted)), list(set(gold)))


def joint_overlap(answer: PrecisionRecallF1, support: PrecisionRecallF1) -> PrecisionRecallF1:
    """HotpotQA's joint score: products of the precisions and of the recalls.

    >>> joint_overlap(ALL, support_overlap([1, 2], [1])).f1
    0.6666666666666666
    """
    return _overlap(answer.precision * support.precision, answer.recall * support.recall)


def musique_group_score(
    score: float, predicted_answerable: Sequence[bool], answerable: Sequence[bool]
) -> float:
    """MuSiQue-Full's: the answer's (or support's) score counts only where both forms of a question,
    the answerable and the unanswerable one, were told right.

    >>> musique_group_score(0.8, [True, False], [True, False]), musique_group_score(
    ...     0.8, [True, True], [True, False]
    ... )
    (0.8, 0.0)
    """
    return score if list(predicted_answerable) == list(answerable) else 0.0


def _overlap(precision: float, recall: float) -> PrecisionRecallF1:
    total = precision + recall
    f1 = 2 * precision * recall / total if total else 0.0
    return PrecisionRecallF1(precision=precision, recall=recall, f1=f1)


def _f1(answer: str, gold: str) -> float:
    return token_overlap(answer, gold).f1


def _best(score: Callable[[str], float], golds: Collection[str]) -> float:
    return max(map(score, golds), default=0.0)
