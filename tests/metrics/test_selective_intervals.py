"""Tests of the intervals of AURC and its kin: against whole resamples, and coverage by simulation.

Answers are drawn with confidence uniform in (0.35, 0.95) and accuracy ``confidence - 0.1``; the truth is what
two million of them give. The seeds are 0, 1, 2 ... and were not chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    accuracy_at_coverage_interval,
    clopper_pearson_interval,
    selective_interval,
)
from robustbench_safety.metrics.selective_intervals import (
    _VALUES,
    SelectiveStatistic,
    accuracy_at_coverage_values,
)

Floats = NDArray[np.float64]
STATISTICS: tuple[SelectiveStatistic, ...] = get_args(SelectiveStatistic)
#: PRR is the AUROC on another scale, and a test below says so of their intervals.
SIMULATED = [name for name in STATISTICS if name != "prediction_rejection_ratio"]


def _metric(name: str) -> Callable[..., float]:
    found: Callable[..., float] = getattr(metrics, name)
    return found


def _answers(rng: np.random.Generator, shape: int | tuple[int, int]) -> tuple[Floats, Floats]:
    confidence = 0.35 + 0.6 * rng.random(shape)
    return confidence, (rng.random(shape) < confidence - 0.1).astype(np.float64)


@cache
def _truth(name: str) -> float:
    return _metric(name)(*_answers(np.random.default_rng(99), 2_000_000))


def test_the_value_of_each_image_is_what_it_adds_to_the_aurc() -> None:
    # Ranks 1, 2, 3: right, wrong, right; risks 0, 1/2, 1/3. Derivatives by the share of each image:
    # rank 1: 0 + (0 - 0)/1 + (0 - 1/2)/2 + (0 - 1/3)/3 = -13/36
    # rank 2: 1/2 + (1 - 1/2)/2 + (1 - 1/3)/3 = 35/36; rank 3: 1/3 + (0 - 1/3)/3 = 8/36. Mean 10/36 = AURC.
    confidence, correct = np.array([0.7, 0.9, 0.8]), np.array([1.0, 1.0, 0.0])
    assert _VALUES["aurc"](confidence, correct) == pytest.approx([8 / 36, -13 / 36, 35 / 36], abs=1e-15)
    assert metrics.aurc(confidence, correct) == pytest.approx(10 / 36, abs=1e-15)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("digits", [1, 17])
def test_the_values_of_the_images_average_to_the_metric_ties_included(
    name: SelectiveStatistic, digits: int
) -> None:
    confidence, correct = _answers(np.random.default_rng(3), 301)
    confidence = confidence.round(digits)
    values = _VALUES[name](confidence, correct)
    assert values.mean() == pytest.approx(_metric(name)(confidence, correct), abs=1e-12)


@pytest.mark.parametrize("name", SIMULATED)
def test_the_interval_is_that_of_whole_resamples(name: SelectiveStatistic) -> None:
    confidence, correct = _answers(np.random.default_rng(5), 2000)
    rng = np.random.default_rng(0)
    rows = (rng.integers(2000, size=2000) for _ in range(2000))
    drawn = [_metric(name)(confidence[row], correct[row]) for row in rows]
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = selective_interval(confidence, correct, statistic=name, seed=0)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert found.method == "percentile bootstrap, 2000 draws, influence of each image"


@pytest.mark.parametrize("name", SIMULATED)
def test_the_interval_covers_the_true_value(name: SelectiveStatistic) -> None:
    rng = np.random.default_rng(0)
    made = [selective_interval(*_answers(rng, 2000), statistic=name, seed=r, draws=300) for r in range(400)]
    # The 2.5 % point of 300 draws, interpolated, lies 8.5 from the end of 301: it leaves out 2.8 %, so that
    # 94.4 % is aimed at. Over 4,000 other samples, normal intervals as narrow covered 93.9 to 94.4 %. The
    # share of 400 has a standard error of 1.2 %; three of them about 94 % are 90.4 and 97.6 %.
    assert 0.904 <= sum(one.low <= _truth(name) <= one.high for one in made) / 400 <= 0.976


@pytest.mark.parametrize("name", SIMULATED)
def test_the_interval_of_a_mean_over_conditions_covers_the_true_mean(name: SelectiveStatistic) -> None:
    # Eight conditions of 500 images; how hard an image is is partly its own.
    rng = np.random.default_rng(0)
    covered = 0
    for r in range(200):
        hardness = (rng.random(500) + 0.3 * rng.random((8, 500))) % 1.0
        confidence = 0.35 + 0.6 * hardness
        correct = rng.random((8, 500)) < confidence - 0.1
        found = selective_interval(confidence, correct, statistic=name, seed=r, draws=200)
        covered += found.low <= _truth(name) <= found.high
    assert covered / 200 >= 0.92


@pytest.mark.parametrize("name", STATISTICS)
def test_the_same_answers_twice_say_no_more_than_once(name: SelectiveStatistic) -> None:
    confidence, correct = _answers(np.random.default_rng(0), 500)
    one = selective_interval(confidence, correct, statistic=name, seed=0, draws=200)
    two = selective_interval(
        np.stack([confidence] * 2), np.stack([correct] * 2), statistic=name, seed=0, draws=200
    )
    assert (two.low, two.high) == pytest.approx((one.low, one.high), abs=1e-12)
    assert two.method == f"{one.method}, mean over 2 conditions"


@pytest.mark.parametrize("name", ["aurc", "excess_aurc"])
def test_answers_without_error_bound_what_may_have_gone_unseen(name: SelectiveStatistic) -> None:
    # Clopper-Pearson at 0 of 100: 1 - 0.025^(1/100) = 3.62 %.
    found = selective_interval(np.linspace(0.5, 1, 100), np.ones(100), statistic=name, seed=0)
    assert (found.low, found.high) == pytest.approx((0.0, 0.0362), abs=5e-5)


def test_answers_that_are_all_wrong_have_no_excess_to_speak_of() -> None:
    found = selective_interval(np.linspace(0, 1, 100), np.zeros(100), statistic="excess_aurc", seed=0)
    assert (found.low, found.high) == pytest.approx((0.0, 0.0362), abs=5e-5)


def test_a_condition_without_error_has_no_detection_of_errors() -> None:
    confidence, correct = _answers(np.random.default_rng(0), (2, 100))
    correct[1] = 1
    with pytest.raises(UndefinedMetricError, match="correct holds one class only"):
        selective_interval(confidence, correct, statistic="error_detection_auroc", seed=0)


def test_an_unknown_statistic_is_refused() -> None:
    with pytest.raises(UsageError, match="statistic cannot be used; expected aurc or"):
        selective_interval(np.array([0.5]), np.array([1]), statistic="rms", seed=0)  # type: ignore[arg-type]  # wrong on purpose


def test_the_value_of_each_image_is_what_it_adds_to_the_augrc() -> None:
    # Ranks 1, 2, 3: right, wrong, right. Errors up to the rank 0, 1, 1, and ranks from the wrong one on 2:
    # (0, 1 + 2, 1) / 3, each less the AUGRC, which is (0 + 1 + 1) / 9. Their mean is the AUGRC again.
    confidence, correct = np.array([0.7, 0.9, 0.8]), np.array([1.0, 1.0, 0.0])
    assert _VALUES["augrc"](confidence, correct) == pytest.approx([1 / 9, -2 / 9, 7 / 9], abs=1e-15)
    assert metrics.augrc(confidence, correct) == pytest.approx(2 / 9, abs=1e-15)


def test_the_interval_of_a_prr_is_that_of_the_auroc_on_another_scale() -> None:
    answers = _answers(np.random.default_rng(0), 500)
    area = selective_interval(*answers, statistic="error_detection_auroc", seed=0)
    found = selective_interval(*answers, statistic="prediction_rejection_ratio", seed=0)
    assert (found.low, found.high) == pytest.approx((2 * area.low - 1, 2 * area.high - 1), abs=1e-12)
    assert found.method == area.method


def test_a_prr_may_be_negative_and_so_may_the_ends_of_its_interval() -> None:
    confidence, correct = _answers(np.random.default_rng(0), 500)
    turned = 1 - confidence
    found = selective_interval(turned, correct, statistic="prediction_rejection_ratio", seed=0)
    assert -1 < found.low < metrics.prediction_rejection_ratio(turned, correct) < found.high < 0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_or_a_reversed_ranking_bounds_the_prr_on_its_whole_range(sign: int) -> None:
    # Clopper-Pearson at 0 of 100 images is 3.62 %, of a range of 2.
    confidence = np.linspace(0.2, 0.8, 100)
    correct = confidence > 0.5 if sign > 0 else confidence < 0.5
    found = selective_interval(confidence, correct, statistic="prediction_rejection_ratio", seed=0)
    expected = (1 - 2 * 0.0362, 1.0) if sign > 0 else (-1.0, -1 + 2 * 0.0362)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-4)


# ------------------------------------------------------------------------------------- accuracy at coverage


def test_the_value_of_each_image_is_what_it_adds_to_the_accuracy_of_the_answered() -> None:
    # Two of four are answered, one of them wrong; of the two on either side of the threshold (within
    # 4^(2/3), cut to 2) two of four are wrong, 1/2. Risk 1/4 at share 1/2: an answered image moves it by its
    # error less 1/2, all by -(1/4 - 1/4). So (1/4 + 1/2, 1/4 - 1/2, 1/4, 1/4) / (1/2), taken from 1.
    confidence, correct = np.array([0.9, 0.8, 0.7, 0.6]), np.array([0.0, 1.0, 0.0, 1.0])
    found = accuracy_at_coverage_values(confidence, correct, coverage=0.5)
    assert found == pytest.approx([-0.5, 1.5, 0.5, 0.5], abs=1e-15)


@pytest.mark.parametrize("coverage", [0.05, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("digits", [1, 17])
def test_the_values_average_to_the_accuracy_ties_included(coverage: float, digits: int) -> None:
    confidence, correct = _answers(np.random.default_rng(3), 301)
    confidence = confidence.round(digits)
    values = accuracy_at_coverage_values(confidence, correct, coverage=coverage)
    expected = metrics.accuracy_at_coverage(confidence, correct, coverage=coverage)
    assert values.mean() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_the_interval_of_the_accuracy_is_that_of_whole_resamples(coverage: float) -> None:
    confidence, correct = _answers(np.random.default_rng(5), 2000)
    rng = np.random.default_rng(0)
    rows = (rng.integers(2000, size=2000) for _ in range(2000))
    drawn = [metrics.accuracy_at_coverage(confidence[r], correct[r], coverage=coverage) for r in rows]
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = accuracy_at_coverage_interval(confidence, correct, coverage=coverage, seed=0)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_the_interval_covers_the_true_accuracy_at_coverage(coverage: float) -> None:
    # With the confidence uniform the answered ones are the upper part, of mean accuracy 0.85 - 0.3 c. Over
    # 600 other samples of 300, 2,000 or 10,000 images, normal intervals as narrow covered 94.2 to 95.7 %.
    rng, truth, covered = np.random.default_rng(0), 0.85 - 0.3 * coverage, 0
    for r in range(300):
        found = accuracy_at_coverage_interval(*_answers(rng, 1000), coverage=coverage, seed=r, draws=200)
        covered += found.low <= truth <= found.high
    # 200 draws aim at 94 %; the share of 300 has a standard error of 1.4 %.
    assert 0.90 <= covered / 300 <= 0.98


def test_the_interval_of_a_mean_accuracy_over_conditions_covers_the_true_mean() -> None:
    rng, covered = np.random.default_rng(0), 0
    for r in range(150):
        hardness = (rng.random(500) + 0.3 * rng.random((8, 500))) % 1.0
        confidence = 0.35 + 0.6 * hardness
        correct = rng.random((8, 500)) < confidence - 0.1
        found = accuracy_at_coverage_interval(confidence, correct, coverage=0.8, seed=r, draws=200)
        covered += found.low <= 0.85 - 0.3 * 0.8 <= found.high
    assert covered / 150 >= 0.91


def test_at_full_coverage_the_interval_is_that_of_the_accuracy() -> None:
    confidence, correct = _answers(np.random.default_rng(0), 500)
    found = accuracy_at_coverage_interval(confidence, correct, coverage=1.0, seed=0)
    plain = metrics.bootstrap_interval(correct, seed=0)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.005)


def test_answered_images_without_error_bound_what_may_have_gone_unseen_among_them() -> None:
    confidence = np.linspace(1, 0, 200)
    found = accuracy_at_coverage_interval(confidence, confidence > 0.1, coverage=0.5, seed=0)
    assert (found.low, found.high) == pytest.approx((1 - clopper_pearson_interval(0, 100).high, 1.0))


def test_a_coverage_that_is_no_fraction_has_no_interval() -> None:
    with pytest.raises(UsageError, match="coverage cannot be used"):
        accuracy_at_coverage_interval(np.array([0.5]), np.array([1]), coverage=1.5, seed=0)
