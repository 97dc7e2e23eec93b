"""Mahalanobis distance, plain and relative."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from robustbench_safety.detectors import fit_mahalanobis, fit_relative_mahalanobis
from robustbench_safety.errors import UndefinedMetricError

RNG = np.random.default_rng(0)
LABELS = RNG.permutation(np.arange(90) % 3)
OWN = [np.flatnonzero(k == LABELS) for k in range(3)]
FEATURES = RNG.normal(size=(90, 4)) @ RNG.normal(size=(4, 4)) + 5 * np.eye(4)[LABELS]
OTHERS = RNG.normal(size=(20, 4)) * 4


def test_a_case_worked_by_hand() -> None:
    # Class means (0, 0) and (10, 0); about them variances 1 and 4, nothing between the two directions.
    features = np.array([[1, 2], [1, -2], [-1, 2], [-1, -2], [11, 2], [11, -2], [9, 2], [9, -2]], dtype=float)
    labels = np.repeat([0, 1], 4)
    image = np.array([[7.0, 4.0]])  # 3^2 / 1 + 4^2 / 4 = 13 from the second mean
    assert fit_mahalanobis(features, labels).score(image) == pytest.approx([13])
    # All together: mean (5, 0), variances 1 + 25 and 4: 2^2 / 26 + 4.
    relative = fit_relative_mahalanobis(features, labels)
    assert relative.score(image) == pytest.approx([13 - 4 / 26 - 4])


def test_distances_are_scipy_s() -> None:
    means = [FEATURES[own].mean(axis=0) for own in OWN]
    within = sum(np.cov(FEATURES[own].T, bias=True) * len(own) / 90 for own in OWN)
    inverse = np.linalg.inv(within)
    expected = [min(mahalanobis(x, mean, inverse) ** 2 for mean in means) for x in OTHERS]
    np.testing.assert_allclose(fit_mahalanobis(FEATURES, LABELS).score(OTHERS), expected, rtol=1e-8)
    total = np.linalg.inv(np.cov(FEATURES.T, bias=True))
    background = [mahalanobis(x, FEATURES.mean(axis=0), total) ** 2 for x in OTHERS]
    found = fit_relative_mahalanobis(FEATURES, LABELS).score(OTHERS)
    np.testing.assert_allclose(found, np.subtract(expected, background), rtol=1e-8)


def test_a_feature_that_never_varies_is_left_out() -> None:
    dead = np.hstack([FEATURES, np.zeros((90, 1))])
    scores = fit_mahalanobis(dead, LABELS).score(np.hstack([OTHERS, np.zeros((20, 1))]))
    np.testing.assert_allclose(scores, fit_mahalanobis(FEATURES, LABELS).score(OTHERS), rtol=1e-8)


def test_a_linear_map_of_the_features_changes_nothing() -> None:
    mixed = RNG.normal(size=(4, 4))
    for fit in (fit_mahalanobis, fit_relative_mahalanobis):
        expected = fit(FEATURES, LABELS).score(OTHERS)
        np.testing.assert_allclose(fit(FEATURES @ mixed, LABELS).score(OTHERS @ mixed), expected, rtol=1e-6)


def test_a_class_without_a_sample_is_refused_by_name() -> None:
    with pytest.raises(UndefinedMetricError, match="none of class 1"):
        fit_mahalanobis(FEATURES, np.where(LABELS == 1, 2, LABELS))


def test_labels_of_out_of_distribution_images_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="labels is outside the classes"):
        fit_mahalanobis(FEATURES, LABELS - 1)


def test_too_few_samples_for_a_covariance_are_refused() -> None:
    few = np.concatenate([own[:2] for own in OWN])
    with pytest.raises(UndefinedMetricError, match=r"expected 7 or more.*found 6"):
        fit_mahalanobis(FEATURES[few], LABELS[few])


def test_labels_of_other_images_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="differ in length"):
        fit_relative_mahalanobis(FEATURES, LABELS[1:])
