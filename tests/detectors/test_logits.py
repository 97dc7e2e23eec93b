"""OOD scores: higher is more out-of-distribution, always."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import entropy

from robustbench_safety.detectors import (
    disagreement_score,
    energy_score,
    entropy_score,
    gen_score,
    max_logit_score,
    mcm_score,
    msp_score,
    odin_score,
    ood_score,
)
from robustbench_safety.errors import UndefinedMetricError, UnknownNameError, UsageError

#: Of stored logits alone.
NAMES = ("msp", "maxlogit", "energy", "entropy", "gen")
LOGITS = np.random.default_rng(0).standard_normal((200, 7)) * 4


def test_a_case_worked_by_hand() -> None:
    # e^ln3 = 3 and e^0 = 1: probabilities 3/4 and 1/4, sum of exponentials 4
    logits = np.array([[math.log(3), 0.0]])
    assert msp_score(logits) == pytest.approx([-0.75])
    assert max_logit_score(logits) == pytest.approx([-math.log(3)])
    assert energy_score(logits) == pytest.approx([-math.log(4)])
    assert entropy_score(logits) == pytest.approx([0.75 * math.log(4 / 3) + 0.25 * math.log(4)])
    # p (1 - p) is 3/16 for both.
    assert gen_score(logits) == pytest.approx([2 * (3 / 16) ** 0.1])


def test_scores_equal_scipy_s_softmax_and_logsumexp() -> None:
    np.testing.assert_allclose(msp_score(LOGITS), -softmax(LOGITS, axis=1).max(axis=1), rtol=1e-12)
    np.testing.assert_allclose(max_logit_score(LOGITS), [-max(row) for row in LOGITS], rtol=0)
    np.testing.assert_allclose(energy_score(LOGITS), [-logsumexp(row) for row in LOGITS], rtol=1e-12)


def test_the_entropy_is_scipy_s() -> None:
    np.testing.assert_allclose(entropy_score(LOGITS), entropy(softmax(LOGITS, axis=1), axis=1), rtol=1e-10)


@pytest.mark.parametrize("n_classes", [7, 150])
def test_the_generalised_entropy_counts_the_hundred_largest_probabilities(n_classes: int) -> None:
    logits = np.random.default_rng(1).standard_normal((50, n_classes)) * 3
    shares = -np.sort(-softmax(logits, axis=1), axis=1)[:, :100]
    expected = (shares**0.1 * (1 - shares) ** 0.1).sum(axis=1)
    np.testing.assert_allclose(gen_score(logits), expected, rtol=1e-9)


def test_the_generalised_entropy_tells_sure_answers_apart_whose_probability_is_1_in_float64() -> None:
    scores = gen_score(np.array([[50.0, 0.0], [60.0, 0.0]]))
    # (1 - p)^0.1 is e^(-50/10) and e^(-60/10), and so is p^0.1 of the other class.
    assert scores == pytest.approx([2 * math.exp(-5), 2 * math.exp(-6)])


@pytest.mark.parametrize("name", NAMES)
def test_a_sure_prediction_scores_lower_than_an_unsure_one(name: str) -> None:
    sure, unsure = ood_score(name, np.array([[9.0, 0.0, 0.0], [0.1, 0.0, 0.0]]))
    assert sure < unsure


@pytest.mark.parametrize("name", NAMES)
def test_a_score_depends_on_its_own_row_and_not_on_the_order_of_classes(name: str) -> None:
    scores = ood_score(name, LOGITS)
    assert scores.shape == (200,)
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(ood_score(name, LOGITS[::-1]), scores[::-1])
    np.testing.assert_allclose(ood_score(name, LOGITS[:, ::-1]), scores, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_huge_logits_neither_overflow_nor_lose_the_order(name: str) -> None:
    scores = ood_score(name, np.array([[1000.0, 0.0], [999.0, 998.0]]))
    assert np.isfinite(scores).all()
    assert scores[0] < scores[1]


def test_the_confidence_score_ranges_from_minus_1_to_minus_1_over_k() -> None:
    assert msp_score(np.array([[50.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0]])) == pytest.approx([-1, -0.25])


def test_a_shift_of_all_logits_moves_energy_and_max_logit_and_not_the_confidence() -> None:
    np.testing.assert_allclose(msp_score(LOGITS + 3), msp_score(LOGITS), rtol=1e-12)
    np.testing.assert_allclose(energy_score(LOGITS + 3), energy_score(LOGITS) - 3, rtol=1e-12)
    np.testing.assert_allclose(max_logit_score(LOGITS + 3), max_logit_score(LOGITS) - 3, rtol=1e-12)


def test_an_unknown_detector_shows_near_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown detector 'enrgy'; expected one like energy"):
        ood_score("enrgy", LOGITS)


def test_concept_matching_is_the_softmax_of_the_cosines_at_tau() -> None:
    # Logits of scale 100 whose cosines are ln 3 / 2 and 0: odds of 3 to 1 at tau 1/2, of sqrt(3) to 1 at 1.
    logits = np.array([[50 * math.log(3), 0.0]])
    assert mcm_score(logits, logit_scale=100.0, tau=0.5) == pytest.approx([-0.75])
    assert mcm_score(logits, logit_scale=100.0) == pytest.approx([-math.sqrt(3) / (1 + math.sqrt(3))])


def test_concept_matching_sees_neither_the_logit_scale_nor_a_bias_of_all_logits() -> None:
    cosines = np.random.default_rng(2).uniform(-0.1, 0.4, size=(50, 5))
    expected = mcm_score(cosines, logit_scale=1.0)
    np.testing.assert_allclose(mcm_score(117.3 * cosines - 12.9, logit_scale=117.3), expected, rtol=1e-12)


def test_concept_matching_at_the_inverse_of_the_logit_scale_is_the_confidence() -> None:
    np.testing.assert_allclose(mcm_score(LOGITS, logit_scale=8.0, tau=1 / 8), msp_score(LOGITS), rtol=1e-12)


def test_odin_s_score_is_the_softmax_at_its_temperature() -> None:
    # 1000 ln 3 over 1000 is ln 3: odds of 3 to 1; at half the temperature 9 to 1.
    logits = np.array([[1000 * math.log(3), 0.0]])
    assert odin_score(logits) == pytest.approx([-0.75])
    assert odin_score(logits, temperature=500.0) == pytest.approx([-0.9])
    np.testing.assert_allclose(odin_score(LOGITS, temperature=1.0), msp_score(LOGITS), rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_or_scale_that_is_no_positive_number_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match="temperature cannot be used"):
        odin_score(LOGITS, temperature=value)
    with pytest.raises(UsageError, match="tau cannot be used"):
        mcm_score(LOGITS, logit_scale=1.0, tau=value)
    with pytest.raises(UsageError, match="logit_scale cannot be used"):
        mcm_score(LOGITS, logit_scale=value)


def test_disagreement_is_what_the_ensemble_stored_and_never_below_zero() -> None:
    np.testing.assert_array_equal(disagreement_score(np.array([0.1, 0.0])), [0.1, 0.0])
    with pytest.raises(UndefinedMetricError, match="mutual_information is below 0"):
        disagreement_score(np.array([0.1, -1e-9]))


def test_logits_of_one_class_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="another number of classes"):
        msp_score(np.ones((3, 1)))
