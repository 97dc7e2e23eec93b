"""Tests of the interval of the RMS calibration error: coverage, shown rather than claimed.

Answers are drawn with confidence uniform in (0.35, 0.95) and accuracy ``confidence - gap``, so that the
true RMS error is the gap. The seeds are 0, 1, 2 ... and were not chosen.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    Interval,
    rms_calibration_error,
    rms_calibration_error_hendrycks,
    rms_calibration_interval,
)
from robustbench_safety.metrics.calibration_intervals import LastBin, _Conditions
from robustbench_safety.metrics.resampling import blocks, draw_counts
from tests.long_checks import LONG

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


#: Drawn to count how many intervals hold the truth.
SAMPLES = 400 if LONG else 200


def _answers(
    rng: np.random.Generator, shape: int | tuple[int, int], gap: float | Floats
) -> tuple[Floats, Bools]:
    confidence = 0.35 + 0.6 * rng.random(shape)
    return confidence, rng.random(shape) < confidence - gap


def _share_covered(intervals: list[Interval], truth: float) -> float:
    return sum(interval.low <= truth <= interval.high for interval in intervals) / len(intervals)


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_the_rms_interval_covers_the_true_error(gap: float) -> None:
    rng = np.random.default_rng(0)
    covered = _share_covered(
        [rms_calibration_interval(*_answers(rng, 2000, gap), seed=r, draws=300) for r in range(SAMPLES)], gap
    )
    # Two standard errors about 95 %, 1.1 % each of 400 samples and 1.5 % each of 200.
    error = np.sqrt(0.95 * 0.05 / SAMPLES)
    assert covered >= 0.95 - 2 * error
    assert gap < 0.1 or covered <= 0.95 + 2 * error


@pytest.mark.parametrize(("n", "last_bin", "least", "most"), [
    (500, "counted", 0.91, 0.94), (500, "skipped", 0.87, 0.93),
    (240, "counted", 0.79, 0.90), (240, "skipped", 0.66, 0.88),
])  # fmt: skip
def test_of_few_bins_the_rms_interval_covers_as_little_as_is_said_of_it(
    n: int, last_bin: LastBin, least: float, most: float
) -> None:
    for gap in (0.05, 0.2):
        rng = np.random.default_rng(0)
        intervals = [
            rms_calibration_interval(*_answers(rng, n, gap), last_bin=last_bin, seed=r, draws=200)
            for r in range(SAMPLES)
        ]
        # A skipped bin takes its images out of the target.
        share = 1.0 if last_bin == "counted" else (n // 100 - 1) * 100 / n
        covered = _share_covered(intervals, gap * np.sqrt(share))
        assert least - 0.05 <= covered <= most + 0.05


@pytest.mark.parametrize("gap", [0.0, 0.05, 0.2])
def test_the_interval_of_a_mean_over_conditions_covers_the_true_mean(gap: float) -> None:
    rng = np.random.default_rng(0)
    covered = _share_covered(
        [rms_calibration_interval(*_answers(rng, (8, 1000), gap), seed=r, draws=200) for r in range(100)], gap
    )
    assert covered >= 0.93


def test_the_rms_interval_is_the_basic_interval_of_the_squared_rms() -> None:
    # Written out with whole resamples, ties among the confidences included.
    rng = np.random.default_rng(5)
    confidence, correct = _answers(rng, 500, 0.1)
    confidence = confidence.round(2)
    units = np.lexsort([confidence, correct])
    squares = []
    drawing = np.random.default_rng(9)
    for rows in blocks(200, 500):
        for counts in draw_counts(drawing, rows, 500):
            drawn = np.repeat(units, counts)
            squares.append(rms_calibration_error(confidence[drawn], correct[drawn]) ** 2)
    low, high = 2 * rms_calibration_error(confidence, correct) ** 2 - np.quantile(squares, [0.975, 0.025])
    interval = rms_calibration_interval(confidence, correct, seed=9, draws=200)
    assert (interval.low, interval.high) == pytest.approx((np.sqrt(max(0, low)), np.sqrt(high)), abs=1e-10)
    assert interval.method == "basic bootstrap of the squared RMS, 200 draws"


def test_one_condition_and_a_condition_repeated_have_one_interval() -> None:
    # Twice the same images in the same answers: nothing is averaged out.
    confidence, correct = _answers(np.random.default_rng(0), 1000, 0.1)
    one = rms_calibration_interval(confidence, correct, seed=0, draws=200)
    two = rms_calibration_interval(np.stack([confidence] * 2), np.stack([correct] * 2), seed=0, draws=200)
    assert (two.low, two.high) == pytest.approx((one.low, one.high), abs=1e-6)


def test_conditions_with_noise_of_their_own_narrow_the_interval_of_their_mean() -> None:
    confidence, correct = _answers(np.random.default_rng(0), (16, 1000), 0.2)
    one = rms_calibration_interval(confidence[0], correct[0], seed=0, draws=200)
    mean = rms_calibration_interval(confidence, correct, seed=0, draws=200)
    assert mean.high - mean.low < 0.5 * (one.high - one.low)


def test_answers_without_spread_bound_what_may_have_gone_unseen() -> None:
    # 100 right answers of confidence 1: up to 1 - 0.025^(1/100) = 3.62 % of all may be wrong.
    interval = rms_calibration_interval(np.ones(100), np.ones(100), seed=0)
    assert (interval.low, interval.high) == pytest.approx((0.0, 0.1903), abs=5e-5)
    assert interval.method == "clopper-pearson (all 100 images alike)"


def test_conditions_must_share_their_images() -> None:
    with pytest.raises(UndefinedMetricError, match="differ in shape"):
        rms_calibration_interval(np.full((2, 200), 0.5), np.ones((3, 200)), seed=0)


def test_fewer_images_than_a_bin_have_no_interval() -> None:
    with pytest.raises(UndefinedMetricError, match="too few images to bin"):
        rms_calibration_interval(np.full(99, 0.5), np.ones(99), seed=0)


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(UsageError, match="draws cannot be used"):
        rms_calibration_interval(np.full(200, 0.5), np.ones(200), seed=0, draws=10)


@pytest.mark.parametrize("digits", [1, 2, 3, 17])
def test_ties_of_any_size_give_what_whole_resamples_give_in_every_condition(digits: int) -> None:
    # Of confidences rounded to a tenth, one value fills several bins of 20 images.
    rng = np.random.default_rng(digits)
    confidence, correct = _answers(rng, (3, 200), 0.1)
    confidence = confidence.round(digits)
    conditions = _Conditions(confidence, correct.astype(np.float64), 20, "counted")
    counts = draw_counts(rng, 7, 200)
    units = np.lexsort(np.concatenate([confidence, correct]))
    for row, found in zip(counts, conditions.squared_rms(counts), strict=True):
        drawn = np.repeat(units, row)
        errors = [
            rms_calibration_error(c[drawn], y[drawn], bin_size=20)
            for c, y in zip(confidence, correct, strict=True)
        ]
        assert found == pytest.approx(np.square(errors), abs=1e-13)


def test_a_skipped_last_bin_has_no_part_in_the_interval() -> None:
    # Three of four bins count, each with gap 0.2: the target is sqrt(3 / 4) 0.2 = 0.1732.
    rng = np.random.default_rng(1)
    confidence, correct = _answers(rng, 2000, 0.2)
    conditions = _Conditions(confidence[None], correct[None].astype(np.float64), 500, "skipped")
    counts = draw_counts(rng, 5, 2000)
    units = np.lexsort([confidence, correct])
    for row, found in zip(counts, conditions.squared_rms(counts), strict=True):
        drawn = np.repeat(units, row)
        published = rms_calibration_error_hendrycks(confidence[drawn], correct[drawn], bin_size=500)
        assert found == pytest.approx([published**2], abs=1e-13)
    interval = rms_calibration_interval(
        confidence, correct, bin_size=500, last_bin="skipped", seed=0, draws=500
    )
    assert interval.low < np.sqrt(0.75) * 0.2 < interval.high
    with pytest.raises(UndefinedMetricError, match="too few images to bin"):
        rms_calibration_interval(np.full(199, 0.5), np.ones(199), last_bin="skipped", seed=0)
