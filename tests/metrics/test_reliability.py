"""Tests of calibration in a fixed number of bins, of equal width or of equal mass."""

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    expected_calibration_error,
    mean_absolute_calibration_error,
    reliability_bins,
    soft_f1_score,
)


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


def test_bins_of_equal_mass_hold_the_images_in_order_of_confidence() -> None:
    # Of five images in two bins the second holds one more or one less: {0.3, 0.5, 0.6}, {0.8, 0.9}.
    # Gaps: (1.4 - 2) / 3 and (1.7 - 1) / 2, so |-0.6| / 5 + 0.7 / 5 = 0.26.
    confidence, correct = np.array([0.8, 0.3, 0.9, 0.5, 0.6]), np.array([0, 1, 1, 1, 0])
    found = expected_calibration_error(confidence, correct, bins=2, binning="equal_mass")
    assert found == pytest.approx(0.26, abs=1e-15)
    diagram = reliability_bins(confidence, correct, bins=2, binning="equal_mass")
    assert diagram.n == (3, 2)
    assert (diagram.lower, diagram.upper) == ((0.0, 0.6), (0.6, 1.0))
    assert diagram.mean_confidence == pytest.approx((1.4 / 3, 0.85))
    assert diagram.accuracy == pytest.approx((2 / 3, 0.5))


@pytest.mark.parametrize(("n", "bins"), [(1050, 15), (1000, 7), (10, 10), (23, 4)])
def test_ece_of_equal_mass_agrees_with_plain_loops(n: int, bins: int) -> None:
    rng = np.random.default_rng(n)
    confidence, correct = rng.permutation(n) / n, rng.random(n) < 0.6
    answers = sorted(zip(confidence.tolist(), correct.tolist(), strict=True))
    expected, sizes = 0.0, []
    for b in range(bins):
        held = [answer for i, answer in enumerate(answers) if b * n <= i * bins < (b + 1) * n]
        sizes.append(len(held))
        expected += abs(sum(c for c, _ in held) - sum(y for _, y in held)) / n
    assert max(sizes) - min(sizes) <= 1
    found = expected_calibration_error(confidence, correct, bins=bins, binning="equal_mass")
    assert found == pytest.approx(expected, abs=1e-13)
    assert reliability_bins(confidence, correct, bins=bins, binning="equal_mass").n == tuple(sizes)


def test_ece_of_equal_mass_is_the_mean_absolute_error_of_as_many_images_a_bin() -> None:
    confidence, correct = _golden_answers()
    assert expected_calibration_error(confidence, correct, binning="equal_mass") == pytest.approx(
        mean_absolute_calibration_error(confidence, correct, bin_size=70), abs=1e-14
    )


def test_images_of_one_confidence_are_spread_over_the_bins_of_equal_mass() -> None:
    # 200 answers of confidence 0.5, half of them right: no bin has a gap, however the file is sorted.
    confidence, correct = np.full(200, 0.5), np.repeat([0, 1], 100)
    assert expected_calibration_error(confidence, correct, bins=4, binning="equal_mass") == 0.0
    diagram = reliability_bins(confidence, correct, bins=4, binning="equal_mass")
    assert diagram.n == (50, 50, 50, 50)
    assert diagram.accuracy == (0.5, 0.5, 0.5, 0.5)
    assert diagram.upper == (0.5, 0.5, 0.5, 1.0)


def test_fewer_images_than_bins_of_equal_mass_leave_some_empty() -> None:
    diagram = reliability_bins(np.array([0.2, 0.6]), np.array([0, 1]), bins=4, binning="equal_mass")
    assert diagram.n == (1, 0, 1, 0)
    assert diagram.mean_confidence == (0.2, None, 0.6, None)
    assert (diagram.lower, diagram.upper) == ((0.0, 0.2, 0.2, 0.6), (0.2, 0.2, 0.6, 1.0))


@pytest.mark.parametrize("metric", [expected_calibration_error, reliability_bins])
def test_unknown_bins_are_refused(metric: type) -> None:
    with pytest.raises(UsageError, match="binning cannot be used; expected equal_width or equal_mass"):
        metric(np.array([0.5]), np.array([1]), binning="equal")


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
