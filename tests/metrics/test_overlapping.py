"""The interval of a mean over sets that share some images: against plain resampling, and its coverage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import bootstrap_interval, mean_over_sets_interval

Floats = NDArray[np.float64]


def ids(start: int, stop: int) -> list[str]:
    return [f"image-{number}" for number in range(start, stop)]


def width(values: Sequence[Floats], names: Sequence[Sequence[str]]) -> float:
    found = mean_over_sets_interval(values, names, seed=0)
    return found.high - found.low


def test_equal_sets_have_the_interval_of_each_image_s_mean() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(2, size=300).astype(float) for _ in range(2))
    found = mean_over_sets_interval([first, second], [ids(0, 300)] * 2, seed=4)
    paired = bootstrap_interval((first + second) / 2, seed=4)
    assert (found.low, found.high) == pytest.approx((paired.low, paired.high), abs=1e-12)
    assert found.method.endswith(", by combination of sets")


def test_sets_that_share_some_images_are_resampled_image_by_image() -> None:
    # By a loop over names: 40 images of the first alone, 30 of both, 50 of the second alone.
    rng = np.random.default_rng(1)
    first, second = rng.integers(2, size=70).astype(float), rng.integers(2, size=80).astype(float)
    second[:30] = first[40:]  # what is wrong in one is wrong in the other
    names = [ids(0, 70), ids(40, 120)]
    tables = [dict(zip(names[0], first, strict=True)), dict(zip(names[1], second, strict=True))]
    drawn = []
    for _ in range(1500):
        sums = [0.0, 0.0]
        for low, high in ((0, 40), (40, 70), (70, 120)):
            for number in rng.integers(low, high, size=high - low):
                for which, table in enumerate(tables):
                    sums[which] += table.get(f"image-{number}", 0.0)
        drawn.append((sums[0] / 70 + sums[1] / 80) / 2)
    low, high = np.percentile(drawn, [2.5, 97.5])
    found = mean_over_sets_interval([first, second], names, seed=0)
    assert found.low == pytest.approx(low, abs=0.1 * (high - low))
    assert found.high == pytest.approx(high, abs=0.1 * (high - low))


def test_shared_images_that_agree_make_it_wider_than_other_images_would() -> None:
    wrong = np.repeat([0.0, 1.0], 100)
    shared, apart = [ids(0, 200), ids(0, 200)], [ids(0, 200), ids(200, 400)]
    assert width([wrong, wrong], shared) == pytest.approx(2**0.5 * width([wrong, wrong], apart), rel=0.1)
    # And where they disagree they cancel.
    assert width([wrong, 1 - wrong], shared) < 0.05 * width([wrong, wrong], apart)


def test_the_mean_of_six_rates_is_covered_as_often_as_it_says() -> None:
    # A sixth of each set lies in the next one too. Over 400 draws a coverage is known to 1.1 points.
    rng = np.random.default_rng(2)
    rates, covered = np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.7]), 0
    names = [ids(100 * number, 100 * number + 120) for number in range(6)]
    for _ in range(400):
        hardness = rng.random(620)
        values = [(hardness[100 * k : 100 * k + 120] < rate).astype(float) for k, rate in enumerate(rates)]
        found = mean_over_sets_interval(values, names, seed=0, draws=200)
        covered += found.low <= rates.mean() <= found.high
    assert 0.925 <= covered / 400 <= 0.975


def test_neither_the_order_of_the_images_nor_that_of_the_sets_matters() -> None:
    rng = np.random.default_rng(3)
    values = [rng.integers(2, size=n).astype(float) for n in (50, 80)]
    names = [ids(0, 50), ids(20, 100)]
    first = mean_over_sets_interval(values, names, seed=1)
    order = rng.permutation(80)
    shuffled = [values[0], values[1][order]], [names[0], [names[1][i] for i in order]]
    assert mean_over_sets_interval(*shuffled, seed=1) == first
    assert mean_over_sets_interval(values, names, seed=2) != first


def test_sets_without_variation_have_the_bound_of_the_smallest() -> None:
    found = mean_over_sets_interval([np.zeros(10), np.zeros(30)], [ids(0, 10), ids(10, 40)], seed=0)
    assert found.low == 0
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 10), abs=1e-12)


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        ([], [], "values and ids of each; found 0 and 0"),
        ([np.ones(2)], [["a", "b"], ["c"]], "values and ids of each; found 1 and 2"),
        ([np.ones(2)], [["a"]], "one id a value.*found 2 values, 1 ids"),
        ([np.ones(2)], [["a", "a"]], "found 2 values, 2 ids, 1 different"),
        ([np.ones(2), np.ones(0)], [["a", "b"], []], "values is empty"),
        ([np.array([np.nan])], [["a"]], "values is not finite"),
    ],
)
def test_a_mean_that_does_not_exist_has_no_interval(
    values: list[Floats], names: list[list[str]], message: str
) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        mean_over_sets_interval(values, names, seed=0)


def test_options_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(UsageError, match="level cannot be used"):
        mean_over_sets_interval([np.ones(2)], [["a", "b"]], seed=0, level=1.0)
