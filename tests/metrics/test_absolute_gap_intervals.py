"""Tests of the intervals of ECE and MAD: coverage, shown rather than claimed.

Answers are drawn with confidence uniform in (0.35, 0.95) and accuracy ``confidence - gap``, so that the
true ECE and the true MAD are the gap, in any bins. The seeds are 0, 1, 2 ... and were not chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    Interval,
    ece_interval,
    expected_calibration_error,
    mean_absolute_calibration_error,
    mean_absolute_calibration_error_hendrycks,
    mean_absolute_calibration_interval,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Make = Callable[..., Interval]

EQUAL_MASS: Make = partial(ece_interval, binning="equal_mass")
INTERVALS = pytest.mark.parametrize("make", [ece_interval, EQUAL_MASS, mean_absolute_calibration_interval])


def _answers(
    rng: np.random.Generator, shape: int | tuple[int, int], gap: float | Floats
) -> tuple[Floats, Bools]:
    confidence = 0.35 + 0.6 * rng.random(shape)
    return confidence, rng.random(shape) < confidence - gap


def _share_covered(intervals: list[Interval], truth: float) -> float:
    return sum(interval.low <= truth <= interval.high for interval in intervals) / len(intervals)


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.05, 0.1, 0.2])
@pytest.mark.parametrize(("make", "at_most"), [(ece_interval, 0.97), (EQUAL_MASS, 0.98)])
def test_the_ece_interval_covers_the_true_error(make: Make, at_most: float, gap: float) -> None:
    rng = np.random.default_rng(0)
    covered = _share_covered([make(*_answers(rng, 2000, gap), seed=r, draws=300) for r in range(400)], gap)
    assert covered >= 0.93
    assert gap < 0.1 or covered <= at_most


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_the_mad_interval_covers_the_true_error(gap: float) -> None:
    # Bins of 100 images: a gap of 0.1 is twice its noise, and its interval still has some to spare.
    rng = np.random.default_rng(0)
    made = [
        mean_absolute_calibration_interval(*_answers(rng, 2000, gap), seed=r, draws=300) for r in range(400)
    ]
    covered = _share_covered(made, gap)
    assert covered >= 0.93
    assert gap < 0.2 or covered <= 0.98


@INTERVALS
@pytest.mark.parametrize("gap", [0.0, 0.05, 0.2])
def test_the_interval_of_a_mean_over_conditions_covers_the_true_mean(make: Make, gap: float) -> None:
    rng = np.random.default_rng(0)
    made = [make(*_answers(rng, (8, 1000), gap), seed=r, draws=200) for r in range(150)]
    assert _share_covered(made, gap) >= 0.93


@INTERVALS
def test_images_that_are_hard_in_all_conditions_do_not_average_out(make: Make) -> None:
    # The same images in the same answers, twice: nothing is learnt from the second time.
    confidence, correct = _answers(np.random.default_rng(0), 1000, 0.1)
    one = make(confidence, correct, seed=0, draws=200)
    two = make(np.stack([confidence] * 2), np.stack([correct] * 2), seed=0, draws=200)
    assert (two.low, two.high) == pytest.approx((one.low, one.high), abs=1e-12)
    assert two.method == f"{one.method}, mean over 2 conditions"
    fresh = make(*_answers(np.random.default_rng(1), (16, 1000), 0.1), seed=0, draws=200)
    assert fresh.high - fresh.low < 0.8 * (one.high - one.low)


@INTERVALS
@pytest.mark.parametrize("digits", [1, 2, 17])
def test_the_signed_gaps_add_up_to_the_error_ties_included(make: Make, digits: int) -> None:
    # Resampled very often, the middle of a mean's draws is the mean: here the error of the sample.
    confidence, correct = _answers(np.random.default_rng(digits), 1000, 0.2)
    confidence = confidence.round(digits)
    metrics: dict[Make, Callable[..., float]] = {
        ece_interval: expected_calibration_error,
        EQUAL_MASS: partial(expected_calibration_error, binning="equal_mass"),
        mean_absolute_calibration_interval: mean_absolute_calibration_error,
    }
    above = [make(confidence, correct, seed=s, draws=2000, level=0.02).high for s in range(5)]
    assert np.mean(above) == pytest.approx(metrics[make](confidence, correct), abs=1.5e-3)


def test_a_skipped_last_bin_has_no_part_in_the_interval() -> None:
    # As for the RMS: of two bins, with gaps 0.2 and 0.85, the first counts, over all of N: 0.1.
    rng = np.random.default_rng(1)
    confidence = np.concatenate([0.35 + 0.1 * rng.random(1000), 0.8 + 0.1 * rng.random(1000)])
    correct = rng.random(2000) < np.where(confidence < 0.5, confidence - 0.2, 0.0)
    found = mean_absolute_calibration_interval(
        confidence, correct, bin_size=1000, last_bin="skipped", seed=0, draws=500
    )
    published = mean_absolute_calibration_error_hendrycks(confidence, correct, bin_size=1000)
    assert found.low < published < found.high
    assert found.low < 0.1 < found.high < 0.15
    with pytest.raises(UndefinedMetricError, match="too few images to bin"):
        mean_absolute_calibration_interval(np.full(199, 0.5), np.ones(199), last_bin="skipped", seed=0)


def test_answers_without_spread_bound_what_may_have_gone_unseen() -> None:
    # 100 right answers of confidence 1: up to 1 - 0.025^(1/100) = 3.62 % of all may be wrong.
    for make in (ece_interval, mean_absolute_calibration_interval):
        interval = make(np.ones(100), np.ones(100), seed=0)
        assert (interval.low, interval.high) == pytest.approx((0.0, 0.0362), abs=5e-5)


def test_the_upper_end_of_the_ece_is_that_of_the_mean_gap_where_all_bins_are_overconfident() -> None:
    # One bin, confidence 0.9, half of 400 answers right: ECE 0.4 = mean gap, far above its noise of 0.025.
    confidence, correct = np.full(400, 0.9), np.repeat([0, 1], 200)
    interval = ece_interval(confidence, correct, seed=0)
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.4, abs=1e-12)
    assert interval.high == pytest.approx(0.4 + 1.96 * 0.025, abs=0.005)
    # The lower end also gives back what noise adds to the gap: 0.4 - sqrt(0.4^2 - 0.025^2) = 0.0008.
    assert interval.low == pytest.approx(0.4 - 1.96 * 0.025 - 0.0008, abs=0.005)


def test_fewer_images_than_a_bin_have_no_interval() -> None:
    with pytest.raises(UndefinedMetricError, match="too few images to bin"):
        mean_absolute_calibration_interval(np.full(99, 0.5), np.ones(99), seed=0)


@INTERVALS
def test_conditions_must_share_their_images(make: Make) -> None:
    with pytest.raises(UndefinedMetricError, match="differ in shape"):
        make(np.full((2, 200), 0.5), np.ones((3, 200)), seed=0)


@INTERVALS
def test_too_few_draws_are_refused(make: Make) -> None:
    with pytest.raises(UsageError, match="draws cannot be used"):
        make(np.full(200, 0.5), np.ones(200), seed=0, draws=10)


def test_unknown_bins_are_refused() -> None:
    with pytest.raises(UsageError, match="binning cannot be used; expected equal_width or equal_mass"):
        ece_interval(np.full(200, 0.5), np.ones(200), binning="equal", seed=0)  # type: ignore[arg-type]  # wrong on purpose
