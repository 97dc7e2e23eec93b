"""Tests of the power of the gate's test of one condition: by hand, exactly, and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from robustbench_safety.errors import UsageError
from robustbench_safety.metrics.power import McnemarRule, detectable_drop, mcnemar_power
from robustbench_safety.metrics.significance import holm_adjusted, mcnemar_test


def p_value(b: NDArray[np.int64], m: NDArray[np.int64]) -> NDArray[np.float64]:
    """The definition, by scipy's own binomial law."""
    return np.asarray(binom.sf(b - 1, m, 0.5))


def simulated(n: int, discordance: float, drop: float, rule: McnemarRule, *, seed: int) -> float:
    """Share of 8,000 draws of images that fail: newly wrong, newly right, and the rest of n."""
    wrong, right = (discordance + drop) / 2, (discordance - drop) / 2
    counts = np.random.default_rng(seed).multinomial(n, [wrong, right, 1 - wrong - right], size=8000)
    b, m = counts[:, 0], counts[:, 0] + counts[:, 1]
    fails = (p_value(b, m) <= rule.alpha / rule.n_columns) & (2 * b - m > rule.tolerance * n)
    return float(np.mean(fails))


def test_the_power_is_that_of_simulated_images_to_three_points() -> None:
    # 8,000 draws of a share: a standard deviation of at most 0.56 points, so 1.5 points holds throughout.
    grid = itertools.product(
        (500, 2000, 10_000), (0.02, 0.1, 0.3), (0.0, 0.005, 0.01, 0.02, 0.05), (0.0, 0.003, 0.01)
    )
    apart = []
    for seed, (n, discordance, drop, tolerance) in enumerate(grid):
        if drop > discordance:
            continue
        rule = McnemarRule(tolerance=tolerance, n_columns=1 + seed % 7)
        told = mcnemar_power(n, discordance=discordance, drop=drop, rule=rule)
        apart.append(abs(told - simulated(n, discordance, drop, rule, seed=seed)))
    assert len(apart) > 100
    assert max(apart) < 0.015


def test_the_power_is_that_of_whole_checks_of_five_columns() -> None:
    # One column got worse, four are as good as before; p-values and Holm are those that decide.
    n, discordance, drop, tolerance = 2000, 0.1, 0.02, 0.005
    rng = np.random.default_rng(0)
    worse = rng.multinomial(n, [0.06, 0.04, 0.9], size=1000)
    equal = rng.multinomial(n, [0.05, 0.05, 0.9], size=(1000, 4))
    failed = 0
    for first, others in zip(worse, equal, strict=True):
        columns = [first, *others]
        adjusted = holm_adjusted([mcnemar_test(int(b), int(c)) for b, c, _ in columns])
        failed += adjusted[0] <= 0.05 and (first[0] - first[1]) / n > tolerance
    rule = McnemarRule(tolerance=tolerance, alpha=0.05, n_columns=5)
    told = mcnemar_power(n, discordance=discordance, drop=drop, rule=rule)
    # 1,000 checks: a standard deviation of 1.6 points; Holm's later steps add the rest.
    assert 0.3 < told < 0.95
    assert abs(failed / 1000 - told) < 0.03


@pytest.mark.parametrize(
    ("n", "discordance", "drop", "tolerance"),
    [
        (12, 0.5, 0.25, 0.0),
        (12, 0.5, 0.25, 0.25),
        (25, 0.2, 0.1, 0.04),
        (7, 1.0, 0.3, 0.0),
        (40, 0.05, 0.05, 0),
    ],
)
def test_the_power_is_the_sum_over_every_possible_outcome(
    n: int, discordance: float, drop: float, tolerance: float
) -> None:
    rule = McnemarRule(tolerance=tolerance, alpha=0.1, n_columns=2)
    total = 0.0
    for m in range(n + 1):
        b = np.arange(m + 1)
        fails = (p_value(b, np.full(m + 1, m)) <= 0.05) & (2 * b - m > tolerance * n + 1e-9)
        share = (discordance + drop) / (2 * discordance)
        total += binom.pmf(m, n, discordance) * binom.pmf(b, m, share)[fails].sum()
    found = mcnemar_power(n, discordance=discordance, drop=drop, rule=rule)
    assert found == pytest.approx(total, abs=1e-8)


def test_a_drop_of_exactly_the_tolerance_is_not_above_it() -> None:
    # Every discordant image is newly wrong: three of ten make a drop of 0.3, which is allowed, four do not.
    rule = McnemarRule(tolerance=0.3, alpha=0.9, n_columns=1)
    found = mcnemar_power(10, discordance=0.3, drop=0.3, rule=rule)
    assert found == pytest.approx(binom.sf(3, 10, 0.3), abs=1e-8)


def test_power_falls_with_the_tolerance_and_rises_with_drop_and_images() -> None:
    def power(n: int = 5000, drop: float = 0.015, tolerance: float = 0.012) -> float:
        return mcnemar_power(n, discordance=0.1, drop=drop, rule=McnemarRule(tolerance=tolerance))

    assert power(tolerance=0.0) > power() > power(tolerance=0.014)
    assert power(drop=0.01) < power() < power(drop=0.02)
    assert power(n=2500) < power() < power(n=10_000)


def test_without_a_drop_the_gate_fails_no_more_often_than_its_level() -> None:
    for n, discordance in itertools.product((30, 300, 3000), (0.01, 0.1, 1.0)):
        rule = McnemarRule(alpha=0.05, n_columns=5)
        assert mcnemar_power(n, discordance=discordance, drop=0.0, rule=rule) <= 0.01 + 1e-9


@pytest.mark.parametrize("tolerance", [0.0, 0.01])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_detectable_drop_has_the_power_asked_for_and_a_smaller_one_has_not(
    tolerance: float, power: float
) -> None:
    rule = McnemarRule(tolerance=tolerance)
    drop = detectable_drop(10_000, discordance=0.1, power=power, rule=rule)
    assert drop is not None
    assert mcnemar_power(10_000, discordance=0.1, drop=drop, rule=rule) >= power
    assert mcnemar_power(10_000, discordance=0.1, drop=drop - 2e-6, rule=rule) < power


def test_where_no_drop_can_be_found_there_is_none() -> None:
    # Two discordant images of 100: p is never below 1/4.
    assert detectable_drop(100, discordance=0.02, power=0.8, rule=McnemarRule()) is None
    # The tolerance is as large as the largest drop.
    assert detectable_drop(10_000, discordance=0.1, power=0.8, rule=McnemarRule(tolerance=0.2)) is None


def test_a_drop_of_two_points_above_a_tolerance_of_one_is_found_nearly_always() -> None:
    # Two points at a tolerance of one, 10,000 images of which 10 % tell the models apart: 95 % is promised.
    rule = McnemarRule(tolerance=0.01, alpha=0.05, n_columns=5)
    assert mcnemar_power(10_000, discordance=0.1, drop=0.02, rule=rule) > 0.99


@pytest.mark.parametrize(
    ("design", "rule", "field"),
    [
        ({"n": 0}, {}, "n cannot"),
        ({"n": 10**9}, {}, "n cannot"),
        ({"n": True}, {}, "n cannot"),
        ({"discordance": 0.0}, {}, "discordance"),
        ({"discordance": 1.2}, {}, "discordance"),
        ({"discordance": float("nan")}, {}, "discordance"),
        ({"drop": 0.2}, {}, "drop"),
        ({"drop": -0.01}, {}, "drop"),
        ({"drop": float("nan")}, {}, "drop"),
        ({}, {"tolerance": -0.1}, "tolerance"),
        ({}, {"tolerance": 1.0}, "tolerance"),
        ({}, {"tolerance": float("nan")}, "tolerance"),
        ({}, {"alpha": 0.0}, "alpha"),
        ({}, {"alpha": 1.0}, "alpha"),
        ({}, {"n_columns": 0}, "n_columns"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    design: dict[str, float], rule: dict[str, float], field: str
) -> None:
    values = {"n": 1000, "discordance": 0.1, "drop": 0.05, **design}
    with pytest.raises(UsageError, match=field):
        mcnemar_power(
            int(values["n"]) if values["n"] is not True else True,
            discordance=values["discordance"],
            drop=values["drop"],
            rule=McnemarRule(**rule),  # type: ignore[arg-type]  # one dictionary for fields of three types
        )


@pytest.mark.parametrize("power", [0.0, 1.0, float("nan")])
def test_a_power_of_nothing_or_all_cannot_be_asked_for(power: float) -> None:
    with pytest.raises(UsageError, match="power"):
        detectable_drop(100, discordance=0.1, power=power, rule=McnemarRule())
