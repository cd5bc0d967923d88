"""Two scores that both go by "relaxed", under two names."""

from collections.abc import Sequence

from pixsearch.evaluation.metrics.text_qa import ALL, PrecisionRecallF1, bag_overlap

CHARTQA_TOLERANCE = 0.05


def relaxed_token_overlap(
    generated_ids: Sequence[int], gold_ids: Sequence[int], *, window: int
) -> PrecisionRecallF1:
    """PLUM's relaxed score, of token ids: all right if the gold ids stand together among the first
    `window` generated ids, else the overlap of the two bags of ids.

    Relaxed exact match is `.f1 == 1`. A gold answer without ids is never found.

    >>> relaxed_token_overlap([5, 7, 8, 9], [7, 8], window=3)
    PrecisionRecallF1(precision=1.0, recall=1.0, f1=1.0)
    >>> relaxed_token_overlap([5, 7, 8, 9], [7, 8], window=2).precision
    0.5
    """
    first, gold = list(generated_ids[:window]), list(gold_ids)
    starts = range(len(first) - len(gold) + 1) if gold else range(0)
    if any(first[start : start + len(gold)] == gold for start in starts):
        return ALL
    return bag_overlap(generated_ids, gold_ids)


def chartqa_relaxed_accuracy(answer: str, gold: str) -> bool:
    """ChartQA's: a number may be off by 5 %, all else must be equal but for case.

    A gold answer of zero is compared as a text, as pix2struct's script does.

    >>> chartqa_relaxed_accuracy("10.4", "10"), chartqa_relaxed_accuracy("10.6", "10")
    (True, False)
    >>> chartqa_relaxed_accuracy("50%", "0.5"), chartqa_relaxed_accuracy("0.0", "0")
    (True, False)
    """
    said, wanted = _number(answer), _number(gold)
    if said is None or not wanted:
        return answer.lower() == gold.lower()
    return abs(said - wanted) / abs(wanted) <= CHARTQA_TOLERANCE


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
