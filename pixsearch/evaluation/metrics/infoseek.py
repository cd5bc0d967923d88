"""InfoSeek's scores: equal strings and times, numbers within a range, a harmonic mean of splits."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pixsearch.evaluation.metrics.mean import Mean, harmonic_mean, mean_of
from pixsearch.evaluation.metrics.text_qa import exact_match

Range = tuple[float, float]

_NUMBER = re.compile(r"[-+]?\.?\d+(?:,\d{3})*\.?\d*(?:[eE][-+]?\d+)?")
_LEAST_OVERLAP = 0.5 - 1e-12
_POINT = 1e-12  # the length of a range whose ends are the same


class QuestionType(StrEnum):
    """`question_type` of infoseek_val_qtype.jsonl, in lower case; any other is a string."""

    STRING = "string"
    TIME = "time"
    NUMERICAL = "numerical"


class Split(StrEnum):
    """The end of `data_split`."""

    UNSEEN_QUESTION = "unseen_question"
    UNSEEN_ENTITY = "unseen_entity"


@dataclass(frozen=True, kw_only=True)
class InfoSeekItem:
    """One question with what was answered.

    Attributes:
        accepted: the strings of `answer_eval`, of a string or time question.
        accepted_range: of a numerical question.
        answer: None where there is no prediction.
    """

    type: QuestionType
    split: Split
    answer: str | None
    accepted: tuple[str, ...] = ()
    accepted_range: Range | None = None


@dataclass(frozen=True, kw_only=True)
class SplitScores:
    """Accuracies within one split, in [0, 1]."""

    all: Mean
    string: Mean
    time: Mean
    numerical: Mean


@dataclass(frozen=True, kw_only=True)
class InfoSeekScores:
    """`final` is the harmonic mean of the two splits; None where one of them has no question."""

    final: float | None
    unseen_question: SplitScores
    unseen_entity: SplitScores


def parse_numbers(text: str) -> float | Range:
    """What an answer says in numbers, as the official script reads it.

    The first two numbers are a range if they rise, else the first one counts; a text without
    numbers says (0, 0). A hyphen behind a digit parts two numbers. ".5" is read as 5, since the
    script strips points.

    >>> parse_numbers("1,200 km"), parse_numbers("9-10"), parse_numbers("12-10")
    (1200.0, (9.0, 10.0), 12.0)
    >>> parse_numbers("about 5 to 7 to 9"), parse_numbers("none")
    ((5.0, 7.0), (0.0, 0.0))
    """
    spaced = "".join(
        " - " if character == "-" and place and text[place - 1].isdigit() else character
        for place, character in enumerate(text)
    )
    numbers = [_to_float(found) for found in _NUMBER.findall(spaced)][:2]
    match numbers:
        case []:
            return (0.0, 0.0)
        case [first, second] if first <= second:
            return (first, second)
        case [first, *_]:
            return first


def numerical_match(answer: str, accepted: Range) -> bool:
    """A number within the range, ends included; or a range that lies within it, or whose
    intersection over union with it is at least a half.

    >>> numerical_match("about 10 km", (9.0, 11.0)), numerical_match("0 to 2", (1.0, 2.0))
    (True, True)
    >>> numerical_match("1 to 3", (2.0, 4.0)), numerical_match("no idea", (-1.0, 1.0))
    (False, True)
    """
    said = parse_numbers(answer)
    low, high = accepted
    if isinstance(said, float):
        return low <= said <= high
    is_within = low <= said[0] and said[1] <= high
    return is_within or _range_overlap(said, accepted) >= _LEAST_OVERLAP


def item_score(item: InfoSeekItem) -> float | None:
    """1 or 0; None where there is no prediction.

    Times are equal strings too: the year of tolerance that the official script speaks of is in the
    accepted answers.

    >>> item = InfoSeekItem(
    ...     type=QuestionType.TIME, split=Split.UNSEEN_ENTITY, answer="1901.", accepted=("1901",)
    ... )
    >>> item_score(item)
    1.0
    """
    if item.answer is None:
        return None
    if item.type is QuestionType.NUMERICAL:
        assert item.accepted_range is not None
        return float(numerical_match(item.answer, item.accepted_range))
    return float(exact_match(item.answer, item.accepted))


def infoseek_scores(
    items: Sequence[InfoSeekItem], *, official_missing: bool = False
) -> InfoSeekScores:
    """Scores of both splits and their harmonic mean.

    Args:
        official_missing: see `mean_of`.
    """
    question, entity = (
        _split_scores([item for item in items if item.split is split], official_missing)
        for split in Split
    )
    return InfoSeekScores(
        final=harmonic_mean(question.all.mean, entity.all.mean),
        unseen_question=question,
        unseen_entity=entity,
    )


def _split_scores(items: Sequence[InfoSeekItem], official_missing: bool) -> SplitScores:
    scores = [(item.type, item_score(item)) for item in items]

    def of(*types: QuestionType) -> Mean:
        chosen = (score for kind, score in scores if kind in types)
        return mean_of(chosen, official_missing=official_missing)

    return SplitScores(
        all=of(*QuestionType),
        string=of(QuestionType.STRING),
        time=of(QuestionType.TIME),
        numerical=of(QuestionType.NUMERICAL),
    )


def _to_float(found: str) -> float:
    """A number as the script reads it; one with a second point, at which it fails, ends there."""
    parts = found.replace(",", "").strip(".").split(".")
    return float(".".join(parts[:2]))


def _range_overlap(first: Range, second: Range) -> float:
    shared = max(0.0, min(first[1], second[1]) - max(first[0], second[0]))
    lengths = (first[1] - first[0] + _POINT) + (second[1] - second[0] + _POINT)
    return shared / (lengths - shared)
