"""Tests of temperature scaling: against a grid, against L-BFGS in SciPy, and the halves of cross-fitting."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    cross_fit_temperatures,
    fit_temperature,
    negative_log_likelihood,
    scaled_logits,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _logits_and_labels(temperature: float, n: int = 4000, seed: int = 0) -> tuple[Floats, Ints]:
    """Draw logits that are ``temperature`` times too large, with labels from the right probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(n, 7))
    labels = (softmax(logits, axis=1).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return temperature * logits, labels


def test_three_of_four_right_at_one_margin_want_a_confidence_of_three_quarters() -> None:
    # Margin 2 at T: 1 / (1 + exp(-2 / T)) = 3/4, so 2 / T = ln 3.
    found = fit_temperature(np.array([[2.0, 0.0]] * 4), np.array([0, 1, 0, 0]))
    assert found == pytest.approx(2 / math.log(3), rel=1e-11)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.5, 20.0])
def test_the_temperature_that_made_the_logits_too_large_is_found(temperature: float) -> None:
    # Its standard error at 4,000 images is about 2 %.
    assert fit_temperature(*_logits_and_labels(temperature)) == pytest.approx(temperature, rel=0.06)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_temperature_of_a_fine_grid_is_better(seed: int) -> None:
    logits, labels = _logits_and_labels(1.7, n=500, seed=seed)
    found = fit_temperature(logits, labels)
    best = negative_log_likelihood(logits / found, labels)
    grid = np.exp(np.linspace(math.log(0.05), math.log(20), 2001))
    losses = [negative_log_likelihood(logits / t, labels) for t in grid]
    assert best <= min(losses)
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=0.004)  # steps of 0.3 %


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_the_temperature_agrees_with_l_bfgs_in_scipy(temperature: float) -> None:
    logits, labels = _logits_and_labels(temperature, n=1000)
    rows = np.arange(len(labels))

    def loss(t: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        # d/dt of -log softmax(z / t)[y] is (z_y - sum_k p_k z_k) / t^2.
        z = logits / t[0]
        slopes = logits[rows, labels] - (softmax(z, axis=1) * logits).sum(axis=1)
        return -log_softmax(z, axis=1)[rows, labels].mean(), np.array([slopes.mean() / t[0] ** 2])

    best = minimize(
        loss, [1.5], jac=True, method="L-BFGS-B", bounds=[(0.05, 20)], options={"ftol": 0, "gtol": 1e-12}
    )
    assert fit_temperature(logits, labels) == pytest.approx(best.x[0], rel=1e-6)


def test_logits_twice_as_large_want_twice_the_temperature_whatever_is_added_to_a_row() -> None:
    logits, labels = _logits_and_labels(1.3, n=300)
    found = fit_temperature(logits, labels)
    assert fit_temperature(2 * logits, labels) == pytest.approx(2 * found, rel=1e-10)
    moved = logits + np.random.default_rng(1).normal(scale=100, size=(300, 1))
    assert fit_temperature(moved, labels) == pytest.approx(found, rel=1e-10)


def test_the_fit_neither_overflows_nor_touches_its_input() -> None:
    logits, labels = _logits_and_labels(1.0, n=300)
    huge = logits + 1e4
    before = huge.copy()
    assert fit_temperature(huge, labels) == pytest.approx(fit_temperature(logits, labels), rel=1e-7)
    assert np.array_equal(huge, before)


def test_more_rows_than_are_taken_at_a_time_are_all_used() -> None:
    logits, labels = _logits_and_labels(1.5, n=9000)
    found = fit_temperature(logits, labels)
    p = softmax(logits / found, axis=1)
    # At the minimum the mean logit under the prediction is that of the right class.
    assert (p * logits).sum(axis=1).mean() == pytest.approx(logits[np.arange(9000), labels].mean(), abs=1e-9)


@pytest.mark.parametrize(
    ("logits", "labels", "found"),
    [
        ([[2.0, 0.0], [0.0, 1.0]], [0, 1], "below"),
        ([[2.0, 0.0], [0.0, 1.0]], [1, 0], "above"),
        ([[1.0, 1.0], [3.0, 3.0]], [1, 0], "any is as good"),
        ([[2.0, 0.0], [2.0, 0.0]], [0, 1], "above"),
    ],
)
def test_without_a_best_temperature_there_is_none(logits: ArrayLike, labels: ArrayLike, found: str) -> None:
    with pytest.raises(UndefinedMetricError, match=f"no temperature is best; .*found {found}"):
        fit_temperature(np.asarray(logits), np.asarray(labels))


def test_scaling_divides_the_logits_and_keeps_the_classes() -> None:
    logits, _ = _logits_and_labels(1.0, n=50)
    assert scaled_logits(logits, temperature=2.0).tolist() == (logits / 2).tolist()
    each = np.linspace(0.5, 3, 50)
    scaled = scaled_logits(logits, temperature=each)
    assert scaled[7].tolist() == (logits[7] / each[7]).tolist()
    assert np.array_equal(scaled.argmax(axis=1), logits.argmax(axis=1))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf, np.array([1.0, 0.0])])
def test_a_temperature_that_is_none_is_refused(temperature: float | Floats) -> None:
    with pytest.raises(UsageError, match="temperature cannot be used"):
        scaled_logits(np.ones((2, 3)), temperature=temperature)


def test_a_temperature_that_is_no_number_is_refused() -> None:
    written: Any = "2"
    with pytest.raises(UsageError, match=r"temperature cannot be used; .*; found '2'"):
        scaled_logits(np.ones((2, 3)), temperature=written)


def test_one_temperature_each_means_as_many_as_images() -> None:
    with pytest.raises(UndefinedMetricError, match="logits and temperature differ in length"):
        scaled_logits(np.ones((2, 3)), temperature=np.ones(3))


def test_each_image_gets_the_temperature_of_the_half_it_is_not_in() -> None:
    logits, labels = _logits_and_labels(2.0, n=600)
    ids = [f"{i:05d}" for i in range(600)]
    odd = np.array([int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 1 for name in ids])
    found = cross_fit_temperatures(logits, labels, ids)
    assert (found.n_even, found.n_odd) == (int((~odd).sum()), int(odd.sum()))
    assert found.odd == fit_temperature(logits[odd], labels[odd])
    assert found.even == fit_temperature(logits[~odd], labels[~odd])
    assert found.even != found.odd
    assert found.of_each == tuple(found.even if is_odd else found.odd for is_odd in odd)


def test_an_image_has_no_part_in_its_own_temperature() -> None:
    logits, labels = _logits_and_labels(2.0, n=200)
    ids = [f"{i:05d}" for i in range(200)]
    before = cross_fit_temperatures(logits, labels, ids)
    logits[0] *= -10
    after = cross_fit_temperatures(logits, labels, ids)
    assert after.of_each[0] == before.of_each[0]
    assert len({before.even, before.odd} & {after.even, after.odd}) == 1


def test_the_halves_follow_the_ids_and_not_the_order() -> None:
    logits, labels = _logits_and_labels(2.0, n=200)
    ids = [f"{i:05d}" for i in range(200)]
    order = np.random.default_rng(0).permutation(200)
    found = cross_fit_temperatures(logits, labels, ids)
    shuffled = cross_fit_temperatures(logits[order], labels[order], [ids[i] for i in order])
    assert (shuffled.even, shuffled.odd) == (found.even, found.odd)
    assert shuffled.of_each == tuple(found.of_each[i] for i in order)


def test_a_half_without_images_has_no_temperature() -> None:
    # The hashes of "3" and "4" are even.
    with pytest.raises(UndefinedMetricError, match="a half of the images is empty"):
        cross_fit_temperatures(np.array([[2.0, 0.0]] * 3), np.array([0, 0, 1]), ["3", "4", "11"])


def test_each_image_has_one_id() -> None:
    with pytest.raises(UndefinedMetricError, match="logits and sample_ids differ in length"):
        cross_fit_temperatures(np.array([[2.0, 0.0]] * 3), np.array([0, 0, 1]), ["0", "3"])
