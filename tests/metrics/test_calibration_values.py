"""What each image adds to a statistic of confidence: values whose mean it is, and whose spread is right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.absolute_gap_intervals import ece_values, mean_absolute_calibration_values
from robustbench_safety.metrics.calibration_values import rms_calibration_values
from robustbench_safety.metrics.selective_intervals import accuracy_at_coverage_values, selective_values

Floats = NDArray[np.float64]
Values = Callable[[Floats, Floats], Floats]
Value = Callable[[Floats, Floats], float]

PAIRS: dict[str, tuple[Values, Value]] = {
    "rms": (rms_calibration_values, metrics.rms_calibration_error),
    "rms, last bin skipped": (
        lambda c, r: rms_calibration_values(c, r, last_bin="skipped"),
        metrics.rms_calibration_error_hendrycks,
    ),
    "mad": (mean_absolute_calibration_values, metrics.mean_absolute_calibration_error),
    "ece": (ece_values, metrics.expected_calibration_error),
    "aurc": (lambda c, r: selective_values(c, r, statistic="aurc"), metrics.aurc),
    "error auroc": (
        lambda c, r: selective_values(c, r, statistic="error_detection_auroc"),
        metrics.error_detection_auroc,
    ),
    "accuracy at coverage": (
        lambda c, r: accuracy_at_coverage_values(c, r, coverage=0.8),
        lambda c, r: metrics.accuracy_at_coverage(c, r, coverage=0.8),
    ),
}


def answers(n: int, *, seed: int, shift: float = 0.1, ties: bool = False) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    confidence = rng.beta(6, 1.5, n)
    if ties:
        confidence = confidence.round(2)
    return confidence, (rng.random(n) < confidence - shift).astype(np.float64)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("ties", [False, True])
def test_the_mean_of_the_values_is_the_statistic(name: str, ties: bool) -> None:  # noqa: FBT001  # a parameter of the test
    values, value = PAIRS[name]
    confidence, correct = answers(1730, seed=1, ties=ties)
    found = values(confidence, correct)
    assert found.shape == confidence.shape
    assert found.mean() == pytest.approx(value(confidence, correct), abs=1e-12)


def test_values_stand_where_their_images_stand() -> None:
    confidence, correct = answers(500, seed=2)
    order = np.random.default_rng(0).permutation(500)
    for name in ("rms", "mad", "ece", "aurc"):
        values = PAIRS[name][0]
        moved = values(confidence[order], correct[order])
        assert moved == pytest.approx(values(confidence, correct)[order], abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.15])
def test_the_spread_of_a_paired_difference_is_that_of_the_whole_bootstrap(shift: float) -> None:
    # Reference: both models' RMS anew on each of 400 resamples of the images. Where all gaps are noise the
    # values say too much, as is documented, and never too little.
    n, rng = 3000, np.random.default_rng(4)
    confidence, correct = answers(n, seed=3, shift=shift)
    other = np.clip(confidence + rng.normal(0.02, 0.05, n), 0, 1)
    also = np.where(rng.random(n) < 0.05, 1 - correct, correct)
    drawn = []
    for _ in range(400):
        i = rng.integers(n, size=n)
        first = metrics.rms_calibration_error(confidence[i], correct[i])
        drawn.append(metrics.rms_calibration_error(other[i], also[i]) - first)
    values = rms_calibration_values(other, also) - rms_calibration_values(confidence, correct)
    ratio = values.std() / np.sqrt(n) / np.std(drawn)
    assert 0.9 < ratio < 1.5


def test_a_model_without_a_gap_has_values_of_nothing() -> None:
    confidence, correct = np.tile([0.0, 1.0], 100), np.tile([0.0, 1.0], 100)
    assert not rms_calibration_values(confidence, correct).any()


def test_too_few_images_are_refused() -> None:
    for values in (rms_calibration_values, mean_absolute_calibration_values):
        with pytest.raises(UndefinedMetricError):
            values(*answers(99, seed=0))
        with pytest.raises(UndefinedMetricError):
            values(*answers(199, seed=0), last_bin="skipped")
