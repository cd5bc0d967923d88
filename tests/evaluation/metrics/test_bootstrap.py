import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixsearch.evaluation.metrics.bootstrap import (
    difference_interval,
    mean_interval,
    ratio_interval,
)

SERIES = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=30)


@settings(deadline=None)
@given(SERIES)
def test_the_same_seed_gives_the_same_interval_around_the_estimate(values):
    clusters = list(range(len(values)))
    interval = mean_interval(values, clusters)
    assert interval == mean_interval(values, clusters)
    assert interval.low <= interval.estimate <= interval.high


def test_width_agrees_with_the_normal_approximation():
    values = ([1.0] * 3 + [0.0] * 7) * 100
    interval = mean_interval(values, list(range(1000)))
    half_width = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert interval.high - interval.estimate == pytest.approx(half_width, rel=0.1)
    assert interval.estimate - interval.low == pytest.approx(half_width, rel=0.1)


def test_dependent_samples_widen_the_interval():
    values = [1.0] * 50 + [0.0] * 50
    alone = mean_interval(values, list(range(100)))
    in_tens = mean_interval(values, [index // 10 for index in range(100)])
    assert in_tens.high - in_tens.low > 2 * (alone.high - alone.low)


def test_pairing_takes_out_what_both_share():
    generator = np.random.default_rng(0)
    shared = [float(value) for value in generator.integers(0, 2, 200)]
    interval = difference_interval(shared, shared, list(range(200)))
    assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)


def test_ratio_by_hand():
    interval = ratio_interval([1.0, 1.0, 0.0], [1.0, 0.0, 0.0], ["a", "b", "c"])
    assert interval.estimate == 2
    assert interval.high == np.inf  # draws without a right answer below the line


@pytest.mark.parametrize(("values", "clusters"), [([], []), ([1.0], ["a", "b"])])
def test_no_samples_or_unequal_lengths_are_refused(values, clusters):
    with pytest.raises(ValueError, match="one length above zero"):
        mean_interval(values, clusters)
