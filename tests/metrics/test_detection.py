"""Tests of anomaly detection."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from robustbench_safety.errors import UsageError
from robustbench_safety.metrics import aupr_in, aupr_out, auroc, fpr_at_tpr

Scores = NDArray[np.float64]


def _golden_scores() -> tuple[Scores, Scores]:
    """Scores with many ties, rounded so that none of them rests on floating point."""
    j, k = np.arange(1000), np.arange(200)
    return (
        np.round((389 * j % 1009) // 10 / 100, 10),
        np.round(0.9 * ((577 * k % 211) // 2) / 100 + 0.15, 10),
    )


def _random_scores(seed: int) -> tuple[Scores, Scores]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, 300).round(1), rng.normal(1, 2, 120).round(1)


def _labelled(scores_in: Scores, scores_out: Scores) -> tuple[NDArray[np.int64], Scores]:
    labels = np.repeat([0, 1], [len(scores_in), len(scores_out)])
    return labels, np.concatenate([scores_in, scores_out])


def test_all_detection_measures_match_the_golden_scores() -> None:
    scores = _golden_scores()
    assert auroc(*scores) == 0.61504
    assert aupr_out(*scores) == pytest.approx(0.3111863272, abs=5e-11)
    assert aupr_in(*scores) == pytest.approx(0.8959804320, abs=5e-11)
    assert fpr_at_tpr(*scores) == 0.801


def test_auroc_counts_pairs_and_ties_one_half() -> None:
    # Pairs (in, out): 1<2, 1<3, 2=2, 2<3, 3>2, 3=3: 3 right, 2 tied, 1 wrong of 6.
    assert auroc(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0])) == 4 / 6


def test_auroc_is_exact_where_all_scores_are_tied() -> None:
    assert auroc(np.full(7, 0.1), np.full(3, 0.1)) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_auroc_agrees_with_scikit_learn(seed: int) -> None:
    scores = _random_scores(seed)
    assert auroc(*scores) == pytest.approx(roc_auc_score(*_labelled(*scores)), abs=1e-13)


def test_average_precision_takes_tied_images_together() -> None:
    # Falling: 3 (out) P=1, R=1/2; 2 (out and in, tied) P=2/3, R=1. AP = 1/2 + 1/2 * 2/3.
    assert aupr_out(np.array([2.0, 1.0]), np.array([3.0, 2.0])) == pytest.approx(5 / 6, abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_both_average_precisions_agree_with_scikit_learn(seed: int) -> None:
    scores = _random_scores(seed)
    labels, values = _labelled(*scores)
    assert aupr_out(*scores) == pytest.approx(average_precision_score(labels, values), abs=1e-13)
    assert aupr_in(*scores) == pytest.approx(average_precision_score(1 - labels, -values), abs=1e-13)


@pytest.mark.parametrize("base_rate", [0.01, 1 / 6, 0.5, 0.9])
def test_a_base_rate_is_a_weight_on_the_positives(base_rate: float) -> None:
    scores = _random_scores(0)
    labels, values = _labelled(*scores)
    for metric, positive, sign in ((aupr_out, labels, 1), (aupr_in, 1 - labels, -1)):
        share = positive.mean()
        weights = np.where(positive == 1, base_rate / share, (1 - base_rate) / (1 - share))
        expected = average_precision_score(positive, sign * values, sample_weight=weights)
        assert metric(*scores, base_rate=base_rate) == pytest.approx(expected, abs=1e-13)


def test_the_share_of_the_sample_is_the_base_rate_by_default() -> None:
    scores = _random_scores(1)
    assert aupr_out(*scores, base_rate=120 / 420) == pytest.approx(aupr_out(*scores), abs=1e-13)


def test_fpr_is_taken_at_the_highest_threshold_that_reaches_the_target() -> None:
    # OOD 5, 4, 2, 1: three quarters are caught from 2 on; ID 3 and 2 lie there, 0 does not.
    scores_in, scores_out = np.array([3.0, 2.0, 0.0]), np.array([5.0, 4.0, 2.0, 1.0])
    assert fpr_at_tpr(scores_in, scores_out, tpr=0.75) == 2 / 3
    assert fpr_at_tpr(scores_in, scores_out, tpr=0.5) == 0.0
    assert fpr_at_tpr(scores_in, scores_out, tpr=0.51) == 2 / 3


@pytest.mark.parametrize("tpr", [0.05, 0.5, 0.95, 1.0])
def test_fpr_agrees_with_the_curve_of_scikit_learn(tpr: float) -> None:
    scores = _random_scores(2)
    fprs, tprs, _ = roc_curve(*_labelled(*scores), drop_intermediate=False)
    assert fpr_at_tpr(*scores, tpr=tpr) == pytest.approx(fprs[np.argmax(tprs >= tpr)], abs=1e-15)


def test_a_target_that_is_reached_exactly_counts_as_reached() -> None:
    # 95 of 100 OOD scores are 1; asking for 0.95 must not slip to the threshold below for want of an ulp.
    scores_out = np.repeat([1.0, 0.0], [95, 5])
    assert fpr_at_tpr(np.zeros(10), scores_out, tpr=0.95) == 0.0


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0])
def test_a_base_rate_outside_the_open_interval_is_refused(rate: float) -> None:
    for metric in (aupr_out, aupr_in):
        with pytest.raises(UsageError, match="base_rate cannot be used"):
            metric(np.array([0.0]), np.array([1.0]), base_rate=rate)


def test_a_target_rate_of_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="tpr cannot be used"):
        fpr_at_tpr(np.array([0.0]), np.array([1.0]), tpr=0.0)
