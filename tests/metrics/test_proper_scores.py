"""Tests of proper scoring rules."""

import math

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics import brier_score, negative_log_likelihood


def _logits_and_labels() -> tuple[
    np.ndarray[tuple[int, int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.int64]]
]:
    rng = np.random.default_rng(3)
    return rng.normal(scale=3, size=(200, 7)), rng.integers(7, size=200)


def test_brier_score_sums_over_the_classes() -> None:
    # Row 1: (0.7-1)^2 + 0.2^2 + 0.1^2 = 0.14. Row 2: 0.5^2 + 0.5^2 + (0-1)^2 = 1.5. Mean 0.82.
    probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0]])
    assert brier_score(probabilities, np.array([0, 2])) == pytest.approx(0.82, abs=1e-15)


def test_brier_score_agrees_with_scikit_learn() -> None:
    logits, labels = _logits_and_labels()
    probabilities = softmax(logits, axis=1)
    expected = brier_score_loss(labels, probabilities, labels=range(7), scale_by_half=False)
    assert brier_score(probabilities, labels) == pytest.approx(expected, rel=1e-12)


def test_brier_score_leaves_its_input_as_it_was() -> None:
    probabilities = np.array([[0.25, 0.75]])
    brier_score(probabilities, np.array([1]))
    assert probabilities.tolist() == [[0.25, 0.75]]


def test_brier_score_refuses_logits() -> None:
    with pytest.raises(UndefinedMetricError, match="pass the softmax"):
        brier_score(*_logits_and_labels())


def test_negative_log_likelihood_of_equal_logits_is_the_log_of_the_class_count() -> None:
    # Row 1: ln 2. Row 2: ln(1 + e^1) - 1 = 0.3133. Mean 0.5032.
    logits = np.array([[5.0, 5.0], [0.0, 1.0]])
    assert negative_log_likelihood(logits, np.array([0, 1])) == pytest.approx(0.5032, abs=1e-4)


def test_negative_log_likelihood_agrees_with_scikit_learn() -> None:
    logits, labels = _logits_and_labels()
    expected = log_loss(labels, softmax(logits, axis=1), labels=range(7))
    assert negative_log_likelihood(logits, labels) == pytest.approx(expected, rel=1e-12)


def test_negative_log_likelihood_neither_overflows_nor_rounds_small_values_away() -> None:
    assert negative_log_likelihood(np.array([[0.0, 5000.0]]), np.array([0])) == 5000.0
    tiny = negative_log_likelihood(np.array([[100.0, 0.0]]), np.array([0]))
    assert tiny == pytest.approx(math.exp(-100), rel=1e-12)


def test_a_label_outside_the_classes_is_refused() -> None:
    for metric in (brier_score, negative_log_likelihood):
        with pytest.raises(UndefinedMetricError, match="outside the classes"):
            metric(np.array([[0.5, 0.5]]), np.array([2]))
