"""OOD scores: higher is more out-of-distribution, always."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import entropy

from robustbench_safety.detectors import (
    DETECTORS,
    energy_score,
    entropy_score,
    gen_score,
    max_logit_score,
    msp_score,
    ood_score,
)
from robustbench_safety.errors import UnknownNameError

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


@pytest.mark.parametrize("name", DETECTORS)
def test_a_sure_prediction_scores_lower_than_an_unsure_one(name: str) -> None:
    sure, unsure = ood_score(name, np.array([[9.0, 0.0, 0.0], [0.1, 0.0, 0.0]]))
    assert sure < unsure


@pytest.mark.parametrize("name", DETECTORS)
def test_a_score_depends_on_its_own_row_and_not_on_the_order_of_classes(name: str) -> None:
    scores = ood_score(name, LOGITS)
    assert scores.shape == (200,)
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(ood_score(name, LOGITS[::-1]), scores[::-1])
    np.testing.assert_allclose(ood_score(name, LOGITS[:, ::-1]), scores, rtol=1e-12)


@pytest.mark.parametrize("name", DETECTORS)
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
