"""Means, differences and groups: paired where the same images were seen, and null with a reason."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from numpy.typing import ArrayLike

from robustbench_safety.aggregating import (
    Measured,
    Scored,
    difference_of,
    groups_of,
    is_rate,
    metric_of,
    score_of,
    worst_of,
)
from robustbench_safety.detection_measures import DETECTION_METRICS
from robustbench_safety.errors import FileFormatError, UndefinedMetricError
from robustbench_safety.metrics import (
    Interval,
    independent_difference,
    mean_over_sets_interval,
    paired_difference,
    unknown_aurc_interval,
    wilson_interval,
)
from robustbench_safety.recording import kept_interval, recorded_interval, rounded, scores_by_group
from robustbench_safety.records import Cell, Condition, ConditionScore, Score

SHIFTED = Cell(id="error", dataset="shifted", metric="error_rate")
CLEAN = Cell(id="clean_error", dataset="clean", metric="error_rate")


def measured(cell: Cell, *wrong: ArrayLike, ids: list[str] | None = None) -> Measured:
    """Return what is kept of a cell with one row of wrong answers, 0 or 1, for each of its conditions."""
    rows = [np.asarray(row, dtype=np.float64) for row in wrong]
    values = [
        ConditionScore(
            condition=Condition(dataset=cell.dataset, kind="corruption", name="fog", level=level),
            value=rounded(row.mean()),
            n=len(row),
            interval=None,
        )
        for level, row in enumerate(rows, start=1)
    ]
    named = tuple(ids if ids is not None else map(str, range(len(rows[0]))))
    return Measured(values=values, units=[(row,) for row in rows], images=[named] * len(rows))


def scored(by_cell: dict[str, Measured], *cells: Cell) -> dict[str, Score]:
    return {cell.id: score_of([cell], by_cell, {}, seed=0) for cell in cells}


def difference(first: Measured, second: Measured) -> Score:
    by_cell = {"error": first, "clean_error": second}
    return difference_of([SHIFTED, CLEAN], by_cell, scored(by_cell, SHIFTED, CLEAN), seed=0)


# ------------------------------------------------------------------------------------------ means


def test_the_score_of_a_cell_is_the_mean_of_its_conditions_over_the_images() -> None:
    # Conditions: 2 of 4 and 1 of 4 wrong, on average 3/8.
    found = scored({"error": measured(SHIFTED, [1, 1, 0, 0], [1, 0, 0, 0])}, SHIFTED)["error"]
    assert found.value == 0.375
    assert (found.n, found.unit, found.direction, found.reason) == (4, "fraction", "lower", None)
    assert found.interval is not None
    assert found.interval.low <= 0.375 <= found.interval.high


def test_a_rate_on_one_condition_has_wilson_s_interval() -> None:
    found = scored({"error": measured(SHIFTED, [1, 0, 0, 0, 0])}, SHIFTED)["error"]
    assert found.interval == recorded_interval(wilson_interval(1, 5))


def test_a_mean_over_cells_weighs_every_cell_alike() -> None:
    # One cell of two conditions with 3/8, one of a single condition with 1: 11/16.
    by_cell = {
        "error": measured(SHIFTED, [1, 1, 0, 0], [1, 0, 0, 0]),
        "clean_error": measured(CLEAN, [1, 1, 1, 1]),
    }
    assert score_of([SHIFTED, CLEAN], by_cell, {}, seed=0).value == 0.6875


def test_a_mean_over_a_cell_without_a_value_is_null_and_names_the_cell() -> None:
    by_cell = {"error": measured(SHIFTED, [1, 0]), "clean_error": Measured(reason="no predictions")}
    found = score_of([SHIFTED, CLEAN], by_cell, {}, seed=0)
    assert (found.value, found.n, found.interval) == (None, 0, None)
    assert found.reason == "clean_error: no predictions"
    assert scored(by_cell, CLEAN)["clean_error"].reason == "no predictions"


def test_a_mean_of_rates_over_other_images_in_each_cell_resamples_each_with_the_sets_it_lies_in() -> None:
    by_cell = {
        "error": measured(SHIFTED, [1, 0, 0, 0], ids=["a", "b", "c", "d"]),
        "clean_error": measured(CLEAN, [1, 0], ids=["a", "x"]),
    }
    found = score_of([SHIFTED, CLEAN], by_cell, {}, seed=3)
    wrong = [np.array([1.0, 0, 0, 0]), np.array([1.0, 0])]
    expected = mean_over_sets_interval(wrong, [["a", "b", "c", "d"], ["a", "x"]], seed=3)
    assert (found.value, found.n) == (0.375, 5)
    assert found.interval == recorded_interval(expected)


def test_what_is_no_rate_of_one_condition_a_cell_has_none_over_other_images() -> None:
    first = measured(SHIFTED, [1, 0, 0, 0], [1, 0, 0, 0])
    second = measured(CLEAN, [1, 0], ids=["x", "y"])
    assert score_of([SHIFTED, CLEAN], {"error": first, "clean_error": second}, {}, seed=0).interval is None
    cells = [cell.model_copy(update={"metric": "brier_score"}) for cell in (SHIFTED, CLEAN)]
    by_cell = {"error": measured(SHIFTED, [1, 0, 0, 0]), "clean_error": second}
    assert score_of(cells, by_cell, {}, seed=0).interval is None


# ------------------------------------------------------------------------------------------ the worst


def worst(part: Measured, names: list[str], metric: str = "error_rate") -> Score:
    for index, name in enumerate(names):
        condition = part.values[index].condition.model_copy(update={"name": name})
        part.values[index] = part.values[index].model_copy(update={"condition": condition})
    return worst_of(SHIFTED.model_copy(update={"metric": metric}), part, seed=0)


def test_the_worst_is_the_largest_mean_over_the_levels_of_one_name() -> None:
    # Means over the levels: of fog 1/4 and 2/4, so 3/8; of snow 4/4 and 1/4, so 5/8; of frost 2/4.
    part = measured(SHIFTED, [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0])
    found = worst(part, ["fog", "fog", "snow", "snow", "frost"])
    assert (found.value, found.worst, found.n) == (0.625, "snow", 4)
    assert found.interval is not None
    assert found.interval.method == "percentile bootstrap, 2000 draws; of snow alone, the worst here"


def test_the_interval_of_the_worst_is_that_of_its_name_alone() -> None:
    part = measured(SHIFTED, [1, 0, 0, 0, 0], [1, 1, 0, 0, 0])
    found = worst(part, ["fog", "snow"]).interval
    expected = recorded_interval(wilson_interval(2, 5))
    assert found is not None
    assert (found.low, found.high) == (expected.low, expected.high)


def test_of_two_that_are_equally_bad_the_first_is_named() -> None:
    assert worst(measured(SHIFTED, [1, 0], [0, 1], [0, 0]), ["fog", "snow", "frost"]).worst == "fog"


def test_where_higher_is_better_the_worst_is_the_smallest() -> None:
    part = measured(SHIFTED, [1, 0, 0, 0], [1, 1, 0, 0])
    pair = (np.array([0.9, 0.8, 0.7, 0.6]), np.array([1.0, 0.0, 1.0, 0.0]))
    part.units = [pair, pair]
    assert worst(part, ["fog", "snow"], "error_detection_auroc").worst == "fog"


def test_the_worst_of_a_cell_that_was_not_measured_is_null() -> None:
    found = worst_of(SHIFTED, Measured(reason="no predictions"), seed=0)
    assert (found.value, found.worst, found.reason) == (None, None, "no predictions")


# ------------------------------------------------------------------------------------------ differences


def test_a_difference_is_the_first_less_the_second() -> None:
    # 3/4 wrong less 1/4 wrong; of the second's images one is the first's and others are not.
    found = difference(
        measured(SHIFTED, [1, 1, 1, 0], ids=["a", "b", "c", "d"]),
        measured(CLEAN, [1, 0, 0, 0], ids=["a", "x", "y", "z"]),
    )
    assert found.value == 0.5
    assert (found.n, found.unit, found.direction, found.reason) == (4, "fraction", "lower", None)


def test_on_the_same_images_a_difference_is_paired() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(200) < 0.3
    rows = [hard | (rng.random(200) < share) for share in (0.1, 0.2)]
    found = difference(measured(SHIFTED, *rows), measured(CLEAN, hard))
    expected = paired_difference(np.mean(rows, axis=0), hard.astype(float), seed=0)
    assert found.value == pytest.approx(expected.difference, abs=1e-9)
    assert found.interval == recorded_interval(expected.interval)
    assert found.interval is not None
    assert found.interval.method == "paired percentile bootstrap, 2000 draws"


def test_on_other_images_a_difference_is_that_of_two_intervals() -> None:
    # 56 of 70 against 48 of 80: Newcombe's comparison (a).
    found = difference(
        measured(SHIFTED, np.arange(70) < 56, ids=[f"a{i}" for i in range(70)]),
        measured(CLEAN, np.arange(80) < 48, ids=[f"b{i}" for i in range(80)]),
    )
    assert found.value == 0.2
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.interval.method == "square-and-add of wilson and wilson"


@pytest.mark.parametrize(
    "ids",
    [
        ["0", "1", "2", "4"],
        ["1", "0", "2", "3"],
        ["0", "1", "2"],
        ["0", "1", "2", "3", "4"],
    ],
)
def test_images_that_are_not_the_same_in_the_same_order_are_not_paired(ids: list[str]) -> None:
    found = difference(measured(SHIFTED, [1, 1, 0, 0]), measured(CLEAN, [0] * len(ids), ids=ids))
    assert found.interval is not None
    assert found.interval.method == "square-and-add of wilson and wilson"


def test_one_condition_on_other_images_is_enough_not_to_pair() -> None:
    first = measured(SHIFTED, [1, 1, 0, 0], [1, 0, 0, 0])
    first.images[1] = ("0", "1", "2", "x")
    found = difference(first, measured(CLEAN, [0, 0, 0, 1]))
    # Nor has the mean over both conditions an interval, as no image is seen in both.
    assert (found.value, found.interval) == (0.125, None)


def test_pairing_is_narrower_where_the_same_images_are_hard() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(500) < 0.4
    both = [hard | (rng.random(500) < 0.05), hard]
    paired = difference(measured(SHIFTED, both[0]), measured(CLEAN, both[1])).interval
    apart = difference(
        measured(SHIFTED, both[0]), measured(CLEAN, both[1], ids=[f"x{i}" for i in range(500)])
    ).interval
    assert paired is not None
    assert apart is not None
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (Measured(reason="no predictions"), measured(CLEAN, [0, 1]), "error: no predictions"),
        (measured(SHIFTED, [0, 1]), Measured(reason="no labels"), "clean_error: no labels"),
        (Measured(reason="no predictions"), Measured(reason="no labels"), "error: no predictions"),
    ],
)
def test_a_difference_of_which_one_is_null_is_null_with_its_reason(
    first: Measured, second: Measured, reason: str
) -> None:
    found = difference(first, second)
    assert (found.value, found.n, found.interval, found.reason) == (None, 0, None, reason)
    assert Score.model_validate(found.model_dump()) == found


def test_a_difference_that_is_recorded_may_be_below_zero() -> None:
    found = difference(measured(SHIFTED, [0, 0, 0, 1]), measured(CLEAN, [1, 1, 1, 1], ids=list("abcd")))
    assert found.value == -0.75
    assert found.interval is not None
    assert found.interval.low < -0.75 < found.interval.high


# ------------------------------------------------------------------------------------------ groups


def test_every_group_has_its_rate_and_wilson_s_interval() -> None:
    # Of the sketches images 0 and 3 of three are wrong, of the toys none of two.
    groups = ["sketch", "toy", "sketch", "sketch", "toy"]
    found = scores_by_group(np.array([1.0, 0, 0, 1, 0]), groups)
    assert list(found) == ["sketch", "toy"]
    assert (found["sketch"].value, found["sketch"].n) == (rounded(2 / 3), 3)
    assert found["sketch"].interval == recorded_interval(wilson_interval(2, 3))
    assert (found["toy"].value, found["toy"].n) == (0.0, 2)


def test_groups_are_those_of_rates_on_one_condition() -> None:
    nll = Cell(id="nll", dataset="shifted", metric="negative_log_likelihood")
    groups = {"style": ["a", "b", "a", "a"], "size": ["x", "x", "x", "y"]}
    by_cell = {
        "error": measured(SHIFTED, [1, 0, 0, 1]),
        "clean_error": measured(CLEAN, [1, 0, 0, 0]),
        "nll": measured(nll, [1, 0, 0, 1]),
    }
    by_cell["error"].groups = by_cell["nll"].groups = groups
    found = groups_of([SHIFTED, CLEAN, nll], by_cell)
    # clean_error has no group columns, and nll is no rate.
    assert list(found) == ["error"]
    assert {
        name: {key: score.value for key, score in part.items()} for name, part in found["error"].items()
    } == {
        "style": {"a": rounded(2 / 3), "b": 0.0},
        "size": {"x": rounded(1 / 3), "y": 1.0},
    }


@pytest.mark.parametrize("why", ["reason", "conditions"])
def test_a_cell_that_failed_or_has_several_conditions_has_no_groups(why: str) -> None:
    rows = [[1, 0]] if why == "reason" else [[1, 0], [0, 0]]
    part = measured(SHIFTED, *rows)
    part.groups = {"style": ["a", "b"]}
    part.reason = "undefined" if why == "reason" else None
    assert groups_of([SHIFTED], {"error": part}) == {}


def test_group_rates_weighed_by_their_counts_make_the_rate() -> None:
    rng = np.random.default_rng(2)
    wrong, groups = (rng.random(300) < 0.4).astype(float), rng.choice(list("abcd"), 300).tolist()
    found = scores_by_group(wrong, groups)
    assert sum(score.n for score in found.values()) == 300
    events = sum(score.value * score.n for score in found.values())
    assert events / 300 == pytest.approx(wrong.mean(), abs=1e-9)


# ------------------------------------------------------------------------------------------ recording


def test_numbers_are_kept_to_ten_digits_after_the_point() -> None:
    assert rounded(1 / 3) == 0.3333333333
    assert rounded(np.float64(2 / 3)) == 0.6666666667
    assert type(rounded(np.float64(0.5))) is float
    # What is left of a difference of equal numbers is nothing, on neither side of it.
    assert str(rounded(-1e-17)) == "0.0"
    kept = recorded_interval(Interval(low=1 / 3, high=2 / 3, method="m", level=0.9))
    assert (kept.low, kept.high, kept.method, kept.level) == (0.3333333333, 0.6666666667, "m", 0.9)


def test_an_interval_comes_back_as_it_was_kept_and_none_is_refused() -> None:
    score = scored({"error": measured(SHIFTED, [1, 0, 0, 0])}, SHIFTED)["error"]
    assert recorded_interval(kept_interval(score)) == score.interval
    with pytest.raises(UndefinedMetricError, match="a number without an interval has no difference"):
        kept_interval(score.model_copy(update={"interval": None}))


def test_independent_differences_of_kept_intervals_are_those_of_the_metric() -> None:
    first = measured(SHIFTED, np.arange(30) < 7, ids=[f"a{i}" for i in range(30)])
    second = measured(CLEAN, np.arange(50) < 3, ids=[f"b{i}" for i in range(50)])
    expected = independent_difference(7 / 30, wilson_interval(7, 30), 3 / 50, wilson_interval(3, 50))
    found = difference(first, second).interval
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


# ------------------------------------------------------------------------------------------ the table


def test_an_error_rate_is_a_rate_and_a_calibration_error_is_none() -> None:
    assert is_rate(SHIFTED)
    assert not is_rate(SHIFTED.model_copy(update={"metric": "rms_calibration_error"}))
    assert not is_rate(SHIFTED.model_copy(update={"metric": "soft_label_cross_entropy"}))


def test_an_unknown_metric_and_a_metric_without_its_detector_are_refused() -> None:
    for change, message in (
        ({"metric": "err"}, "cell error: metric; expected one of .*soft_label_cross_entropy.*; found err"),
        ({"metric": "auroc"}, "cell error: metric auroc; expected a detector and in_distribution"),
        ({"detector": "msp", "in_distribution": "clean"}, "metric error_rate; expected no detector"),
    ):
        with pytest.raises(FileFormatError, match=message):
            metric_of(SHIFTED.model_copy(update=change))


def test_a_number_without_an_interval_is_kept_and_its_difference_has_none_either() -> None:
    cell = Cell(id="detects", dataset="digits", metric="error_detection_auroc")
    # One wrong image of four, less sure than all others: the AUROC is 1, and one image has no variance.
    part = measured(cell, [0, 0, 0, 1])
    part.units = [(np.array([0.9, 0.8, 0.7, 0.1]), np.array([1.0, 1.0, 1.0, 0.0]))]
    part.values = [part.values[0].model_copy(update={"value": 1.0})]
    score = score_of([cell], {"detects": part}, {}, seed=0)
    assert score.value == 1.0
    assert score.interval is None
    assert score.reason is None
    other = cell.model_copy(update={"id": "other"})
    scores = {"detects": score, "other": score.model_copy(update={"value": 0.25})}
    between = difference_of([cell, other], {"detects": part, "other": part}, scores, seed=0)
    assert between.value == 0.75
    assert between.interval is None


# ------------------------------------------------------------------------------------------ unknown images

NEAR = Cell(id="near", dataset="near", metric="unknown_aurc", detector="msp", in_distribution="clean")
FAR = NEAR.model_copy(update={"id": "far", "dataset": "far"})
COMBINED: tuple[Literal["pooled"], Literal["mean"]] = ("pooled", "mean")
INSIDE, RIGHT = np.array([0.1, 0.2, 0.6, 0.5]), np.array([1.0, 1.0, 0.0, 1.0])


def of_unknowns(cell: Cell, *scores: list[float], reason: str | None = None) -> Measured:
    """Return what is kept of a cell of unknown images, one list of scores for each condition."""
    made = DETECTION_METRICS["unknown_aurc"]
    outside = [np.array(one) for one in scores]
    return Measured(
        values=[
            ConditionScore(
                condition=Condition(dataset=cell.dataset, kind="clean", name="clean", level=level),
                value=rounded(made.value(INSIDE, one, correct_in=RIGHT)),
                n=len(one),
                interval=None,
                chance=made.chance(len(INSIDE), len(one), {}, correct_in=RIGHT),
            )
            for level, one in enumerate(outside)
        ],
        scores_out=outside,
        correct_in=RIGHT,
        reason=reason,
    )


def of_both(near: Measured, far: Measured, *, pooled: bool) -> Score:
    scored_in = Scored.of(NEAR)
    assert scored_in is not None
    by_cell = {"near": near, "far": far}
    return score_of([NEAR, FAR], by_cell, {scored_in: INSIDE}, seed=0, pooled=pooled)


def test_pooled_sets_are_one_list_of_unknowns_and_their_mean_is_another_number() -> None:
    near, far = of_unknowns(NEAR, [0.15]), of_unknowns(FAR, [0.7, 0.8])
    # Together, rising: right .1, near .15, right .2, right .5, wrong .6, far .7, far .8.
    # Risks 0, 1/2, 1/3, 1/4, 2/5, 3/6, 4/7.
    pooled = of_both(near, far, pooled=True)
    assert pooled.value == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4 + 2 / 5 + 3 / 6 + 4 / 7) / 7, abs=1e-10)
    # Apart: 0, 1/2, 1/3, 1/4, 2/5 and 0, 0, 0, 1/4, 2/5, 3/6.
    mean = of_both(near, far, pooled=False)
    expected = ((1 / 2 + 1 / 3 + 1 / 4 + 2 / 5) / 5 + (1 / 4 + 2 / 5 + 3 / 6) / 6) / 2
    assert mean.value == pytest.approx(expected, abs=1e-10)
    # Of 7 images 3 are unknown and 1 is answered wrongly.
    assert pooled.chance == pytest.approx(4 / 7)
    assert mean.chance is None
    as_one, as_mean = (
        unknown_aurc_interval(INSIDE, RIGHT, [*near.scores_out, *far.scores_out], combine=combine, seed=0)
        for combine in COMBINED
    )
    for found, interval in ((pooled, as_one), (mean, as_mean)):
        assert found.interval == recorded_interval(interval)
        assert (found.n, found.n_out, found.unit, found.direction) == (4, 3, "fraction", "lower")


def test_all_conditions_of_pooled_cells_are_in_the_list() -> None:
    one = of_both(of_unknowns(NEAR, [0.15], [0.7]), of_unknowns(FAR, [0.8]), pooled=True)
    other = of_both(of_unknowns(NEAR, [0.15]), of_unknowns(FAR, [0.7, 0.8]), pooled=True)
    assert one.value == other.value


def test_pooled_sets_of_which_one_is_missing_are_null_and_name_the_cell() -> None:
    found = of_both(of_unknowns(NEAR, [0.15]), Measured(reason="no predictions"), pooled=True)
    assert (found.value, found.chance, found.reason) == (None, None, "far: no predictions")


def test_a_score_without_pooled_sets_says_nothing_of_chance_so_that_old_records_keep_their_digests() -> None:
    mean = of_both(of_unknowns(NEAR, [0.15]), of_unknowns(FAR, [0.7]), pooled=False)
    assert "chance" not in mean.model_dump()
