"""Aggregates beside a baseline: the metrics' numbers, with the interval of one value for each image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from robustbench_safety import metrics
from robustbench_safety.aggregating import Measured
from robustbench_safety.errors import FileFormatError
from robustbench_safety.normalising import condition_weights, normalised_of
from robustbench_safety.recording import rounded
from robustbench_safety.records import (
    Aggregate,
    Baseline,
    BaselineGap,
    BaselineMetric,
    BaselineTable,
    Cell,
    Condition,
    ConditionScore,
    Score,
)

ERROR = Cell(id="c_error", dataset="shifted", metric="error_rate")
CLEAN = Cell(id="clean_error", dataset="clean", metric="error_rate")
MCE = Aggregate(id="mce", of=("c_error",), reduce="normalised", baseline="small")
RELATIVE = Aggregate(id="rel", of=("c_error", "clean_error"), reduce="relative", baseline="small")


def baseline(
    values: Mapping[str, tuple[float, ...]],
    *,
    metric: BaselineMetric = "error_rate",
    verified: bool = True,
    clean_error: float | None = None,
) -> Baseline:
    table = BaselineTable(verified=verified, source="made up", values=dict(values))
    return Baseline(
        name="small", version=1, title="T", model="a network", source="s", clean_error=clean_error,
        metrics={metric: table})  # fmt: skip


def measured(
    conditions: Mapping[tuple[str, int], ArrayLike], *, ids: list[str] | None = None, kind: str = "corruption"
) -> Measured:
    """Return what is kept of a cell: by condition name and level one number for each image or clip."""
    rows = {key: np.asarray(row, dtype=np.float64) for key, row in conditions.items()}
    values = [
        ConditionScore(
            condition=Condition.model_validate(
                {"dataset": "shifted", "kind": kind, "name": name, "level": level}
            ),
            value=rounded(row.mean()),
            n=len(row),
            interval=None,
        )
        for (name, level), row in rows.items()
    ]
    n = len(next(iter(rows.values())))
    named = tuple(ids if ids is not None else map(str, range(n)))
    return Measured(values=values, units=[(row,) for row in rows.values()], images=[named] * len(rows))


def mce(
    part: Measured,
    divided_by: Baseline,
    *,
    aggregate: Aggregate = MCE,
    clean: Measured | None = None,
    **more: bool,
) -> Score:
    by_cell = {"c_error": part} | ({"clean_error": clean} if clean else {})
    cells = [ERROR, CLEAN] if clean else [ERROR]
    return normalised_of(aggregate, cells, by_cell, divided_by, seed=0, **more)


def drawn(n: int, names: tuple[str, ...], levels: int) -> dict[tuple[str, int], NDArray[np.float64]]:
    rng = np.random.default_rng(0)
    hard = rng.random(n)
    return {
        (name, level): (hard + rng.normal(scale=0.2, size=n) < 0.1 * level + 0.1).astype(float)
        for name in names
        for level in range(1, levels + 1)
    }


# ------------------------------------------------------------------------------------------ values


def test_an_mce_is_the_mean_over_the_names_of_ratios_of_sums_over_the_levels() -> None:
    # fog: (1/4 + 3/4) / (0.5 + 0.75) = 0.8; snow: (2/4 + 2/4) / (0.25 + 0.25) = 2; their mean 1.4. The mean
    # of the ratios by level would be (0.5 + 1 + 2 + 2) / 4 = 1.375.
    part = measured({
        ("fog", 1): [1, 0, 0, 0], ("fog", 2): [1, 1, 1, 0],
        ("snow", 1): [1, 1, 0, 0], ("snow", 2): [1, 1, 0, 0],
    })  # fmt: skip
    found = mce(part, baseline({"fog": (0.5, 0.75), "snow": (0.25, 0.25)}))
    assert found.value == pytest.approx(1.4, abs=1e-9)
    assert found.by_name == pytest.approx({"fog": 0.8, "snow": 2.0}, abs=1e-9)
    assert (found.n, found.unit, found.direction, found.reason, found.note) == (
        4,
        "fraction",
        "lower",
        None,
        None,
    )


def test_an_mce_is_that_of_the_metric() -> None:
    rows = drawn(80, ("fog", "snow", "frost"), 5)
    table = {"fog": (0.3, 0.4, 0.5, 0.6, 0.7), "snow": (0.2, 0.4, 0.4, 0.5, 0.9), "frost": (0.9,) * 5}
    errors = {name: [float(rows[name, level].mean()) for level in range(1, 6)] for name in table}
    expected = metrics.mean_corruption_error(errors, baseline=table)
    assert mce(measured(rows), baseline(table)).value == pytest.approx(expected, abs=1e-9)


def test_the_baseline_s_mean_stands_for_its_number_at_every_level() -> None:
    rows = drawn(40, ("fog", "snow"), 3)
    errors = {name: [float(rows[name, level].mean()) for level in (1, 2, 3)] for name in ("fog", "snow")}
    expected = metrics.mean_corruption_error(errors, baseline={"fog": 0.5, "snow": 0.4})
    assert mce(measured(rows), baseline({"fog": (0.5,), "snow": (0.4,)})).value == pytest.approx(expected)


def test_some_levels_are_divided_by_the_baseline_s_numbers_at_those_levels() -> None:
    part = measured({("fog", 4): [1, 1, 0, 0]})
    assert mce(part, baseline({"fog": (0.1, 0.2, 0.3, 0.8, 0.9)})).value == 0.625


@pytest.mark.parametrize("metric", ["flip_rate", "top5_distance"])
def test_flip_rates_and_distances_have_one_level_and_no_labels(metric: BaselineMetric) -> None:
    # snow: mean 0.3, divided by 0.6; tilt: mean 0.5, divided by 0.2: (0.5 + 2.5) / 2.
    cell = ERROR.model_copy(update={"metric": metric})
    part = measured({("snow", 1): [0.2, 0.4], ("tilt", 1): [0.4, 0.6]}, kind="sequence")
    divided_by = baseline({"snow": (0.6,), "tilt": (0.2,)}, metric=metric)
    found = normalised_of(MCE, [cell], {"c_error": part}, divided_by, seed=0)
    assert found.value == pytest.approx(1.5, abs=1e-9)
    oracle = metrics.mean_flip_rate if metric == "flip_rate" else metrics.mean_top5_distance
    assert found.value == pytest.approx(
        oracle({"snow": 0.3, "tilt": 0.5}, baseline={"snow": 0.6, "tilt": 0.2})
    )


def test_a_relative_mce_is_that_of_the_metric() -> None:
    rows = drawn(80, ("fog", "snow"), 2)
    clean = (np.arange(80) < 8).astype(float)
    table = {"fog": (0.5, 0.6), "snow": (0.7, 0.9)}
    errors = {name: [float(rows[name, level].mean()) for level in (1, 2)] for name in table}
    expected = metrics.relative_mean_corruption_error(errors, 0.1, table, 0.4)
    found = mce(
        measured(rows),
        baseline(table, clean_error=0.4),
        aggregate=RELATIVE,
        clean=measured({("clean", 0): clean}),
    )
    assert found.value == pytest.approx(expected, abs=1e-9)
    alone = {name: (sum(errors[name]) - 0.2) / (sum(table[name]) - 0.8) for name in table}
    assert found.by_name == pytest.approx(alone, abs=1e-9)
    assert found.interval is not None
    assert found.interval.low < expected < found.interval.high
    assert found.interval.method == "paired percentile bootstrap, 2000 draws"


@pytest.mark.parametrize("levels", [1, 3])
def test_a_network_beside_its_own_numbers_has_a_relative_mce_of_1(levels: int) -> None:
    # Whatever is divided by itself: with its numbers at each level, and with the mean of each name alone.
    rows = drawn(80, ("fog", "snow", "frost"), levels)
    clean = (np.arange(80) < 4).astype(float)
    errors = {
        name: tuple(float(rows[name, level].mean()) for level in range(1, levels + 1))
        for name in ("fog", "snow", "frost")
    }
    for table in (errors, {name: (sum(each) / levels,) for name, each in errors.items()}):
        own = baseline(table, clean_error=0.05)
        found = mce(measured(rows), own, aggregate=RELATIVE, clean=measured({("clean", 0): clean}))
        assert found.value == pytest.approx(1, abs=1e-9)
        assert found.by_name == pytest.approx(dict.fromkeys(errors, 1.0), abs=1e-9)


# ------------------------------------------------------------------------------------------ intervals


def test_the_interval_is_the_bootstrap_of_one_weighted_value_for_each_image() -> None:
    rows = drawn(200, ("fog", "snow"), 2)
    table = {"fog": (0.5, 0.6), "snow": (0.2, 0.3)}
    found = mce(measured(rows), baseline(table)).interval
    each = sum(0.5 / sum(table[name]) * rows[name, level] for name, level in rows)
    expected = metrics.bootstrap_interval(np.asarray(each), seed=0)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.method == "percentile bootstrap, 2000 draws"


def test_the_interval_covers_the_true_ratio_as_often_as_it_says() -> None:
    # Images differ in how hard they are, so the rows of one are not independent. True error: 0.2 under fog
    # and 0.3 under snow; mCE = (0.2 / 0.4 + 0.3 / 0.5) / 2 = 0.55.
    divided_by, covered = baseline({"fog": (0.4,), "snow": (0.5,)}), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        hard = rng.random(300)
        rows = {("fog", 1): hard < 0.2, ("snow", 1): (hard + 0.05) % 1 < 0.3}
        interval = mce(measured(rows), divided_by).interval
        assert interval is not None
        covered += interval.low <= 0.55 <= interval.high
    # 95 % of 200 is 190; four standard deviations are 12.
    assert 178 <= covered <= 200


def test_a_model_without_a_mistake_is_bounded_by_what_an_image_could_weigh() -> None:
    part = measured({("fog", 1): np.zeros(50), ("fog", 2): np.zeros(50)})
    found = mce(part, baseline({"fog": (0.1, 0.3)}))
    assert found.value == 0
    assert found.interval is not None
    # An image wrong at both levels would count 2 / 0.4 = 5; the share of such may be clopper_pearson(0, 50).
    unseen = metrics.clopper_pearson_interval(0, 50).high
    assert (found.interval.low, found.interval.high) == pytest.approx((0, 5 * unseen), abs=1e-9)


def test_other_images_in_a_condition_leave_the_value_without_an_interval() -> None:
    part = measured(drawn(30, ("fog", "snow"), 1))
    part.images[1] = tuple(f"x{i}" for i in range(30))
    found = mce(part, baseline({"fog": (0.5,), "snow": (0.5,)}))
    assert found.value is not None
    assert found.interval is None


def test_equal_ids_of_other_images_leave_a_relative_error_without_an_interval() -> None:
    part, clean = measured({("fog", 1): [1, 1, 0, 1]}), measured({("clean", 0): [1, 0, 0, 0]})
    divided_by = baseline({"fog": (0.5,)}, clean_error=0.25)
    assert mce(part, divided_by, aggregate=RELATIVE, clean=clean).interval is not None
    found = mce(part, divided_by, aggregate=RELATIVE, clean=clean, same_images=False)
    assert (found.value, found.interval) == (2.0, None)


# ------------------------------------------------------------------------------------------ what is missing


def test_figures_that_nobody_has_verified_are_noted() -> None:
    part = measured({("fog", 1): [1, 0]})
    found = mce(part, baseline({"fog": (0.5,)}, verified=False))
    assert found.note == "divided by unverified figures of baseline small"


def test_a_metric_that_the_baseline_has_no_figures_of_is_null_with_the_baseline_s_reason() -> None:
    gap = baseline({"fog": (0.5,)}).model_copy(
        update={"metrics": {"error_rate": BaselineGap(unavailable="no source held them")}}
    )
    found = mce(measured({("fog", 1): [1, 0]}), gap)
    assert (found.value, found.interval, found.n) == (None, None, 0)
    assert found.reason == "baseline small has no error_rate: no source held them"


def test_a_relative_error_needs_the_baseline_s_clean_error() -> None:
    part, clean = measured({("fog", 1): [1, 1]}), measured({("clean", 0): [1, 0]})
    found = mce(part, baseline({"fog": (0.5,)}), aggregate=RELATIVE, clean=clean)
    assert found.reason == "baseline small has no clean_error"


@pytest.mark.parametrize("clean_error", [0.5, 0.6, 0.5 - 1e-12])
def test_a_baseline_no_worse_under_a_condition_than_on_clean_images_makes_the_relative_error_null(
    clean_error: float,
) -> None:
    # fog adds (0.4 + 0.6) - 2 * 0.5 = 0 to its error, or takes 0.2 from it; snow adds 0.8 or 0.6.
    # What rounding leaves of nothing is nothing.
    part = measured({("fog", 1): [1, 1], ("fog", 2): [1, 1], ("snow", 1): [1, 0], ("snow", 2): [1, 1]})
    clean = measured({("clean", 0): [1, 0]})
    own = baseline({"fog": (0.4, 0.6), "snow": (0.9, 0.9)}, clean_error=clean_error)
    found = mce(part, own, aggregate=RELATIVE, clean=clean)
    assert (found.value, found.interval, found.n) == (None, None, 0)
    assert found.reason == ("the baseline does not get worse under fog: nothing to divide by")
    assert mce(part, own).value is not None


def test_a_cell_that_was_not_measured_makes_it_null_with_the_cell_s_reason() -> None:
    divided_by = baseline({"fog": (0.5,)}, clean_error=0.1)
    assert mce(Measured(reason="no predictions"), divided_by).reason == "no predictions"
    found = mce(
        measured({("fog", 1): [1, 1]}),
        divided_by,
        aggregate=RELATIVE,
        clean=Measured(reason="no predictions"),
    )
    assert found.reason == "clean_error: no predictions"


@pytest.mark.parametrize(
    ("conditions", "values", "clean_error", "message"),
    [
        (
            [("fog", 1), ("rain", 1)],
            {"fog": (0.5,)},
            0.0,
            "mce: the baseline has no numbers of rain.*some of fog",
        ),
        (
            [("fog", 6)],
            {"fog": (0.5,) * 5},
            0.0,
            "mce: the baseline has other levels of fog.*1, 2, 3, 4, 5; found 6",
        ),
        (
            [("fog", 1), ("snow", 1), ("snow", 2)],
            {"fog": (0.5,), "snow": (0.5,)},
            0.0,
            "mce: condition snow has other levels than fog; expected 1; found 1, 2; name the levels",
        ),
    ],
)
def test_a_baseline_that_does_not_fit_the_cell_is_refused(
    conditions: list[tuple[str, int]], values: dict[str, tuple[float, ...]], clean_error: float, message: str
) -> None:
    table = BaselineTable(verified=True, source="made up", values=dict(values))
    named = [
        Condition(dataset="shifted", kind="corruption", name=name, level=level) for name, level in conditions
    ]
    with pytest.raises(FileFormatError, match=message):
        condition_weights(named, table, clean_error=clean_error, where="mce")
