"""Means over a benchmark's questions, which say how many answers were missing."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A metric over a benchmark.

    Attributes:
        mean: None where nothing is scored.
        n: the denominator.
        num_missing: questions without a prediction.
    """

    mean: float | None
    n: int
    num_missing: int


def mean_of(scores: Iterable[float | None], *, official_missing: bool = False) -> Mean:
    """Mean over all questions.

    Args:
        scores: one per question of the benchmark; None where there is no prediction.
        official_missing: leave questions without a prediction out of the denominator, as the
            scripts of InfoSeek and OVEN do; otherwise they count as wrong.

    >>> mean_of([1.0, None, 0.5, 0.0])
    Mean(mean=0.375, n=4, num_missing=1)
    >>> mean_of([1.0, None, 0.5, 0.0], official_missing=True)
    Mean(mean=0.5, n=3, num_missing=1)
    """
    found = list(scores)
    num_missing = found.count(None)
    n = len(found) - num_missing if official_missing else len(found)
    total = sum(score for score in found if score is not None)
    return Mean(mean=total / n if n else None, n=n, num_missing=num_missing)


def harmonic_mean(*values: float | None) -> float | None:
    """Harmonic mean of scores from 0 up: 0 where one of them is 0, None where one is None.

    >>> harmonic_mean(0.25, 0.75), harmonic_mean(0.0, 1.0), harmonic_mean(None, 1.0)
    (0.375, 0.0, None)
    """
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return len(known) / sum(1 / value for value in known) if all(known) else 0.0
