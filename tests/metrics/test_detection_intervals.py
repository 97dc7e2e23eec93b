"""Tests of the intervals of AUROC, both AUPRs and both FPRs."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit, logit, ndtr

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics import (
    Interval,
    aupr_in,
    aupr_in_interval,
    aupr_interval,
    aupr_out,
    auroc,
    auroc_interval,
    fpr_at_tpr,
    fpr_at_tpr_hendrycks,
    fpr_hendrycks_interval,
    fpr_interval,
    two_sample_bootstrap_interval,
)

Scores = np.ndarray[tuple[int], np.dtype[np.float64]]


def _scores(n_in: int, n_out: int, seed: int = 0) -> tuple[Scores, Scores]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, n_in).round(2), rng.normal(1, 1.5, n_out).round(2)


def test_delong_by_hand() -> None:
    # ID 1, 2, 4 and OOD 3, 5. Shares of OOD above: 1, 1, 1/2, variance 1/12. Shares of ID below: 2/3, 1,
    # variance 1/18. Variance of the AUROC 5/6: 1/36 + 1/36; on the logit scale divided by (5/36)^2.
    interval = auroc_interval(np.array([1.0, 2.0, 4.0]), np.array([3.0, 5.0]))
    reach = 1.959964 * np.sqrt(1 / 18) / (5 / 36)
    expected = expit(logit(5 / 6) + np.array([-reach, reach]))
    assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=1e-6)


def test_delong_agrees_with_plain_loops_over_pairs_for_several_sets() -> None:
    inside, first = _scores(40, 25)
    _, second = _scores(1, 30, seed=1)
    sets = [first, second]

    def wins(s: float, t: float) -> float:
        return float(t > s) + 0.5 * (t == s)

    of_in = [np.mean([np.mean([wins(s, t) for t in group]) for group in sets]) for s in inside]
    variance = np.var(of_in, ddof=1) / 40
    for group in sets:
        variance += np.var([np.mean([wins(s, t) for s in inside]) for t in group], ddof=1) / len(group) / 4
    area = np.mean([auroc(inside, group) for group in sets])
    reach = 1.959964 * np.sqrt(variance) / (area * (1 - area))
    interval = auroc_interval(inside, sets)
    assert (interval.low, interval.high) == pytest.approx(
        (expit(logit(area) - reach), expit(logit(area) + reach)), abs=1e-6
    )


def test_one_set_is_the_mean_over_one_set() -> None:
    inside, outside = _scores(50, 40)
    assert auroc_interval(inside, outside) == auroc_interval(inside, [outside])
    assert aupr_interval(inside, outside, seed=0) == aupr_interval(inside, [outside], seed=0)


def test_the_shared_id_set_keeps_the_interval_of_a_mean_wide() -> None:
    # Ten OOD sets of 2,000 against 50 ID images: nearly all of the noise is in the ID images.
    inside, _ = _scores(50, 1)
    sets = [_scores(1, 2000, seed=k)[1] for k in range(10)]
    one, ten = auroc_interval(inside, sets[0]), auroc_interval(inside, sets)
    assert ten.high - ten.low > 0.9 * (one.high - one.low)


def test_delong_covers_the_true_auroc_about_as_often_as_it_says() -> None:
    # Normal scores one apart: AUROC = Phi(1 / sqrt 2); two sets share the ID images. Noise: 0.7 points.
    rng, truth, covered = np.random.default_rng(0), float(ndtr(1 / np.sqrt(2))), 0
    for _ in range(1000):
        interval = auroc_interval(rng.normal(0, 1, 80), [rng.normal(1, 1, 60), rng.normal(1, 1, 100)])
        covered += interval.low <= truth <= interval.high
    assert 0.93 <= covered / 1000 <= 0.97


@pytest.mark.parametrize(("shift", "low", "high"), [(5, 0.6915, 1.0), (-5, 0.0, 0.3085), (0, 0.3458, 0.6542)])
def test_an_auroc_without_variance_gets_an_exact_bound(shift: int, low: float, high: float) -> None:
    # As for 0 of 10 events (the smaller group): 0.3085 of the images may behave otherwise.
    interval = auroc_interval(np.zeros(100), np.full(10, float(shift)))
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert interval.method == "clopper-pearson (all 10 values equal)"


def test_a_group_of_one_has_no_variance() -> None:
    with pytest.raises(UndefinedMetricError, match="too small for a variance"):
        auroc_interval(np.array([0.0, 1.0]), np.array([0.5]))


def test_no_out_of_distribution_set_is_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="scores_out is empty"):
        auroc_interval(np.array([0.0, 1.0]), [])


def _nearly_equal(fast: Interval, slow: Interval) -> bool:
    width = slow.high - slow.low
    return abs(fast.low - slow.low) < 0.12 * width and abs(fast.high - slow.high) < 0.12 * width


@pytest.mark.parametrize("base_rate", [None, 0.1])
def test_the_fast_bootstrap_of_aupr_agrees_with_resampling_the_scores(base_rate: float | None) -> None:
    scores = _scores(150, 60)
    slow = two_sample_bootstrap_interval(
        lambda inside, outside: aupr_out(inside, outside, base_rate=base_rate), *scores, seed=1
    )
    assert _nearly_equal(aupr_interval(*scores, base_rate=base_rate, seed=0), slow)


def test_the_fast_bootstrap_of_fpr_agrees_with_resampling_the_scores() -> None:
    scores = _scores(150, 60)
    slow = two_sample_bootstrap_interval(lambda i, o: fpr_at_tpr(i, o, tpr=0.8), *scores, seed=1)
    assert _nearly_equal(fpr_interval(*scores, tpr=0.8, seed=0), slow)


@pytest.mark.parametrize("tpr", [0.8, 1.0])
def test_the_fast_bootstrap_of_the_published_fpr_agrees_with_resampling_the_scores(tpr: float) -> None:
    scores = _scores(150, 60)
    slow = two_sample_bootstrap_interval(lambda i, o: fpr_at_tpr_hendrycks(i, o, tpr=tpr), *scores, seed=1)
    assert _nearly_equal(fpr_hendrycks_interval(*scores, tpr=tpr, seed=0), slow)


@pytest.mark.parametrize("base_rate", [None, 0.1])
def test_the_fast_bootstrap_of_aupr_in_agrees_with_resampling_the_scores(base_rate: float | None) -> None:
    scores = _scores(60, 150)
    slow = two_sample_bootstrap_interval(
        lambda inside, outside: aupr_in(inside, outside, base_rate=base_rate), *scores, seed=1
    )
    assert _nearly_equal(aupr_in_interval(*scores, base_rate=base_rate, seed=0), slow)


def test_aupr_in_of_one_set_is_had_by_exchanging_the_groups() -> None:
    inside, outside = _scores(60, 50)
    assert _nearly_equal(aupr_in_interval(inside, outside, seed=0), aupr_interval(-outside, -inside, seed=1))


@pytest.mark.parametrize("interval", [aupr_in_interval, fpr_hendrycks_interval])
def test_a_mean_of_them_over_sets_that_share_the_id_images_draws_them_once(
    interval: Callable[..., Interval],
) -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0, 1, 30), rng.normal(1, 1, 3000)
    one = interval(inside, outside, seed=0, draws=500)
    two = interval(inside, [outside, outside], seed=0, draws=500)
    assert two.high - two.low > 0.85 * (one.high - one.low)


@pytest.mark.parametrize(
    ("interval", "metric", "n_in", "n_out"),
    [(aupr_in_interval, aupr_in, 150, 60), (fpr_hendrycks_interval, fpr_at_tpr_hendrycks, 100, 200)],
)
def test_they_cover_the_true_value_about_as_often_as_they_say(
    interval: Callable[..., Interval], metric: Callable[..., float], n_in: int, n_out: int
) -> None:
    # Normal scores one apart. The truth is of 200 times as many images in the same shares. Of 300 intervals
    # the share that covers has a standard error of 1.3 %; they are of 200 draws, which aim at 94 %.
    big = np.random.default_rng(99)
    truth = metric(big.normal(0, 1, 200 * n_in), big.normal(1, 1, 200 * n_out))
    rng, covered = np.random.default_rng(0), 0
    for seed in range(300):
        found = interval(rng.normal(0, 1, n_in), rng.normal(1, 1, n_out), seed=seed, draws=200)
        covered += found.low <= truth <= found.high
    assert 0.90 <= covered / 300 <= 0.98


def test_a_mean_over_sets_that_share_the_id_images_draws_them_once() -> None:
    # The same OOD set twice: were the ID images drawn apart for each, the interval would shrink by more.
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0, 1, 30), rng.normal(1, 1, 3000)
    one = fpr_interval(inside, outside, seed=0, draws=1000)
    two = fpr_interval(inside, [outside, outside], seed=0, draws=1000)
    assert two.high - two.low > 0.85 * (one.high - one.low)
