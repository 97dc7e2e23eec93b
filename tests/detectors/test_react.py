"""ReAct: the energy of clipped features."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robustbench_safety.detectors import energy_score, fit_react
from robustbench_safety.errors import UsageError

RNG = np.random.default_rng(0)
WEIGHT, BIAS = RNG.normal(size=(3, 6)), RNG.normal(size=3)
TUNE, OTHERS = np.abs(RNG.normal(size=(30, 6))), np.abs(RNG.normal(size=(10, 6))) * 3


def test_a_case_worked_by_hand() -> None:
    # The 75th percentile of 0, 1, 2, 3, 4 is 3; (9, 1) becomes (3, 1), with logits 3 and 1 + 1.
    fitted = fit_react(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]), percentile=75)
    assert fitted.threshold == 3
    score = fitted.score(np.array([[9.0, 1.0]]), np.eye(2), np.array([0.0, 1.0]))
    assert score == pytest.approx([-math.log(math.exp(3) + math.exp(2))])


def test_features_that_stay_below_the_threshold_have_the_energy_of_their_logits() -> None:
    fitted = fit_react(TUNE * 100, percentile=99)
    expected = energy_score(OTHERS @ WEIGHT.T + BIAS)
    np.testing.assert_allclose(fitted.score(OTHERS, WEIGHT, BIAS), expected, rtol=1e-12)


def test_nothing_is_clipped_from_below() -> None:
    fitted = fit_react(TUNE, percentile=90)
    expected = energy_score(-OTHERS @ WEIGHT.T + BIAS)
    np.testing.assert_allclose(fitted.score(-OTHERS, WEIGHT, BIAS), expected, rtol=1e-12)


@pytest.mark.parametrize("percentile", [0.0, 100.0, -1.0, math.nan])
def test_a_percentile_out_of_range_is_refused(percentile: float) -> None:
    with pytest.raises(UsageError, match="percentile cannot be used"):
        fit_react(TUNE, percentile=percentile)
