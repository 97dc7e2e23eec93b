"""Tests of calibration in equal-count bins."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    maximum_calibration_error,
    maximum_calibration_error_hendrycks,
    mean_absolute_calibration_error,
    mean_absolute_calibration_error_hendrycks,
    rms_calibration_error,
    rms_calibration_error_hendrycks,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PLAIN = (rms_calibration_error, mean_absolute_calibration_error, maximum_calibration_error)
PUBLISHED = (
    rms_calibration_error_hendrycks,
    mean_absolute_calibration_error_hendrycks,
    maximum_calibration_error_hendrycks,
)


def _golden_answers() -> tuple[Floats, Bools]:
    i = np.arange(1050)
    confidence = (389 * i % 1051 + 0.5) / 1051
    return confidence, (577 * i % 1051) / 1051 < confidence


def _published(confidence: Floats, correct: Bools, p: str, beta: int) -> float:
    """Transcribe ``calib_err`` of ``calibration_tools.py``, its loop over all but one bin included."""
    order = np.argsort(confidence, kind="stable")
    conf, right = confidence[order].tolist(), correct[order].tolist()
    bins = [[i * beta, (i + 1) * beta] for i in range(len(conf) // beta)]
    bins[-1][1] = len(conf)
    error = 0.0
    for i in range(len(bins) - 1):
        first, end = bins[i]
        gap = abs(sum(conf[first:end]) / (end - first) - sum(right[first:end]) / (end - first))
        if p == "2":
            error += (end - first) / len(conf) * gap**2
        elif p == "1":
            error += (end - first) / len(conf) * gap
        else:
            error = max(error, gap)
    return math.sqrt(error) if p == "2" else error


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (rms_calibration_error_hendrycks, 0.0114201861),
        (mean_absolute_calibration_error_hendrycks, 0.0085433374),
        (maximum_calibration_error_hendrycks, 0.0254424358),
        (rms_calibration_error, 0.0114445008),
        (mean_absolute_calibration_error, 0.0088251552),
        (maximum_calibration_error, 0.0254424358),
    ],
)
def test_the_measure_matches_the_golden_answers(metric: Callable[..., float], expected: float) -> None:
    assert metric(*_golden_answers()) == pytest.approx(expected, abs=5e-11)


def test_all_bins_count_and_the_last_one_holds_the_rest() -> None:
    # Bins of 2: {0.2, 0.4} right 0 of 2, gap 0.3; {0.6, 0.8, 1.0} right 3 of 3, gap -0.2, weight 3/5.
    confidence, correct = np.array([0.4, 1.0, 0.2, 0.6, 0.8]), np.array([0, 1, 0, 1, 1])
    rms = math.sqrt(2 / 5 * 0.3**2 + 3 / 5 * 0.2**2)
    assert rms_calibration_error(confidence, correct, bin_size=2) == pytest.approx(rms, abs=1e-15)
    mad = mean_absolute_calibration_error(confidence, correct, bin_size=2)
    assert mad == pytest.approx(2 / 5 * 0.3 + 3 / 5 * 0.2, abs=1e-15)
    assert maximum_calibration_error(confidence, correct, bin_size=2) == pytest.approx(0.3, abs=1e-15)


def test_the_published_forms_skip_the_most_confident_bin_and_keep_the_full_count() -> None:
    # As above without the second bin, but still over N = 5.
    answers = np.array([0.4, 1.0, 0.2, 0.6, 0.8]), np.array([0, 1, 0, 1, 1])
    rms = rms_calibration_error_hendrycks(*answers, bin_size=2)
    assert rms == pytest.approx(math.sqrt(2 / 5) * 0.3, abs=1e-15)
    mad = mean_absolute_calibration_error_hendrycks(*answers, bin_size=2)
    assert mad == pytest.approx(2 / 5 * 0.3, abs=1e-15)
    assert maximum_calibration_error_hendrycks(*answers, bin_size=2) == pytest.approx(0.3, abs=1e-15)


@pytest.mark.parametrize("n", [200, 299, 1234])
def test_the_published_forms_agree_with_the_published_code_ties_included(n: int) -> None:
    rng = np.random.default_rng(n)
    confidence = rng.random(n).round(2)
    correct = rng.random(n) < confidence**2
    for metric, p in zip(PUBLISHED, ("2", "1", "infty"), strict=True):
        assert metric(confidence, correct) == pytest.approx(
            _published(confidence, correct, p, 100), abs=1e-13
        )


def test_without_ties_the_plain_forms_add_the_last_bin_to_the_published_ones() -> None:
    rng = np.random.default_rng(1)
    confidence, correct = np.sort(rng.random(1050)), rng.random(1050) < 0.5
    gap = confidence[900:].mean() - correct[900:].mean()
    rms = math.hypot(rms_calibration_error_hendrycks(confidence, correct), gap * math.sqrt(150 / 1050))
    assert rms_calibration_error(confidence, correct) == pytest.approx(rms, abs=1e-13)
    mad = mean_absolute_calibration_error_hendrycks(confidence, correct) + abs(gap) * 150 / 1050
    assert mean_absolute_calibration_error(confidence, correct) == pytest.approx(mad, abs=1e-13)
    largest = max(maximum_calibration_error_hendrycks(confidence, correct), abs(gap))
    assert maximum_calibration_error(confidence, correct) == pytest.approx(largest, abs=1e-13)


def test_tied_answers_spread_evenly_over_the_bins_they_fill() -> None:
    # 200 answers of confidence 0.5, half of them right: both bins have gap 0, however the file is sorted.
    confidence, correct = np.full(200, 0.5), np.repeat([0, 1], 100)
    assert rms_calibration_error(confidence, correct) == 0.0
    # The published sort keeps the file's order: the first bin is all wrong.
    assert rms_calibration_error_hendrycks(confidence, correct) == pytest.approx(math.sqrt(0.5) * 0.5)


def test_one_bin_is_enough_for_the_plain_forms_and_two_for_the_published_ones() -> None:
    for n, metrics in ((99, PLAIN), (199, PUBLISHED)):
        for metric in metrics:
            with pytest.raises(UndefinedMetricError, match="too few images to bin"):
                metric(np.full(n, 0.5), np.ones(n))
            assert metric(np.full(n + 1, 0.5), np.ones(n + 1)) > 0


def test_a_bin_of_no_image_is_refused() -> None:
    for metric in (*PLAIN, *PUBLISHED):
        with pytest.raises(UsageError, match="bin_size cannot be used"):
            metric(*_golden_answers(), bin_size=0)
