"""KL-matching: the distance to the typical prediction of any class."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from robustbench_safety.detectors import fit_kl_matching
from robustbench_safety.errors import UndefinedMetricError

RNG = np.random.default_rng(0)


def test_a_case_worked_by_hand() -> None:
    # Two images are predicted as class 0, with p = (3/4, 1/4) and (1/2, 1/2), of equal logits the lower
    # index. Their mean is (5/8, 3/8). Nobody is predicted as class 1, so it is not nearest to anything.
    fitted = fit_kl_matching(np.array([[math.log(3), 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(np.exp(fitted.log_means), np.array([[5 / 8, 3 / 8], [0, 1]]), rtol=1e-12)
    # p = (1/4, 3/4): KL = 1/4 ln(2/5) + 3/4 ln 2
    expected = 0.25 * math.log(0.4) + 0.75 * math.log(2)
    assert fitted.score(np.array([[0.0, math.log(3)]])) == pytest.approx([expected])


def test_scores_equal_scipy_s_relative_entropy_to_the_nearest_mean() -> None:
    tune, logits = RNG.normal(size=(60, 5)) * 3, RNG.normal(size=(20, 5)) * 3
    shares, predicted = softmax(tune, axis=1), tune.argmax(axis=1)
    means = [shares[predicted == k].mean(axis=0) for k in range(5)]
    expected = [min(rel_entr(p, mean).sum() for mean in means) for p in softmax(logits, axis=1)]
    np.testing.assert_allclose(fit_kl_matching(tune).score(logits), expected, rtol=1e-9)


def test_the_predicted_class_decides_and_not_the_largest_mean() -> None:
    fitted = fit_kl_matching(np.array([[3.0, 0.0, 0.0], [0.0, 0.1, 0.0]]))
    assert np.isneginf(fitted.log_means[2, :2]).all()  # class 2, never predicted: a one-hot
    assert fitted.score(np.array([[0.0, 0.1, 0.0]])) == pytest.approx([0.0], abs=1e-12)


def test_probabilities_that_vanish_in_float64_keep_their_distance() -> None:
    # Means are e^-2000 off the first class: p = (1/2, 1/2) lies 1/2 (ln 1/2 + ln 1/2 + 2000) away.
    fitted = fit_kl_matching(np.array([[2000.0, 0.0]]))
    assert fitted.score(np.array([[0.0, 0.0]])) == pytest.approx([1000 - math.log(2)])


def test_logits_of_other_classes_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="expected 2; found 3"):
        fit_kl_matching(np.eye(2)).score(np.eye(3))
