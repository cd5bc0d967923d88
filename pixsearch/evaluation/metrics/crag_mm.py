"""What CRAG-MM's two official scorers do around the judge, and where they differ.

`kit` is the KDD Cup's starter kit, `paper` the paper's repository (facebookresearch/CRAG-MM). They
test for "I don't know" in two ways, and count turns after two failures in two ways.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tokenizers import Tokenizer

from pixsearch.config import CragMMProtocol
from pixsearch.evaluation.metrics.truthfulness import Verdict, says_unknown, truthfulness

MAX_ANSWER_TOKENS = 75  # of Llama-3.2-1B-Instruct's tokenizer, its first special token included


@dataclass(frozen=True, kw_only=True)
class ConversationScores:
    """Scores of whole conversations.

    Attributes:
        conversation_score: mean over conversations of accuracy minus hallucination, with turns
            after two failures counted as missing. The paper prints it as truthfulness.
        failed_twice: share of conversations with two failures in a row.
        cut_short: share of those where a turn came after them, so that the rule changed something.
    """

    conversation_score: float
    failed_twice: float
    cut_short: float
    num_conversations: int


def says_unknown_kit(answer: str) -> bool:
    """The starter kit's test: a straight apostrophe is needed.

    >>> says_unknown_kit("Sorry, I don't know."), says_unknown_kit("I don\\u2019t know")
    (True, False)
    """
    return "i don't know" in answer.lower()


UNKNOWN_TESTS: dict[CragMMProtocol, Callable[[str], bool]] = {
    CragMMProtocol.kit: says_unknown_kit,
    CragMMProtocol.paper: says_unknown,
}


def is_exact(answer: str, gold: str) -> bool:
    """Both scorers' exact match, for which no judge is asked.

    >>> is_exact(" Paris\\n", "paris"), is_exact("Paris.", "Paris")
    (True, False)
    """
    return answer.strip().lower() == gold.strip().lower()


def cut_answer(answer: str, tokenizer: Tokenizer, *, max_tokens: int = MAX_ANSWER_TOKENS) -> str:
    """The first tokens of an answer as text, as both scorers cut it before they score.

    Args:
        tokenizer: special tokens that it puts in front take part of `max_tokens`; it must put
            none behind.
    """
    return tokenizer.decode(tokenizer.encode(answer).ids[:max_tokens])


def first_stop(verdicts: Sequence[Verdict]) -> int | None:
    """How many turns a conversation goes on for: up to two failures (wrong or missing) in a row.

    >>> first_stop([Verdict.CORRECT, Verdict.MISSING, Verdict.HALLUCINATION, Verdict.CORRECT])
    3
    >>> first_stop([Verdict.MISSING, Verdict.CORRECT, Verdict.MISSING]) is None
    True
    """
    failed = [verdict is not Verdict.CORRECT for verdict in verdicts]
    both = (place for place, pair in enumerate(pairwise(failed), start=2) if all(pair))
    return next(both, None)


def stop_early(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """One conversation's verdicts with every turn after two failures in a row counted as missing.

    >>> wrong, right = Verdict.HALLUCINATION, Verdict.CORRECT
    >>> [verdict.value for verdict in stop_early([wrong, wrong, right])]
    ['hallucination', 'hallucination', 'missing']
    """
    stop = first_stop(verdicts)
    if stop is None:
        return list(verdicts)
    return [*verdicts[:stop], *[Verdict.MISSING] * (len(verdicts) - stop)]


def conversation_scores(conversations: Sequence[Sequence[Verdict]]) -> ConversationScores:
    """Scores of conversations whose turns are in order; a single-turn one is a list of one verdict.

    Raises:
        ValueError: no conversation, or one without a turn.

    >>> wrong, right = Verdict.HALLUCINATION, Verdict.CORRECT
    >>> talks = [[wrong, wrong, right], [right]]
    >>> scores = conversation_scores(talks)
    >>> round(scores.conversation_score, 3), scores.failed_twice, scores.cut_short
    (0.167, 0.5, 0.5)
    """
    if not conversations:
        raise ValueError("scores of no conversations are not defined")
    stopped = [stop_early(verdicts) for verdicts in conversations]
    stops = [first_stop(verdicts) for verdicts in conversations]
    is_cut = [
        stop is not None and stop < len(verdicts)
        for stop, verdicts in zip(stops, conversations, strict=True)
    ]
    n = len(conversations)
    return ConversationScores(
        conversation_score=sum(truthfulness(verdicts).truthfulness for verdicts in stopped) / n,
        failed_twice=sum(stop is not None for stop in stops) / n,
        cut_short=sum(is_cut) / n,
        num_conversations=n,
    )
