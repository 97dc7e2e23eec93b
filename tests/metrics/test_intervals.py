"""Tests of the intervals of rates and means."""

import numpy as np
import pytest
from scipy.stats import binomtest

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    auroc,
    bootstrap_interval,
    clopper_pearson_interval,
    paired_difference,
    two_sample_bootstrap_interval,
    wilson_interval,
)


def test_wilson_interval_of_nothing_in_ten() -> None:
    # z = 1.959964: high = z^2 / (n + z^2) = 3.8415 / 13.8415.
    interval = wilson_interval(0, 10)
    assert (interval.low, interval.high) == pytest.approx((0.0, 3.841459 / 13.841459), abs=1e-7)
    assert interval.low == 0.0
    assert wilson_interval(10, 10).high == 1.0


def test_clopper_pearson_interval_of_nothing_in_ten() -> None:
    # The rate at which 0 of 10 has chance 0.025: 1 - 0.025^(1/10).
    interval = clopper_pearson_interval(0, 10)
    assert (interval.low, interval.high) == pytest.approx((0.0, 1 - 0.025**0.1), abs=1e-12)


@pytest.mark.parametrize(("n_events", "n"), [(0, 1), (1, 1), (3, 10), (50, 10_000), (9_999, 10_000)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_count_intervals_agree_with_scipy(n_events: int, n: int, level: float) -> None:
    oracle = binomtest(n_events, n)
    wilson, exact = oracle.proportion_ci(level, "wilson"), oracle.proportion_ci(level, "exact")
    ours = wilson_interval(n_events, n, level=level)
    assert (ours.low, ours.high) == pytest.approx((wilson.low, wilson.high), abs=1e-12)
    ours = clopper_pearson_interval(n_events, n, level=level)
    assert (ours.low, ours.high) == pytest.approx((exact.low, exact.high), abs=1e-12)


@pytest.mark.parametrize("interval", [wilson_interval, clopper_pearson_interval])
@pytest.mark.parametrize(("n_events", "n"), [(0, 0), (-1, 5), (6, 5), (1.5, 5), (1, 5.5)])
def test_a_count_must_be_part_of_its_total(interval: type, n_events: int, n: int) -> None:
    with pytest.raises(UndefinedMetricError, match="no part of its total"):
        interval(n_events, n)


def test_the_bootstrap_of_two_values_has_three_possible_means() -> None:
    # Draws of two from {0, 1}: means 0, 1/2, 1 with chances 1/4, 1/2, 1/4; each tail holds more than 2.5 %.
    interval = bootstrap_interval(np.array([0.0, 1.0]), seed=0)
    assert (interval.low, interval.high) == (0.0, 1.0)
    narrow = bootstrap_interval(np.array([0.0, 1.0]), seed=0, level=0.4)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_the_bootstrap_is_about_as_wide_as_the_normal_interval() -> None:
    values = np.random.default_rng(0).beta(1, 5, 4000)
    interval = bootstrap_interval(values, seed=0)
    reach = 1.96 * values.std() / np.sqrt(4000)
    assert interval.low == pytest.approx(values.mean() - reach, abs=0.05 * reach)
    assert interval.high == pytest.approx(values.mean() + reach, abs=0.05 * reach)


def test_the_bootstrap_covers_the_mean_of_skewed_values_about_as_often_as_it_says() -> None:
    # Binomial noise of 400 trials at 95 %: standard deviation 1.1 points.
    rng = np.random.default_rng(1)
    covered = 0
    for repeat in range(400):
        interval = bootstrap_interval(rng.beta(1, 4, 400), seed=repeat, draws=400)
        covered += interval.low <= 0.2 <= interval.high
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.parametrize(
    ("value", "low", "high"), [(0.0, 0.0, 0.3085), (1.0, 0.6915, 1.0), (0.5, 0.3458, 0.6542)]
)
def test_values_without_spread_get_the_share_that_may_have_gone_unseen(
    value: float, low: float, high: float
) -> None:
    # Up to 1 - 0.025^(1/10) = 0.3085 of all units may differ, by as much as the range allows.
    interval = bootstrap_interval(np.full(10, value), seed=0)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert interval.method == "clopper-pearson (all 10 values equal)"


def test_values_without_spread_outside_the_fractions_have_no_interval() -> None:
    with pytest.raises(UndefinedMetricError, match="no spread"):
        bootstrap_interval(np.full(10, 3.0), seed=0)


def test_one_seed_gives_one_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_pairing_takes_out_what_both_models_find_hard() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(500)
    result = paired_difference(hard + 0.01 * rng.random(500), hard, seed=0)
    assert result.difference == pytest.approx(0.005, abs=5e-4)
    assert 0.004 < result.interval.low < result.difference < result.interval.high < 0.006


def test_two_models_that_agree_on_all_units_may_still_differ_on_unseen_ones() -> None:
    # 0 of 10 differ: at most 0.3085 of all do, each by at most 1 either way.
    values = np.random.default_rng(0).random(10)
    result = paired_difference(values, values, seed=0)
    assert result.difference == 0.0
    assert (result.interval.low, result.interval.high) == pytest.approx((-0.3085, 0.3085), abs=5e-5)


def test_units_that_are_not_shared_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="differ in length"):
        paired_difference(np.zeros(3), np.zeros(4), seed=0)


def test_in_and_out_of_distribution_are_resampled_apart() -> None:
    rng = np.random.default_rng(0)
    sizes = set()

    def spy(
        inside: np.ndarray[tuple[int], np.dtype[np.float64]],
        outside: np.ndarray[tuple[int], np.dtype[np.float64]],
    ) -> float:
        sizes.add((len(inside), len(outside)))
        assert inside.max() < 0.5 < outside.min()
        return float(outside.mean())

    interval = two_sample_bootstrap_interval(
        spy, rng.random(30) / 2, 0.6 + 0.2 * rng.random(20), seed=0, draws=100
    )
    assert sizes == {(30, 20)}
    assert 0.6 < interval.low < interval.high < 0.8


def test_a_separation_without_a_mistake_gets_an_exact_bound() -> None:
    interval = two_sample_bootstrap_interval(auroc, np.zeros(50), np.ones(10), seed=0, draws=100)
    assert (interval.low, interval.high) == pytest.approx((0.6915, 1.0), abs=5e-5)
    assert interval.method == "clopper-pearson (all 10 values equal)"


@pytest.mark.parametrize("option", [{"draws": 99}, {"level": 1.0}, {"level": 0.0}, {"seed": -1}])
def test_options_that_draw_no_interval_are_refused(option: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        bootstrap_interval(np.array([0.0, 1.0]), **{"seed": 0, **option})
