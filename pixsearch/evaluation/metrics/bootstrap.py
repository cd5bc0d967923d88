"""Percentile bootstrap intervals, with whole clusters (images, sessions) drawn again.

Questions about one image are not independent; drawing clusters keeps the interval honest
(Miller, arXiv 2411.00640). All draws come from one seeded generator, so that results rebuild.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int64

Sums = Float[np.ndarray, "num_draws num_series"]
RESAMPLES = 2000
CACHED_CLUSTERS = 8000  # of more clusters no draws are kept: they take 128 MB
_DRAWS_AT_ONCE = 50


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with the bounds of its interval; infinite where a denominator was drawn as 0."""

    estimate: float
    low: float
    high: float


def mean_interval(
    values: Sequence[float], clusters: Sequence[Hashable], *, seed: int = 0, level: float = 0.95
) -> Interval:
    """Interval of the mean of `values`, whose samples belong to `clusters`.

    >>> mean_interval([1.0, 1.0, 1.0], ["a", "a", "b"])
    Interval(estimate=1.0, low=1.0, high=1.0)
    """
    series = [values, [1.0] * len(values)]
    return _bootstrap(series, clusters, lambda sums: sums[:, 0] / sums[:, 1], seed, level)


def difference_interval(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of mean(first) - mean(second), paired: the same samples are drawn for both."""
    series = [first, second, [1.0] * len(first)]
    return _bootstrap(
        series, clusters, lambda sums: (sums[:, 0] - sums[:, 1]) / sums[:, 2], seed, level
    )


def ratio_interval(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Interval of mean(first) / mean(second), paired.

    >>> ratio_interval([1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0], ["a", "a", "b", "b"])
    Interval(estimate=2.0, low=2.0, high=2.0)
    """
    return _bootstrap([first, second], clusters, _ratio, seed, level)


def mean_intervals(
    series: Sequence[Sequence[float | None]],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> list[Interval | None]:
    """Intervals of the means of several series over the same samples, in one pass of draws.

    A sample whose value is None is not in the denominator of its series; a series without a value
    has no interval. Draws without a sample of a series are left out.

    >>> mean_intervals([[1.0, None, 1.0], [None, None, None]], ["a", "a", "b"])
    [Interval(estimate=1.0, low=1.0, high=1.0), None]
    """
    columns = [[0.0 if value is None else value for value in values] for values in series]
    counts = [[float(value is not None) for value in values] for values in series]
    cluster_sums = _cluster_sums([*columns, *counts], clusters)
    drawn = _means(_drawn_sums(cluster_sums, seed))
    estimates = _means(cluster_sums.sum(axis=0, keepdims=True))[0]
    return [
        None if np.isnan(estimate) else _interval(estimate, draws[~np.isnan(draws)], level)
        for estimate, draws in zip(estimates, drawn.T, strict=True)
    ]


def kappa_interval(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Interval | None:
    """Interval of Cohen's kappa of two series of labels; None where kappa is not defined.

    Draws that hold one label alone, of which there is no kappa, are left out.

    >>> kappa_interval(["a", "b", "b"], ["a", "b", "b"], [1, 2, 3])
    Interval(estimate=1.0, low=1.0, high=1.0)
    """
    labels = list(dict.fromkeys([*first, *second]))
    equal = [float(one == other) for one, other in zip(first, second, strict=True)]
    ours = [[float(each == label) for each in first] for label in labels]
    theirs = [[float(each == label) for each in second] for label in labels]
    cluster_sums = _cluster_sums([[1.0] * len(equal), equal, *ours, *theirs], clusters)
    drawn = _kappas(_drawn_sums(cluster_sums, seed))
    estimate = _kappas(cluster_sums.sum(axis=0, keepdims=True))[0]
    return None if np.isnan(estimate) else _interval(estimate, drawn[~np.isnan(drawn)], level)


def _kappas(sums: Sums) -> Float[np.ndarray, " num_draws"]:
    """Of counts, equal labels, and either series' count of each label; NaN where undefined."""
    counts, equal = sums[:, 0].astype(float), sums[:, 1]
    ours, theirs = np.split(sums[:, 2:], 2, axis=1)
    expected = (ours * theirs).sum(axis=1) / counts
    undefined = np.full(len(sums), np.nan)
    chance = counts - expected
    return np.divide(equal - expected, chance, out=undefined, where=chance > 0)


def _means(sums: Sums) -> Float[np.ndarray, "num_draws num_means"]:
    """Of the first half of the series over the second; NaN where the second is 0."""
    values, counts = np.split(sums, 2, axis=1)
    return np.divide(values, counts, out=np.full(values.shape, np.nan), where=counts > 0)


def _ratio(sums: Sums) -> Float[np.ndarray, " num_draws"]:
    infinite = np.full(len(sums), np.inf)
    return np.divide(sums[:, 0], sums[:, 1], out=infinite, where=sums[:, 1] > 0)


def _bootstrap(
    series: Sequence[Sequence[float]],
    clusters: Sequence[Hashable],
    statistic: Callable[[Sums], Float[np.ndarray, " num_draws"]],
    seed: int,
    level: float,
) -> Interval:
    """Percentile interval of a statistic of the series' sums over drawn clusters."""
    return interval_of_sums(_cluster_sums(series, clusters), statistic, seed=seed, level=level)


def interval_of_sums(
    cluster_sums: Float[np.ndarray, "num_clusters num_series"],
    statistic: Callable[[Sums], Float[np.ndarray, " num_draws"]],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic of sums over drawn clusters.

    Args:
        statistic: draws by row and summed series by column → one value per draw.

    >>> interval_of_sums(np.array([[1.0, 2.0], [1.0, 2.0]]), lambda sums: sums[:, 0] / sums[:, 1])
    Interval(estimate=0.5, low=0.5, high=0.5)
    """
    drawn = statistic(_drawn_sums(cluster_sums, seed))
    return _interval(statistic(cluster_sums.sum(axis=0, keepdims=True))[0], drawn, level)


def _interval(estimate: float, drawn: Float[np.ndarray, " num_draws"], level: float) -> Interval:
    tail = (1 - level) / 2
    # "lower" and "higher" never interpolate, so that an infinite draw does not make a NaN.
    return Interval(
        estimate=float(estimate),
        low=float(np.quantile(drawn, tail, method="lower")),
        high=float(np.quantile(drawn, 1 - tail, method="higher")),
    )


def _drawn_sums(cluster_sums: Float[np.ndarray, "num_clusters num_series"], seed: int) -> Sums:
    """Sums of each series over each draw of clusters."""
    num_clusters = len(cluster_sums)
    if num_clusters <= CACHED_CLUSTERS:
        return _times_drawn(num_clusters, seed) @ cluster_sums
    generator = np.random.default_rng(seed)
    uniform = np.full(num_clusters, 1 / num_clusters)
    parts = [
        generator.multinomial(num_clusters, uniform, size=_DRAWS_AT_ONCE) @ cluster_sums
        for _ in range(RESAMPLES // _DRAWS_AT_ONCE)
    ]
    return np.concatenate(parts)


@lru_cache(maxsize=8)  # all policies and scores of a benchmark share their draws
def _times_drawn(num_clusters: int, seed: int) -> Int64[np.ndarray, "num_draws num_clusters"]:
    """How often each cluster is in each draw of as many clusters as there are, with replacement."""
    uniform = np.full(num_clusters, 1 / num_clusters)
    return np.random.default_rng(seed).multinomial(num_clusters, uniform, size=RESAMPLES)


def _cluster_sums(
    series: Sequence[Sequence[float]], clusters: Sequence[Hashable]
) -> Float[np.ndarray, "num_clusters num_series"]:
    """Sums of each series within each cluster, clusters in their first-seen order.

    Raises:
        ValueError: no sample, or series of another length than the clusters.
    """
    lengths = {len(values) for values in series} | {len(clusters)}
    if len(lengths) > 1 or not clusters:
        raise ValueError(f"series of one length above zero are needed, got {sorted(lengths)}")
    rows = {cluster: row for row, cluster in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(rows), len(series)))
    np.add.at(sums, [rows[cluster] for cluster in clusters], np.asarray(series, dtype=float).T)
    return sums
