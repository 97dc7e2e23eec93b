"""Tests of the interval of the unknown AURC: against whole resamples, and coverage by simulation.

In-distribution images have a confidence uniform in (0.35, 0.95) and accuracy ``confidence - 0.1``; the scores
of OOD set i are those of a confidence drawn from Beta(2 + i, 3), so that the second set is nearer.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import Interval, unknown_aurc_by_score, unknown_aurc_interval

Floats = NDArray[np.float64]
Combine = Literal["pooled", "mean"]


def _images(rng: np.random.Generator, n_in: int, *n_out: int) -> tuple[Floats, Floats, list[Floats]]:
    confidence = 0.35 + 0.6 * rng.random(n_in)
    correct = (rng.random(n_in) < confidence - 0.1).astype(np.float64)
    return -confidence, correct, [-rng.beta(2 + i, 3, n) for i, n in enumerate(n_out)]


def _number(inside: Floats, correct: Floats, sets: list[Floats], combine: Combine) -> float:
    if combine == "pooled":
        return unknown_aurc_by_score(inside, correct, np.concatenate(sets))
    return float(np.mean([unknown_aurc_by_score(inside, correct, one) for one in sets]))


@cache
def _truth(combine: Combine) -> float:
    return _number(*_images(np.random.default_rng(99), 150_000, 75_000, 225_000), combine)


@pytest.mark.parametrize("combine", ["pooled", "mean"])
def test_the_interval_covers_the_true_value(combine: Combine) -> None:
    rng, covered = np.random.default_rng(0), 0
    for seed in range(300):
        found = unknown_aurc_interval(*_images(rng, 300, 150, 450), combine=combine, seed=seed, draws=200)
        covered += found.low <= _truth(combine) <= found.high
    # 200 draws aim at 94 %; the share of 300 has a standard error of 1.4 %.
    assert 0.90 <= covered / 300 <= 0.98


@pytest.mark.parametrize("combine", ["pooled", "mean"])
def test_the_interval_is_that_of_whole_resamples_of_each_group(combine: Combine) -> None:
    inside, correct, sets = _images(np.random.default_rng(1), 300, 150, 80)
    rng, drawn = np.random.default_rng(2), []
    for _ in range(1000):
        rows = rng.integers(300, size=300)
        resampled = [one[rng.integers(len(one), size=len(one))] for one in sets]
        drawn.append(_number(inside[rows], correct[rows], resampled, combine))
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = unknown_aurc_interval(inside, correct, sets, combine=combine, seed=0)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.12 * (high - low))
    assert found.method == "two-sample percentile bootstrap, 2000 draws"


def test_of_one_set_both_are_the_same() -> None:
    inside, correct, (outside,) = _images(np.random.default_rng(0), 60, 40)
    pooled = unknown_aurc_interval(inside, correct, outside, combine="pooled", seed=0)
    assert pooled == unknown_aurc_interval(inside, correct, [outside], combine="mean", seed=0)


def test_a_mean_over_sets_shares_the_in_distribution_images() -> None:
    # The same set twice: were the 30 ID images drawn apart for each, the interval would shrink.
    inside, correct, (outside,) = _images(np.random.default_rng(0), 30, 3000)
    one = unknown_aurc_interval(inside, correct, outside, combine="mean", seed=0)
    two = unknown_aurc_interval(inside, correct, [outside, outside], combine="mean", seed=0)
    assert two.high - two.low > 0.85 * (one.high - one.low)


def _of(correct: list[int]) -> Interval:
    scores = np.linspace(0, 1, len(correct))
    return unknown_aurc_interval(scores, np.array(correct), scores, combine="pooled", seed=0, draws=100)


def test_if_all_answers_are_wrong_the_interval_is_the_bound_for_the_smallest_group() -> None:
    # Clopper-Pearson at 0 of 10: 0.3085.
    found = _of([0] * 10)
    assert (found.low, found.high) == pytest.approx((1 - 0.3085, 1.0), abs=5e-5)
    assert found.method == "clopper-pearson (all 10 values equal)"


def test_what_has_no_value_has_no_interval() -> None:
    inside, correct, sets = _images(np.random.default_rng(0), 20, 10)
    with pytest.raises(UndefinedMetricError, match="scores_out is empty"):
        unknown_aurc_interval(inside, correct, [], combine="pooled", seed=0)
    with pytest.raises(UndefinedMetricError, match="scores_out is empty"):
        unknown_aurc_interval(inside, correct, [*sets, np.array([])], combine="mean", seed=0)
    with pytest.raises(UndefinedMetricError, match="differ in shape"):
        unknown_aurc_interval(inside, correct[1:], sets, combine="pooled", seed=0)
    with pytest.raises(UsageError, match="draws cannot be used"):
        unknown_aurc_interval(inside, correct, sets, combine="pooled", seed=0, draws=10)
