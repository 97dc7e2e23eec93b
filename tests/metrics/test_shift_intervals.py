"""The interval of effective robustness: against resampled images, and how often it covers the truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    AccuracyLine,
    Interval,
    effective_robustness,
    effective_robustness_interval,
    independent_difference,
    wilson_interval,
)

LINE = AccuracyLine(intercept=-2.37007, slope=1.07092, axis="logit", n=85)
PROBIT = AccuracyLine(intercept=-0.9, slope=0.95, axis="probit", n=85)


def answers(right: int, n: int) -> NDArray[np.float64]:
    return np.repeat([1.0, 0.0], [right, n - right])


@pytest.mark.parametrize("line", [LINE, PROBIT])
def test_the_interval_is_that_of_images_drawn_one_by_one(line: AccuracyLine) -> None:
    # Another generator, so alike but for chance: over eight seeds the ends were up to 4 % of the width off.
    clean, shifted = answers(310, 400), answers(90, 300)
    found = effective_robustness_interval(clean, shifted, line, seed=0, draws=4000)
    rng = np.random.RandomState(7)
    pairs = [(rng.choice(clean, 400).mean(), rng.choice(shifted, 300).mean()) for _ in range(4000)]
    drawn = [effective_robustness(float(c), float(s), line) for c, s in pairs]
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.08 * (high - low))
    assert found.high == pytest.approx(high, abs=0.08 * (high - low))
    assert found.low < effective_robustness(0.775, 0.3, line) < found.high
    assert (found.method, found.level) == ("two-sample percentile bootstrap, 4000 draws", 0.95)


@pytest.mark.parametrize(("p_clean", "p_shifted", "n_clean", "n_shifted"), [
    (0.92, 0.36, 1000, 3000), (0.79, 0.36, 625, 1851), (0.6, 0.02, 1000, 2000),
])  # fmt: skip
def test_the_truth_is_covered_as_often_as_it_says(
    p_clean: float, p_shifted: float, n_clean: int, n_shifted: int
) -> None:
    # A coverage over 800 draws is known to 0.8 points.
    rng, covered = np.random.default_rng(2), 0
    truth = effective_robustness(p_clean, p_shifted, LINE)
    for _ in range(800):
        clean, shifted = (
            answers(int(rng.binomial(n, p)), n) for n, p in ((n_clean, p_clean), (n_shifted, p_shifted))
        )
        found = effective_robustness_interval(clean, shifted, LINE, seed=0, draws=500)
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 800 <= 0.97


def test_more_images_narrow_it_and_either_set_counts() -> None:
    def width(n_clean: int, n_shifted: int) -> float:
        clean, shifted = answers(3 * n_clean // 4, n_clean), answers(n_shifted // 4, n_shifted)
        found = effective_robustness_interval(clean, shifted, LINE, seed=1)
        return found.high - found.low

    assert width(4000, 400) < width(400, 400)
    assert width(400, 4000) < width(400, 400)
    assert width(4000, 4000) < min(width(4000, 400), width(400, 4000))


@pytest.mark.parametrize("right", [0, 200])
def test_a_set_without_variation_gets_wilson_s_reach(right: int) -> None:
    # By hand from the two Wilson intervals; of the line the expectation at either end of the clean one.
    found = effective_robustness_interval(answers(300, 400), answers(right, 200), LINE, seed=0)
    clean, shifted = wilson_interval(300, 400), wilson_interval(right, 200)
    on_line = Interval(low=LINE.predict(clean.low), high=LINE.predict(clean.high), method="", level=0.95)
    expected = independent_difference(right / 200, shifted, LINE.predict(0.75), on_line)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-15)
    assert found.method == "square-and-add of wilson and wilson on the line"
    assert found.high > found.low


def test_a_falling_line_has_an_interval_too() -> None:
    falling = AccuracyLine(intercept=0.0, slope=-1.0, axis="logit", n=2)
    found = effective_robustness_interval(answers(300, 400), answers(0, 200), falling, seed=0)
    assert found.low < -0.25 < found.high


def test_a_resample_that_is_all_right_is_taken_at_the_end_of_the_axis() -> None:
    # Of two right and one wrong clean image nearly a third of the resamples are all right.
    found = effective_robustness_interval(answers(2, 3), answers(1, 2), LINE, seed=0)
    assert -1 <= found.low <= -0.4
    assert 0.9 <= found.high <= 1


def test_it_is_the_same_for_a_seed_and_for_any_order() -> None:
    clean, shifted = answers(300, 400), answers(90, 300)
    first = effective_robustness_interval(clean, shifted, LINE, seed=5)
    assert effective_robustness_interval(clean[::-1], shifted[::-1].astype(bool), LINE, seed=5) == first
    assert effective_robustness_interval(clean, shifted, LINE, seed=6) != first


@pytest.mark.parametrize("right", [0, 40])
def test_a_clean_accuracy_of_nothing_or_all_is_refused(right: int) -> None:
    with pytest.raises(UndefinedMetricError, match="clean_accuracy has no logit"):
        effective_robustness_interval(answers(right, 40), answers(10, 40), LINE, seed=0)


def test_shares_are_no_answers_and_bad_options_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="correct_shifted holds other numbers than 0 and 1"):
        effective_robustness_interval(answers(3, 4), np.array([0.5, 1.0]), LINE, seed=0)
    with pytest.raises(UsageError, match="draws cannot be used"):
        effective_robustness_interval(answers(3, 4), answers(1, 2), LINE, seed=0, draws=99)
