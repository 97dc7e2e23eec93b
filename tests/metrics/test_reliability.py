"""Tests of calibration in equal-width bins."""

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import expected_calibration_error, reliability_bins, soft_f1_score


def _golden_answers() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    i = np.arange(1050)
    confidence = (389 * i % 1051 + 0.5) / 1051
    return confidence, (577 * i % 1051) / 1051 < confidence


def test_ece_and_soft_f1_match_the_golden_answers() -> None:
    assert expected_calibration_error(*_golden_answers()) == pytest.approx(0.0185764125, abs=5e-11)
    assert soft_f1_score(*_golden_answers()) == pytest.approx(0.6666065651, abs=5e-11)


def test_ece_weighs_each_bin_by_its_images() -> None:
    # Bins (0, 0.5] and (0.5, 1]: {0.5} right, gap -0.5; {0.6, 0.8, 1.0} right 1 of 3, gap 0.8 - 1/3.
    confidence, correct = np.array([0.5, 0.6, 0.8, 1.0]), np.array([1, 0, 0, 1])
    expected = 1 / 4 * 0.5 + 3 / 4 * (0.8 - 1 / 3)
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_agrees_with_plain_loops_on_edges_and_ties(bins: int) -> None:
    rng = np.random.default_rng(bins)
    confidence = np.concatenate([rng.random(300).round(2), np.arange(bins + 1) / bins])
    correct = rng.random(len(confidence)) < 0.6
    answers = list(zip(confidence.tolist(), correct.tolist(), strict=True))
    expected = 0.0
    for b in range(bins):
        lower, upper = b / bins, (b + 1) / bins
        held = [(c, y) for c, y in answers if lower < c <= upper or (b == 0 and c == 0)]
        expected += abs(sum(c for c, _ in held) - sum(y for _, y in held)) / len(answers)
    assert expected_calibration_error(confidence, correct, bins=bins) == pytest.approx(expected, abs=1e-13)


def test_the_reliability_bins_average_to_the_ece() -> None:
    confidence, correct = _golden_answers()
    diagram = reliability_bins(confidence, correct)
    assert sum(diagram.n) == 1050
    assert (diagram.lower[0], diagram.upper[-1]) == (0.0, 1.0)
    gaps = [
        n / 1050 * abs(mean - accuracy)
        for n, mean, accuracy in zip(diagram.n, diagram.mean_confidence, diagram.accuracy, strict=True)
        if mean is not None and accuracy is not None
    ]
    assert sum(gaps) == pytest.approx(expected_calibration_error(confidence, correct), abs=1e-13)


def test_an_empty_bin_has_no_means() -> None:
    diagram = reliability_bins(np.array([0.0, 0.25]), np.array([0, 1]), bins=4)
    assert diagram.n == (2, 0, 0, 0)
    assert diagram.mean_confidence == (0.125, None, None, None)
    assert diagram.accuracy == (0.5, None, None, None)


@pytest.mark.parametrize("metric", [expected_calibration_error, reliability_bins])
def test_zero_bins_are_refused(metric: type) -> None:
    with pytest.raises(UsageError, match="bins cannot be used"):
        metric(np.array([0.5]), np.array([1]), bins=0)


def test_soft_f1_weighs_doubt_against_errors() -> None:
    # Doubts 0.1, 0.4, 0.7; wrong 0, 1, 1: 2 (0.4 + 0.7) / (1.2 + 2).
    confidence, correct = np.array([0.9, 0.6, 0.3]), np.array([1, 0, 0])
    assert soft_f1_score(confidence, correct) == pytest.approx(2.2 / 3.2, abs=1e-15)


def test_soft_f1_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(500), rng.random(500) < 0.7
    numerator = denominator = 0.0
    for c, y in zip(confidence.tolist(), correct.tolist(), strict=True):
        numerator += 2 * (1 - c) * (not y)
        denominator += 1 - c + (not y)
    assert soft_f1_score(confidence, correct) == pytest.approx(numerator / denominator, rel=1e-12)


def test_soft_f1_without_doubt_and_error_is_undefined() -> None:
    with pytest.raises(UndefinedMetricError, match="neither doubt nor error"):
        soft_f1_score(np.ones(3), np.ones(3))
