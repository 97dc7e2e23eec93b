"""Tests of proper scoring rules."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr, softmax
from scipy.stats import entropy
from sklearn.metrics import brier_score_loss, log_loss

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics import (
    brier_score,
    cross_entropies,
    negative_log_likelihood,
    soft_label_cross_entropy,
)


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


def _logits_and_shares() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(4)
    return rng.normal(scale=3, size=(200, 7)), rng.dirichlet(np.full(7, 0.5), size=200)


def test_soft_label_cross_entropy_weighs_each_class_by_its_share() -> None:
    # Logits (ln 3, 0) are probabilities 3/4 and 1/4. Row 1: -(1/2 ln 3/4 + 1/2 ln 1/4) = 0.8370; row 2:
    # -ln 1/4 = 1.3863. Mean 1.1116.
    logits = np.array([[math.log(3), 0.0], [math.log(3), 0.0]])
    shares = np.array([[0.5, 0.5], [0.0, 1.0]])
    assert soft_label_cross_entropy(logits, shares) == pytest.approx(1.1116, abs=5e-5)
    assert cross_entropies(logits, shares) == pytest.approx([0.8370, 1.3863], abs=5e-5)


def test_soft_label_cross_entropy_agrees_with_torch() -> None:
    logits, shares = _logits_and_shares()
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(shares))
    assert soft_label_cross_entropy(logits, shares) == pytest.approx(expected.item(), rel=1e-12)


def test_soft_label_cross_entropy_is_the_entropy_of_the_shares_and_the_divergence_from_them() -> None:
    logits, shares = _logits_and_shares()
    divergence = rel_entr(shares, softmax(logits, axis=1)).sum(axis=1)
    np.testing.assert_allclose(
        cross_entropies(logits, shares), entropy(shares, axis=1) + divergence, rtol=1e-12
    )
    least = soft_label_cross_entropy(np.log(shares), shares)
    assert least == pytest.approx(entropy(shares, axis=1).mean(), rel=1e-12)
    assert least < soft_label_cross_entropy(logits, shares)


def test_soft_label_cross_entropy_to_one_class_is_the_negative_log_likelihood() -> None:
    logits, labels = _logits_and_labels()
    found = soft_label_cross_entropy(logits, np.eye(7)[labels])
    assert found == pytest.approx(negative_log_likelihood(logits, labels), rel=1e-12)


def test_soft_label_cross_entropy_does_not_overflow() -> None:
    assert soft_label_cross_entropy(np.array([[0.0, 5000.0]]), np.array([[0.5, 0.5]])) == 2500.0


@pytest.mark.parametrize(
    ("logits", "shares", "message"),
    [
        ([[0.0, 1.0]], [[2.0, 3.0]], "shares holds no distributions.*divide the counts by their sum"),
        ([[0.0, 1.0]], [[1.5, -0.5]], "shares holds no distributions.*smallest entry -0.5"),
        ([[0.0, 1.0]], [[0.5, 0.25]], "largest miss of the sum 0.25"),
        ([[0.0, 1.0]], [[0.5, 0.25, 0.25]], r"do not belong together; expected \(1, 2\); found \(1, 3\)"),
        ([[0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]], "do not belong together"),
        ([0.0, 1.0], [0.5, 0.5], "logits has the wrong shape"),
        ([[0.0, math.inf]], [[0.5, 0.5]], "logits is not finite"),
        ([[0.0, 1.0]], [[math.nan, 0.5]], "shares is not finite"),
    ],
)
def test_soft_label_cross_entropy_refuses_what_is_no_distribution(
    logits: ArrayLike, shares: ArrayLike, message: str
) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        soft_label_cross_entropy(np.asarray(logits), np.asarray(shares))
