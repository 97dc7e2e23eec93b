"""ASH and SCALE: energies of shaped features."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from robustbench_safety.detectors import ash_b_score, ash_p_score, ash_s_score, energy_score, scale_score
from robustbench_safety.errors import UndefinedMetricError, UsageError

Score = Callable[..., np.ndarray[tuple[int, ...], np.dtype[np.float64]]]
ALL: tuple[Score, ...] = (ash_p_score, ash_b_score, ash_s_score, scale_score)
EYE, ZEROS = np.eye(4), np.zeros(4)


def test_a_case_worked_by_hand() -> None:
    # Of 5, 1, 3, 1 half is kept: 5 and 3. All add up to 10, the kept to 8.
    features = np.array([[5.0, 1.0, 3.0, 1.0]])
    factor = math.exp(10 / 8)
    for score, shaped in (
        (ash_p_score, [5, 0, 3, 0]),
        (ash_b_score, [5, 0, 5, 0]),
        (ash_s_score, [5 * factor, 0, 3 * factor, 0]),
        (scale_score, [5 * factor, factor, 3 * factor, factor]),
    ):
        expected = -math.log(sum(math.exp(value) for value in shaped))
        assert score(features, EYE, ZEROS, percentile=50) == pytest.approx([expected]), score.__name__


def test_of_equal_features_that_of_the_lower_index_is_kept() -> None:
    weight = np.diag([1.0, 2.0, 3.0, 4.0])
    features = np.array([[1.0, 1.0, 1.0, 1.0]])
    assert ash_p_score(features, weight, ZEROS, percentile=75) == pytest.approx([-math.log(math.e + 3)])


def test_the_number_pruned_is_rounded() -> None:
    # 60 % of 4 is 2.4, so 2 are pruned; 65 % is 2.6, so 3 are.
    features = np.array([[4.0, 3.0, 2.0, 1.0]])
    two, one = np.array([[4.0, 3.0, 0, 0]]), np.array([[4.0, 0, 0, 0]])
    assert ash_p_score(features, EYE, ZEROS, percentile=60) == pytest.approx(energy_score(two))
    assert ash_p_score(features, EYE, ZEROS, percentile=65) == pytest.approx(energy_score(one))


@pytest.mark.parametrize("score", ALL)
def test_an_image_without_any_activation_has_the_energy_of_the_bias(score: Score) -> None:
    bias = np.array([1.0, 2.0, 3.0, 4.0])
    assert score(np.zeros((1, 4)), EYE, bias, percentile=50) == pytest.approx(energy_score(bias[None]))


@pytest.mark.parametrize("score", [ash_s_score, scale_score])
def test_features_whose_largest_add_up_to_nothing_are_refused(score: Score) -> None:
    with pytest.raises(UndefinedMetricError, match="do not add up to a usable sum"):
        score(np.array([[-1.0, -2.0, -3.0, -4.0]]), EYE, ZEROS, percentile=50)


@pytest.mark.parametrize("score", [ash_s_score, scale_score])
def test_a_factor_beyond_float64_is_refused_and_never_infinite(score: Score) -> None:
    # 0.001 is kept of features that add up to 1.001: e^1001.
    features = np.concatenate([[0.001], np.full(1000, 0.001)])[None]
    layer = np.ones((2, 1001)), np.zeros(2)
    with pytest.raises(UndefinedMetricError, match="do not add up to a usable sum"):
        score(features, *layer, percentile=99.9)


@pytest.mark.parametrize("score", ALL)
def test_a_percentile_that_leaves_nothing_is_refused(score: Score) -> None:
    with pytest.raises(UsageError, match="percentile leaves no feature"):
        score(np.ones((1, 4)), EYE, ZEROS, percentile=99)
    with pytest.raises(UsageError, match="percentile cannot be used"):
        score(np.ones((1, 4)), EYE, ZEROS, percentile=100)
