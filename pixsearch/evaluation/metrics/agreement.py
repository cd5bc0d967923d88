"""How far two judges agree: the share of equal verdicts, and Cohen's kappa."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from pixsearch.evaluation.metrics.bootstrap import Interval, kappa_interval, mean_interval


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """
    Attributes:
        equal: share of answers with equal verdicts.
        kappa: (equal - expected) / (1 - expected), where two judges who draw their verdicts with
            the same frequencies are expected to agree by chance; None where that is always so.
    """

    equal: Interval
    kappa: Interval | None
    n: int


def agreement(
    first: Sequence[Hashable], second: Sequence[Hashable], clusters: Sequence[Hashable]
) -> Agreement:
    """Of two judges' verdicts on the same answers, with 95 % intervals.

    Raises:
        ValueError: no answers, or sequences of different lengths.

    >>> both = agreement(["a", "b"], ["a", "b"], ["x", "y"])
    >>> both.equal.estimate, both.kappa.estimate, both.n
    (1.0, 1.0, 2)
    """
    equal = [float(one == other) for one, other in zip(first, second, strict=True)]
    return Agreement(
        equal=mean_interval(equal, clusters),
        kappa=kappa_interval(first, second, clusters),
        n=len(equal),
    )
