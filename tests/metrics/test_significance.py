"""One-sided tests of "no drop", against scipy, lists of all patterns, and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    Interval,
    auroc,
    delong_test,
    holm_adjusted,
    intervals_test,
    mcnemar_test,
    paired_auroc_difference,
    paired_bootstrap_test,
    paired_difference,
    sign_flip_test,
)

Floats = NDArray[np.float64]


# ------------------------------------------------------------------------------------------------- McNemar


@pytest.mark.parametrize(("wrong", "right"), [(0, 0), (0, 7), (1, 0), (3, 1), (60, 40), (1000, 900), (5, 50)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_images(wrong: int, right: int) -> None:
    expected = stats.binomtest(wrong, wrong + right, 0.5, alternative="greater").pvalue if wrong else 1.0
    assert mcnemar_test(wrong, right) == pytest.approx(expected, rel=1e-10)


def test_mcnemar_worked_by_hand() -> None:
    # Five discordant images, all newly wrong: one pattern of 32. Four of five: 1 + 5 of 32.
    assert mcnemar_test(5, 0) == 1 / 32
    assert mcnemar_test(4, 1) == 6 / 32


def test_mcnemar_refuses_a_count_that_is_none() -> None:
    for counts in ((-1, 3), (3, -1), (True, 1)):
        with pytest.raises(UsageError):
            mcnemar_test(*counts)


# ----------------------------------------------------------------------------------------------- sign flips


def listed(differences: Floats) -> float:
    """Return the share of all sign patterns whose sum is at least the one seen, pattern by pattern."""
    sizes = np.abs(differences[differences != 0])
    patterns = list(itertools.product((-1, 1), repeat=len(sizes)))
    sums = [math.fsum(sign * size for sign, size in zip(signs, sizes, strict=True)) for signs in patterns]
    return sum(value >= math.fsum(differences) - 1e-12 for value in sums) / len(patterns)


@pytest.mark.parametrize("seed", range(6))
def test_few_units_are_tested_by_all_patterns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = rng.integers(-3, 4, size=9) / 4
    assert sign_flip_test(differences, seed=0) == pytest.approx(listed(differences), abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 8])
def test_many_units_agree_with_the_permutation_test_of_scipy(decimals: int) -> None:
    # With one decimal there are few sizes, whose signs are drawn as counts; with eight as many as units.
    differences = np.random.default_rng(1).normal(0.02, 0.3, 400).round(decimals)
    found = sign_flip_test(differences, seed=0, draws=5_000)
    reference = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", alternative="greater", n_resamples=5_000,
        vectorized=True, rng=np.random.default_rng(5),
    )  # fmt: skip
    # Two shares of 5,000 draws: three standard errors of their difference.
    p = float(reference.pvalue)
    assert found == pytest.approx(p, abs=3 * math.sqrt(2 * p * (1 - p) / 5_000))
    assert 0.01 < p < 0.99


def test_the_same_seed_gives_the_same_p_value_in_any_order() -> None:
    differences = np.random.default_rng(2).normal(0.0, 1.0, 300)
    shuffled = np.random.default_rng(3).permutation(differences)
    assert sign_flip_test(differences, seed=7) == sign_flip_test(shuffled, seed=7)
    assert sign_flip_test(differences, seed=7) != sign_flip_test(differences, seed=8)


def test_a_p_value_of_random_patterns_is_never_zero() -> None:
    assert sign_flip_test(np.ones(1000), seed=0, draws=999) == 1 / 1000


def test_units_without_a_difference_say_nothing() -> None:
    differences = np.array([0.5, 0.25, -0.125])
    padded = np.concatenate([differences, np.zeros(5000)])
    assert sign_flip_test(padded, seed=0) == sign_flip_test(differences, seed=0)
    assert sign_flip_test(np.zeros(10), seed=0) == 1.0


def test_groups_are_added_by_their_means() -> None:
    # One unit of 1 in two, and one of 1 in a hundred against it: 0.5 - 0.01. Only + + and + - reach that.
    small, large = np.array([1.0, 0.0]), np.append(-1.0, np.zeros(99))
    assert sign_flip_test([small, large], seed=0) == 0.5
    assert sign_flip_test([-small, -large], seed=0) == 1.0 - 0.25
    assert sign_flip_test([small, -large], seed=0) == 0.25


def test_a_million_units_need_no_memory_of_a_million_draws() -> None:
    differences = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], size=1_000_000)
    assert 0 < sign_flip_test(differences, seed=0, draws=1000) <= 1


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_equal_models_are_found_worse_no_more_often_than_the_level(spread: float) -> None:
    # 600 pairs without a true difference: at 5 % 30 are expected, 44 are 2.6 standard deviations above.
    rng = np.random.default_rng(11)
    hits = 0
    for seed in range(600):
        differences = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=200)
        differences += spread * rng.normal(size=200)
        hits += sign_flip_test(differences, seed=seed, draws=400) <= 0.05
    assert 12 <= hits <= 44


# ------------------------------------------------------------------------------------------------ bootstrap


def test_the_bootstrap_of_one_group_has_the_interval_of_the_paired_difference() -> None:
    a, b = np.random.default_rng(0).random((2, 500))
    found, known = paired_bootstrap_test(a - b, seed=4), paired_difference(a, b, seed=4)
    assert found.interval == known.interval


def test_the_bootstrap_finds_what_the_t_test_finds_of_many_units() -> None:
    differences = np.random.default_rng(3).normal(0.05, 1.0, 2000)
    expected = stats.ttest_1samp(differences, 0, alternative="greater").pvalue
    found = paired_bootstrap_test(differences, seed=0, draws=20_000, largest=10.0)
    assert found.p_value == pytest.approx(expected, abs=0.003)


def test_groups_are_drawn_apart() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(0.1, 1.0, 400), rng.normal(0.0, 2.0, 900)
    found = paired_bootstrap_test([first, second], seed=0, largest=10.0)
    spread = math.sqrt(first.var() / 400 + second.var() / 900)
    width = found.interval.high - found.interval.low
    assert width == pytest.approx(2 * 1.96 * spread, rel=0.06)
    assert (found.interval.low + found.interval.high) / 2 == pytest.approx(
        first.mean() + second.mean(), abs=0.01
    )


def test_units_that_are_all_alike_are_bounded_and_signed() -> None:
    none = paired_bootstrap_test(np.zeros(10), seed=0)
    assert none.p_value == 1.0
    assert none.interval.low == -none.interval.high != 0
    assert paired_bootstrap_test(np.full(10, 0.5), seed=0).p_value == 2**-10
    assert paired_bootstrap_test(np.full(10, -0.5), seed=0).p_value == 1.0
    assert paired_bootstrap_test(np.full(10, 4.0), seed=0, largest=15.0).interval.high > 4.0


# --------------------------------------------------------------------------------------- DeLong, intervals


def test_delong_is_the_interval_turned_round() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0, 1, 300), [rng.normal(1, 1, 200), rng.normal(2, 1, 150)]
    other, others = inside + rng.normal(0, 0.5, 300), [one + rng.normal(0, 0.5, len(one)) for one in outside]
    p_value = delong_test(inside, outside, other, others)
    # The p-value is that level at which the interval begins to hold 0.
    found = paired_auroc_difference(inside, outside, other, others, level=1 - 2 * p_value)
    assert found.interval.low == pytest.approx(0.0, abs=1e-12)
    assert delong_test(other, others, inside, outside) == pytest.approx(1 - p_value)


def test_delong_agrees_with_a_permutation_of_the_two_models() -> None:
    # Exchanged image by image, the two models are equally good: the share of exchanges with as large a drop.
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(0, 1, 120), rng.normal(1, 1, 120)
    pairs_in = np.stack([inside, inside + rng.normal(0.1, 0.6, 120)])
    pairs_out = np.stack([outside, outside + rng.normal(0, 0.6, 120)])
    seen = auroc(pairs_in[0], pairs_out[0]) - auroc(pairs_in[1], pairs_out[1])
    hits = 0
    for _ in range(1000):
        i, o = rng.integers(2, size=120), rng.integers(2, size=120)
        first = auroc(pairs_in[i, np.arange(120)], pairs_out[o, np.arange(120)])
        second = auroc(pairs_in[1 - i, np.arange(120)], pairs_out[1 - o, np.arange(120)])
        hits += first - second >= seen
    found = delong_test(pairs_in[0], pairs_out[0], pairs_in[1], pairs_out[1])
    assert found == pytest.approx(hits / 1000, abs=0.05)


def test_delong_without_spread_is_the_sign_test() -> None:
    low, high = np.arange(5.0), np.arange(10.0, 14.0)
    assert delong_test(low, high, low, high) == 1.0  # both perfect
    assert delong_test(low, high, high[:4].repeat(2)[:5], low[:4]) == 2**-4  # perfect, and always wrong
    with pytest.raises(UndefinedMetricError, match="too small"):
        delong_test(low[:1], high, low[:1], high)


def test_two_intervals_are_a_z_test_of_independent_estimates() -> None:
    first = Interval(low=0.18, high=0.22, method="mine", level=0.95)
    second = Interval(low=0.20, high=0.26, method="mine", level=0.95)
    z = 0.03 / (math.hypot(0.02, 0.03) / stats.norm.ppf(0.975))
    assert intervals_test(0.20, first, 0.23, second) == pytest.approx(stats.norm.sf(z))
    assert intervals_test(0.23, first, 0.20, second) == pytest.approx(stats.norm.cdf(z))
    narrow = Interval(low=0.2, high=0.2, method="mine", level=0.95)
    with pytest.raises(UndefinedMetricError, match="no width"):
        intervals_test(0.2, narrow, 0.2, narrow)


# ----------------------------------------------------------------------------------------------------- Holm


def test_holm_worked_by_hand() -> None:
    # 0.01 of four: 0.04. 0.02 of three: 0.06. 0.04 of two: 0.08. 0.03 of ... the last keeps the largest.
    assert holm_adjusted([0.04, 0.01, 0.5, 0.02]) == pytest.approx([0.08, 0.04, 0.5, 0.06])
    assert holm_adjusted([0.5, 0.5]) == [1.0, 1.0]
    assert holm_adjusted([]) == []


@pytest.mark.parametrize("seed", range(20))
def test_an_adjusted_p_value_is_below_the_level_where_holm_rejects(seed: int) -> None:
    p_values = (np.random.default_rng(seed).random(6) ** 3).tolist()
    rejected = set()
    for rank, place in enumerate(sorted(range(6), key=p_values.__getitem__)):
        if p_values[place] > 0.05 / (6 - rank):
            break
        rejected.add(place)
    assert {i for i, p in enumerate(holm_adjusted(p_values)) if p <= 0.05} == rejected


def test_what_is_no_p_value_is_refused() -> None:
    for bad in (-0.1, 1.1, math.nan):
        with pytest.raises(UndefinedMetricError):
            holm_adjusted([0.5, bad])


def test_differences_that_are_none_are_refused() -> None:
    for test in (sign_flip_test, paired_bootstrap_test):
        with pytest.raises(UndefinedMetricError, match="one group"):
            test([], seed=0)
        with pytest.raises(UndefinedMetricError, match="empty"):
            test([np.ones(3), np.ones(0)], seed=0)
        with pytest.raises(UsageError):
            test(np.ones(3), seed=0, draws=5)
