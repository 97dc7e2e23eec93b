"""ViM: the residual of the features as a logit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from robustbench_safety.detectors import fit_vim
from robustbench_safety.errors import UndefinedMetricError, UsageError

RNG = np.random.default_rng(0)
WEIGHT, BIAS = RNG.normal(size=(3, 8)), RNG.normal(size=3)
TRAIN = np.abs(RNG.normal(size=(50, 8))) @ np.diag(np.arange(1, 9))
OTHERS = np.abs(RNG.normal(size=(20, 8))) * 4


def test_a_case_worked_by_hand() -> None:
    # W is the first two axes and b = (1, 1): all logits are 0 at u = (-1, -1, 0). Seen from there the two
    # largest directions are in the plane of the first two axes, and the residual is the third.
    train = np.array([[4, 0, 0.5], [4, 0, -0.5], [0, 4, 0.5], [0, 4, -0.5]])
    fitted = fit_vim(train, np.eye(2, 3), np.ones(2), dimension=2)
    np.testing.assert_allclose(fitted.origin, [-1, -1, 0], atol=1e-12)
    assert fitted.alpha == pytest.approx(5 / 0.5)
    # A residual of 2 is a virtual logit of 20; the others are 5 and 1.
    score = fitted.score(np.array([[4.0, 0.0, -2.0]]))
    assert score == pytest.approx([20 - math.log(math.exp(5) + math.exp(1))])


@pytest.mark.parametrize("dimension", [1, 4, 7])
def test_the_residual_is_what_projection_on_the_principal_space_leaves(dimension: int) -> None:
    fitted = fit_vim(TRAIN, WEIGHT, BIAS, dimension=dimension)
    origin = -np.linalg.pinv(WEIGHT) @ BIAS
    # The principal space by singular vectors of the samples, not by eigenvectors of their moments.
    principal = np.linalg.svd(TRAIN - origin)[2][:dimension]
    lengths = [np.linalg.norm(x - principal.T @ (principal @ x)) for x in TRAIN - origin]
    alpha = (TRAIN @ WEIGHT.T + BIAS).max(axis=1).mean() / np.mean(lengths)
    assert fitted.alpha == pytest.approx(alpha)
    shifted = OTHERS - origin
    residual = np.linalg.norm(shifted - shifted @ principal.T @ principal, axis=1)
    expected = alpha * residual - logsumexp(OTHERS @ WEIGHT.T + BIAS, axis=1)
    np.testing.assert_allclose(fitted.score(OTHERS), expected, rtol=1e-9)


@pytest.mark.parametrize(("width", "dimension"), [(3, 1), (64, 32), (512, 256), (600, 256)])
def test_the_dimension_is_256_or_half_of_the_features(width: int, dimension: int) -> None:
    train = np.abs(RNG.normal(size=(width + 20, width)))
    fitted = fit_vim(train, np.ones((2, width)), np.zeros(2))
    assert fitted.residual.shape == (width, width - dimension)


def test_a_dimension_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="expected below D = 8"):
        fit_vim(TRAIN, WEIGHT, BIAS, dimension=8)


def test_training_features_without_a_residual_are_refused() -> None:
    flat = np.outer(np.arange(1.0, 20.0), np.ones(8))
    with pytest.raises(UndefinedMetricError, match="leave no residual"):
        fit_vim(flat, WEIGHT, np.zeros(3), dimension=4)


def test_logits_below_zero_which_no_alpha_matches_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="largest logits of the training images are not above 0"):
        fit_vim(TRAIN, -np.abs(WEIGHT), np.zeros(3))


def test_a_last_layer_of_another_network_is_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="the last layer does not fit"):
        fit_vim(TRAIN, WEIGHT[:, 1:], BIAS)
