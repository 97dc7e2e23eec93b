"""Tests of the difference of two numbers that were measured on different images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics import (
    Interval,
    bootstrap_interval,
    independent_difference,
    wilson_interval,
)


def interval(low: float, high: float, *, level: float = 0.95) -> Interval:
    return Interval(low=low, high=high, method="by hand", level=level)


def of_counts(a: int, m: int, b: int, n: int) -> Interval:
    return independent_difference(a / m, wilson_interval(a, m), b / n, wilson_interval(b, n))


def test_the_reaches_towards_each_side_are_squared_and_added() -> None:
    # Down: the first falls by 0.3 and the second rises by 0.4, the root of 0.09 + 0.16 = 0.25 is 0.5.
    # Up: the first rises by 0.05 and the second falls by 0.12, the root of 0.0025 + 0.0144 is 0.13.
    found = independent_difference(0.5, interval(0.2, 0.55), 0.3, interval(0.18, 0.7))
    assert (found.low, found.high) == pytest.approx((0.2 - 0.5, 0.2 + 0.13), abs=1e-15)
    assert (found.level, found.method) == (0.95, "square-and-add of by hand and by hand")


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),  # (a)
        ((9, 10, 3, 10), 0.1705, 0.8090),  # (b)
        ((5, 56, 0, 29), -0.0381, 0.1926),  # (e)
        ((0, 10, 0, 20), -0.1611, 0.2775),  # (f)
        ((10, 10, 0, 20), 0.6791, 1.0),  # (g)
        ((10, 10, 0, 10), 0.6075, 1.0),  # (h)
    ],
)
def test_differences_of_rates_are_those_of_newcombe_s_table(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    # Newcombe 1998, table II, method 10: score intervals without continuity correction.
    found = of_counts(*counts)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def score_limits(events: int, n: int) -> tuple[float, float]:
    """Return the rates from which the count is 1.96 standard deviations away, found by bisection."""
    rate = events / n

    def miss(p: float) -> float:
        return (rate - p) ** 2 * n - 1.959963984540054**2 * p * (1 - p)

    # At 0 and 1 the miss is zero too, and no limit.
    low = 0.0 if events == 0 else float(brentq(miss, 1e-15, min(rate, 1 - 1e-9), xtol=1e-15))
    high = 1.0 if events == n else float(brentq(miss, max(rate, 1e-9), 1 - 1e-15, xtol=1e-15))
    return low, high


@pytest.mark.parametrize("counts", [(7500, 7500, 300, 10_000), (1, 40, 39, 41), (17, 850, 90, 850)])
def test_the_ends_agree_with_limits_found_by_bisection(counts: tuple[int, int, int, int]) -> None:
    a, m, b, n = counts
    (low_a, high_a), (low_b, high_b) = score_limits(a, m), score_limits(b, n)
    difference = a / m - b / n
    found = of_counts(*counts)
    assert found.low == pytest.approx(difference - math.hypot(a / m - low_a, high_b - b / n), abs=1e-9)
    assert found.high == pytest.approx(difference + math.hypot(high_a - a / m, b / n - low_b), abs=1e-9)


def test_of_symmetric_intervals_it_is_the_normal_interval_of_a_difference() -> None:
    # Standard errors 0.03 and 0.04 make 0.05.
    z = 1.96
    found = independent_difference(
        0.6, interval(0.6 - 0.03 * z, 0.6 + 0.03 * z), 0.1, interval(0.1 - 0.04 * z, 0.1 + 0.04 * z)
    )
    assert (found.low, found.high) == pytest.approx((0.5 - 0.05 * z, 0.5 + 0.05 * z), abs=1e-15)


def test_it_contains_nothing_that_an_exact_second_number_would_not_leave() -> None:
    found = independent_difference(0.7, interval(0.6, 0.9), 0.2, interval(0.2, 0.2))
    assert (found.low, found.high) == pytest.approx((0.4, 0.7), abs=1e-15)


def test_a_number_outside_its_own_interval_adds_nothing_on_that_side() -> None:
    # The first lies below its interval: it can only rise, by 0.2.
    found = independent_difference(0.1, interval(0.2, 0.3), 0.0, interval(0.0, 0.0))
    assert (found.low, found.high) == pytest.approx((0.1, 0.3), abs=1e-15)
    # The second lies above its own: the difference can only rise, by 0.3.
    found = independent_difference(0.0, interval(0.0, 0.0), 0.9, interval(0.6, 0.8))
    assert (found.low, found.high) == pytest.approx((-0.9, -0.6), abs=1e-15)


counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(first=counts, second=counts)
def test_it_holds_the_difference_lies_within_the_range_and_turns_with_the_sign(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    found, turned = of_counts(*first, *second), of_counts(*second, *first)
    difference = first[0] / first[1] - second[0] / second[1]
    assert -1 <= found.low <= difference <= found.high <= 1
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low), abs=1e-15)
    alone = [wilson_interval(*pair) for pair in (first, second)]
    assert found.high - found.low >= max(one.high - one.low for one in alone) - 1e-12


@pytest.mark.parametrize(
    ("rate_a", "m", "rate_b", "n"), [(0.9, 75, 0.2, 500), (0.05, 200, 0.04, 1000), (0.5, 40, 0.5, 40)]
)
def test_differences_of_rates_are_covered_about_as_often_as_they_say(
    rate_a: float, m: int, rate_b: float, n: int
) -> None:
    # Binomial noise of 2,000 trials at 95 %: standard deviation half a point.
    rng = np.random.default_rng(0)
    covered = 0
    for a, b in zip(rng.binomial(m, rate_a, 2000), rng.binomial(n, rate_b, 2000), strict=True):
        found = of_counts(int(a), m, int(b), n)
        covered += found.low <= rate_a - rate_b <= found.high
    assert 0.93 <= covered / 2000 <= 0.98


def test_differences_of_means_with_bootstrap_intervals_are_covered_too() -> None:
    # Error rates of images over conditions, against a rate: 600 trials have a standard deviation of 0.9.
    rng = np.random.default_rng(1)
    covered = 0
    for repeat in range(600):
        values, events = rng.beta(1, 3, 200), int(rng.binomial(300, 0.1))
        found = independent_difference(
            float(values.mean()),
            bootstrap_interval(values, seed=repeat, draws=400),
            events / 300,
            wilson_interval(events, 300),
        )
        covered += found.low <= 0.25 - 0.1 <= found.high
    assert 0.93 <= covered / 600 <= 0.98


def test_intervals_of_different_levels_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match=r"different levels; expected 0\.95; found 0\.9"):
        independent_difference(0.5, interval(0.4, 0.6), 0.5, interval(0.4, 0.6, level=0.9))
