"""Encyclopedic-VQA's exact match.

The official score goes on, where this one says no, to ask BEM (a TensorFlow model) whether the two
answers mean the same. That is not here: these scores are lower bounds of the official ones, and are
to be called EM.
"""

from collections.abc import Sequence

from pixsearch.evaluation.metrics.normalisation import encyclopedic_vqa

LEAST_OVERLAP = 0.5  # of the sets of a question with several answers


def encyclopedic_vqa_em(answer: str, references: Sequence[str], *, is_list: bool = False) -> bool:
    """Whether any reference is matched.

    Args:
        references: what `|` parts in the column `answer`.
        is_list: `question_type` is multi_answer: a reference lists its answers between `&&`.

    Raises:
        ValueError: no reference, or one of which the normaliser leaves nothing.

    >>> encyclopedic_vqa_em("The answer is two", ["2", "a pair"])
    True
    >>> encyclopedic_vqa_em("Bees, wasps & ants", ["bees&&wasps"], is_list=True)
    True
    """
    if not references:
        raise ValueError("a question without a reference answer has no score")
    match = _list_match if is_list else _single_match
    return max(match(answer, reference) for reference in references)


def _single_match(answer: str, reference: str) -> bool:
    return encyclopedic_vqa(answer) in _required([reference], reference)


def _list_match(answer: str, reference: str) -> bool:
    """Intersection over union of the two sets of answers, at least a half."""
    wanted = _required(reference.split("&&"), reference)
    said = _normalised(answer.replace(" and ", ",").replace(" & ", ",").split(","))
    return len(wanted & said) / len(wanted | said) >= LEAST_OVERLAP


def _required(answers: Sequence[str], reference: str) -> set[str]:
    found = _normalised(answers)
    if not found:
        raise ValueError(f"the reference {reference!r} is empty once normalised; leave it out")
    return found


def _normalised(answers: Sequence[str]) -> set[str]:
    return {plain for answer in answers if (plain := encyclopedic_vqa(answer))}
