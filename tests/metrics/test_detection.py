"""Tests of anomaly detection."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from robustbench_safety.errors import UsageError
from robustbench_safety.metrics import aupr_in, aupr_out, auroc, fpr_at_tpr, fpr_at_tpr_hendrycks

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


def _published_fpr(scores_in: list[float], scores_out: list[float], tpr: float) -> float:
    """Scan every threshold by counting, as the published rule is told in words."""
    best, best_distance, last_recall = 0.0, 2.0, 2.0
    for threshold in sorted({*scores_in, *scores_out}):  # from high recall to low
        recall = sum(score >= threshold for score in scores_out) / len(scores_out)
        false_positives = sum(score >= threshold for score in scores_in) / len(scores_in)
        # At full recall each higher threshold takes the place of the one below; else the lowest stays.
        if abs(recall - tpr) < best_distance or recall == last_recall == 1:
            best, best_distance = false_positives, abs(recall - tpr)
        last_recall = recall
    return best


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


def test_the_published_fpr_is_taken_where_the_recall_is_nearest() -> None:
    # OOD 9, 7, 5, 3 and ID 8, 6, 4, 2. From high recall to low: 4/4 at 3 (8, 6, 4 lie above), 3/4 at 4 and
    # at 5 (three and two), 2/4 at 6 and at 7 (two and one), 1/4 at 8 and at 9 (one and none).
    scores_in, scores_out = np.array([8.0, 6.0, 4.0, 2.0]), np.array([9.0, 7.0, 5.0, 3.0])
    found = [fpr_at_tpr_hendrycks(scores_in, scores_out, tpr=tpr) for tpr in (0.1, 0.3, 0.6, 0.7, 0.8, 0.9)]
    assert found == [1 / 4, 1 / 4, 2 / 4, 3 / 4, 3 / 4, 3 / 4]
    # Ours asks for at least 0.6, and takes the highest threshold that catches 3/4.
    assert fpr_at_tpr(scores_in, scores_out, tpr=0.6) == 2 / 4


def test_the_published_fpr_takes_the_higher_of_two_recalls_as_near() -> None:
    # Recalls 1, 3/4, 2/4 and 1/4, all exact: 0.625 is as far from 3/4 as from 2/4.
    scores_in, scores_out = np.array([2.5, 0.0]), np.array([4.0, 3.0, 2.0, 1.0])
    assert fpr_at_tpr_hendrycks(scores_in, scores_out, tpr=0.625) == 1 / 2


def test_the_published_fpr_at_full_recall_stops_where_the_last_ood_image_is_caught() -> None:
    # All OOD images are caught at 2 with no ID image above it; the thresholds 1 and 0 would give 1/2 and 1.
    assert fpr_at_tpr_hendrycks(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == 0.0
    assert fpr_at_tpr_hendrycks(np.array([0.0, 1.0]), np.array([1.0, 1.0]), tpr=0.1) == 1 / 2


@pytest.mark.parametrize("tpr", [0.05, 0.5, 0.8, 0.95, 1.0])
def test_the_published_fpr_of_the_golden_scores_agrees_with_counting(tpr: float) -> None:
    scores_in, scores_out = _golden_scores()
    expected = _published_fpr(scores_in.tolist(), scores_out.tolist(), tpr)
    assert fpr_at_tpr_hendrycks(scores_in, scores_out, tpr=tpr) == pytest.approx(expected, abs=1e-15)


@given(
    scores_in=st.lists(st.integers(0, 8).map(float), min_size=1, max_size=12),
    scores_out=st.lists(st.integers(0, 8).map(float), min_size=1, max_size=12),
    tpr=st.sampled_from([0.1, 0.5, 0.625, 0.75, 0.8, 0.95, 1.0]),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_published_fpr_agrees_with_counting(
    scores_in: list[float], scores_out: list[float], tpr: float
) -> None:
    found = fpr_at_tpr_hendrycks(np.array(scores_in), np.array(scores_out), tpr=tpr)
    assert found == pytest.approx(_published_fpr(scores_in, scores_out, tpr), abs=1e-15)


def test_a_target_rate_of_zero_is_refused_by_the_published_fpr_too() -> None:
    with pytest.raises(UsageError, match="tpr cannot be used"):
        fpr_at_tpr_hendrycks(np.array([0.0]), np.array([1.0]), tpr=0.0)
