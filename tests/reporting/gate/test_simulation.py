"""The gate on simulated pairs of models: how often it fails where nothing changed, and where something did.

Every pair goes through the functions that decide a check: the test of each column by its units, and Holm, the
tolerance and the verdict over all of them. Seeds are fixed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.metrics import Interval, delong_test, intervals_test, paired_auroc_difference
from robustbench_safety.metrics.calibration_values import rms_calibration_values
from robustbench_safety.records import CheckTest, ColumnCheck
from robustbench_safety.reporting.gate.checking import decided
from robustbench_safety.reporting.gate.testing import UnitKind, significance_of

Floats = NDArray[np.float64]

#: At 5 % family-wise 50 of 1,000 are expected at most; 65 are 2.2 standard deviations above.
PAIRS, MOST_FALSE_ALARMS = 1000, 65


def checked(name: str, drop: float, test: CheckTest, p_value: float, tolerance: float = 0.0) -> ColumnCheck:
    return ColumnCheck(
        column=name, unit="fraction", direction="lower", baseline=0.0, candidate=drop, drop=drop,
        tolerance=tolerance, interval=None, test=test, paired=test != "intervals", n=1, p_value=p_value,
        adjusted_p_value=None, gated=True, failed=False, reason=None,
    )  # fmt: skip


def by_units(name: str, differences: Floats, kind: UnitKind, tolerance: float = 0.0) -> ColumnCheck:
    test, p_value = significance_of([differences], kind=kind)
    return checked(name, float(differences.mean()), test, p_value, tolerance)


def failed(columns: Mapping[str, ColumnCheck]) -> set[str]:
    return {one.column for one in decided(list(columns.values())) if one.failed}


class Images:
    """Images of which some are hard for every model; two models that differ in nothing but chance."""

    def __init__(self, n: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.ease = self.rng.normal(1.2, 1.0, n)

    def answers(self, harder: float = 0.0) -> tuple[Floats, Floats]:
        """Return confidence and correctness of one model: [N] each."""
        seen = self.ease - harder + self.rng.normal(0, 0.6, len(self.ease))
        confidence = 1 / (1 + np.exp(-1.5 * seen))
        return confidence, (self.rng.random(len(seen)) < confidence - 0.05).astype(np.float64)


def five_columns(seed: int, *, n: int = 200) -> dict[str, ColumnCheck]:
    """Return the columns of two equally good models: errors, mean errors, flips, calibration, AUROC."""
    images = Images(n, seed)
    (conf_a, right_a), (conf_b, right_b) = images.answers(), images.answers()
    corrupted = [images.answers(harder)[1] - images.answers(harder)[1] for harder in (0.2, 0.5, 0.9, 1.3)]
    flips = images.rng.binomial(30, 0.05, n) - images.rng.binomial(30, 0.05, n)
    calibration = rms_calibration_values(conf_b, right_b) - rms_calibration_values(conf_a, right_a)
    outside = [images.rng.normal(0.7, 0.3, 200) + images.rng.normal(0, 0.2, 200) for _ in range(2)]
    scores = -conf_a, -outside[0], -conf_b, -outside[1]
    drop = paired_auroc_difference(*scores).difference
    return {
        "adversaries": by_units("adversaries", right_a - right_b, "error"),
        "corruptions": by_units("corruptions", np.mean(corrupted, axis=0), "means"),
        "consistency": by_units("consistency", flips / 30, "means"),
        "calibration": by_units("calibration", calibration, "influences"),
        "anomaly": checked("anomaly", drop, "delong", delong_test(*scores)),
    }


@pytest.fixture(scope="module")
def without_change() -> list[dict[str, ColumnCheck]]:
    return [five_columns(seed) for seed in range(PAIRS)]


def test_where_nothing_changed_few_pairs_fail(without_change: list[dict[str, ColumnCheck]]) -> None:
    n_failed = sum(bool(failed(columns)) for columns in without_change)
    assert n_failed <= MOST_FALSE_ALARMS
    # A gate that never fails would pass this, and the one below: some false alarms there must be.
    assert n_failed >= 10


@pytest.mark.parametrize("name", ["adversaries", "corruptions", "consistency", "calibration", "anomaly"])
def test_no_test_rejects_more_often_than_its_level(
    without_change: list[dict[str, ColumnCheck]], name: str
) -> None:
    p_values = np.array([columns[name].p_value for columns in without_change], dtype=np.float64)
    # 50 and 100 of 1,000, and three standard deviations.
    assert (p_values <= 0.05).sum() <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)
    assert (p_values <= 0.1).sum() <= 100 + 3 * np.sqrt(1000 * 0.1 * 0.9)
    # Nor is it so careful that it would find nothing: half of the p-values lie in the lower half, about.
    assert (p_values <= 0.5).mean() > 0.35


def discordant(rng: np.random.Generator, n: int, drop: float, discordance: float) -> Floats:
    """Return candidate less baseline errors, of which the share ``discordance`` differ."""
    worse = (discordance + drop) / 2
    return rng.choice([1.0, -1.0, 0.0], p=[worse, discordance - worse, 1 - discordance], size=n)


def test_a_true_drop_of_two_points_fails_at_a_tolerance_of_one() -> None:
    # 10,000 images of which 10 % are answered otherwise; four columns beside it in which nothing changed.
    names = ("consistency", "calibration", "anomaly", "corruptions")
    hits = wrong_column = 0
    for seed in range(PAIRS):
        rng = np.random.default_rng(10_000 + seed)
        columns = {name: by_units(name, discordant(rng, 10_000, 0.0, 0.1), "error", 0.01) for name in names}
        dropped = discordant(rng, 10_000, 0.02, 0.1)
        columns["adversaries"] = by_units("adversaries", dropped, "error", 0.01)
        found = failed(columns)
        hits += "adversaries" in found
        wrong_column += bool(found - {"adversaries"})
    assert hits >= 0.95 * PAIRS
    assert wrong_column <= 5


def test_a_true_drop_of_a_mean_over_conditions_fails_too() -> None:
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(20_000 + seed)
        conditions = [discordant(rng, 10_000, 0.02, 0.1) for _ in range(3)]
        columns = {"corruptions": by_units("corruptions", np.mean(conditions, axis=0), "means", 0.01)}
        hits += bool(failed(columns))
    assert hits >= 190


def test_a_true_drop_within_the_tolerance_passes_nearly_always() -> None:
    # Half a point, which is no chance at n = 10,000, at a tolerance of 1.5.
    n_failed = 0
    for seed in range(300):
        rng = np.random.default_rng(30_000 + seed)
        columns = {
            "adversaries": by_units("adversaries", discordant(rng, 10_000, 0.005, 0.1), "error", 0.015)
        }
        n_failed += bool(failed(columns))
    assert n_failed <= 5


def test_by_their_intervals_alone_two_models_on_the_same_images_hardly_ever_fail() -> None:
    # What is hard for both cancels in no interval: fewer false alarms than the level, never more.
    alarms = 0
    for seed in range(PAIRS):
        images = Images(1000, 40_000 + seed)
        rates = [1 - images.answers()[1].mean() for _ in range(2)]
        reach = [1.96 * np.sqrt(rate * (1 - rate) / 1000) for rate in rates]
        ends = [
            Interval(low=float(rate - width), high=float(rate + width), method="wald", level=0.95)
            for rate, width in zip(rates, reach, strict=True)
        ]
        p_value = intervals_test(float(rates[0]), ends[0], float(rates[1]), ends[1])
        alarms += bool(failed({"error": checked("error", float(rates[1] - rates[0]), "intervals", p_value)}))
    assert alarms <= 50
