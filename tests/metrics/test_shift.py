"""Lines of accuracy under natural shift, and robustness beyond them."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from robustbench_safety.accuracies import line_accuracies, load_accuracies
from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import (
    AccuracyLine,
    accuracy_line_band,
    effective_robustness,
    fit_accuracy_line,
    relative_robustness,
)
from robustbench_safety.metrics.shift import AccuracyAxis

SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)
RNG = np.random.default_rng(5)
CLEAN = RNG.uniform(0.55, 0.9, size=40)
SHIFTED = stats.logistic.cdf(1.2 * stats.logistic.ppf(CLEAN) - 1.5 + RNG.normal(scale=0.3, size=40))

#: By the axis, its function from an accuracy and back: scipy's distributions, not its special functions.
DISTRIBUTIONS = {"logit": stats.logistic, "probit": stats.norm}

#: ImageNet-Sketch, logit axes, worked apart from this code with numpy.polyfit: in points.
WORKED = {
    "resnet50": -0.361,
    "resnet50_augmix": 2.428,
    "resnet50_deepaugment_augmix": 8.497,
    "instagram-resnext101_32x48d": 20.468,
}


def odds(*values: float) -> list[float]:
    return [value / (1 + value) for value in values]


# By hand.


def test_a_line_through_two_models_is_that_of_their_odds() -> None:
    # Clean odds 1 and 4, shifted 1/8 and 2: (ln 2 - ln 1/8) / ln 4 = ln 16 / ln 4 = 2, and ln 1/8 at 0.
    line = fit_accuracy_line(odds(1, 4), odds(1 / 8, 2))
    assert line.slope == pytest.approx(2, abs=1e-12)
    assert line.intercept == pytest.approx(-np.log(8), abs=1e-12)
    assert (line.axis, line.n) == ("logit", 2)
    assert line.predict(2 / 3) == pytest.approx(odds(1 / 2)[0], abs=1e-12)  # 1/8 * 2^2


def test_three_models_off_the_line_are_fitted_by_least_squares() -> None:
    # log2 odds: x = 0, 1, 2, y = -2, 1, 0. Means 1 and -1/3; slope (0 - -2) / 2 = 1, intercept -4/3.
    line = fit_accuracy_line(odds(1, 2, 4), odds(1 / 4, 2, 1))
    assert line.slope == pytest.approx(1, abs=1e-12)
    assert line.intercept == pytest.approx(-4 / 3 * np.log(2), abs=1e-12)


def test_probit_axes_are_quantiles_of_the_normal_distribution() -> None:
    # Phi(1) = 0.8413447461 and Phi(-1) = 0.1586552539: clean z = 0 and 1 become -1 and 0.
    line = fit_accuracy_line([0.5, 0.8413447460685429], [0.15865525393145707, 0.5], axis="probit")
    assert (line.slope, line.intercept) == pytest.approx((1, -1), abs=1e-12)
    assert line.predict(0.9772498680518208) == pytest.approx(0.8413447460685429, abs=1e-12)  # z = 2 becomes 1


def test_effective_robustness_is_what_lies_above_the_line() -> None:
    line = AccuracyLine(intercept=float(-np.log(4)), slope=1.0, axis="logit", n=2)
    # Clean odds 4 become 1, an accuracy of 1/2.
    assert effective_robustness(0.8, 0.625, line) == pytest.approx(0.125, abs=1e-12)
    assert effective_robustness(0.8, 0.5, line) == pytest.approx(0, abs=1e-12)
    assert effective_robustness(0.8, 0.0, line) == pytest.approx(-0.5, abs=1e-12)


def test_relative_robustness_is_what_the_intervention_adds() -> None:
    assert relative_robustness(0.75, 0.5) == 0.25
    assert relative_robustness(0.0, 1.0) == -1.0


# Against others.


@pytest.mark.parametrize("axis", ["logit", "probit"])
def test_the_line_is_that_of_numpy_and_scipy(axis: AccuracyAxis) -> None:
    line = fit_accuracy_line(CLEAN, SHIFTED, axis=axis)
    x, y = DISTRIBUTIONS[axis].ppf(CLEAN), DISTRIBUTIONS[axis].ppf(SHIFTED)
    assert (line.slope, line.intercept) == pytest.approx(tuple(np.polyfit(x, y, 1)), abs=1e-10)
    other = stats.linregress(x, y)
    assert (line.slope, line.intercept) == pytest.approx((other.slope, other.intercept), abs=1e-10)
    expected = DISTRIBUTIONS[axis].cdf(other.intercept + other.slope * DISTRIBUTIONS[axis].ppf(0.7))
    assert line.predict(0.7) == pytest.approx(float(expected), abs=1e-10)


def test_the_band_is_that_of_scipy_s_fits_to_resamples() -> None:
    # Another generator, so alike but for chance: over six seeds the ends were up to 5.3 % of the width off.
    band = accuracy_line_band(CLEAN, SHIFTED, at=[0.6, 0.75, 0.9], seed=0)
    rng = np.random.RandomState(720257663)
    x, y = stats.logistic.ppf(CLEAN), stats.logistic.ppf(SHIFTED)
    fits = []
    for _ in range(1000):
        drawn = rng.randint(len(x), size=len(x))
        fit = stats.linregress(x[drawn], y[drawn])
        fits.append(fit.intercept + fit.slope * stats.logistic.ppf([0.6, 0.75, 0.9]))
    low, high = np.percentile(stats.logistic.cdf(np.array(fits)), [2.5, 97.5], axis=0)
    for place in range(3):
        width = high[place] - low[place]
        assert band.low[place] == pytest.approx(low[place], abs=0.1 * width)
        assert band.high[place] == pytest.approx(high[place], abs=0.1 * width)


# The band.


def test_a_band_holds_its_line_and_is_narrowest_amid_the_models() -> None:
    line, places = fit_accuracy_line(CLEAN, SHIFTED), [0.3, 0.75, 0.97]
    band = accuracy_line_band(CLEAN, SHIFTED, at=places, seed=1)
    assert band.clean == tuple(places)
    for place, low, high in zip(places, band.low, band.high, strict=True):
        assert low < line.predict(place) < high
    widths = np.subtract(stats.logistic.ppf(band.high), stats.logistic.ppf(band.low))
    assert widths[1] < min(widths[0], widths[2])
    assert band.level == 0.95
    assert band.method == "percentile bootstrap of 40 models, 1000 draws, logit axes"


def test_a_band_is_the_same_for_a_seed_and_another_for_another() -> None:
    first, again, other = (accuracy_line_band(CLEAN, SHIFTED, at=[0.7], seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.low != other.low


def test_a_point_of_the_band_does_not_depend_on_the_other_points() -> None:
    alone = accuracy_line_band(CLEAN, SHIFTED, at=[0.7], seed=1)
    amid = accuracy_line_band(CLEAN, SHIFTED, at=[0.6, 0.7, 0.8], seed=1)
    assert (alone.low[0], alone.high[0]) == (amid.low[1], amid.high[1])


def test_resamples_of_one_clean_accuracy_are_drawn_again() -> None:
    # Half of the resamples of two models hold one of them twice.
    band = accuracy_line_band(odds(1, 4), odds(1 / 8, 2), at=odds(2), seed=0)
    assert (band.low[0], band.high[0]) == pytest.approx((1 / 3, 1 / 3), abs=1e-12)


def test_a_higher_level_makes_a_wider_band() -> None:
    narrow = accuracy_line_band(CLEAN, SHIFTED, at=[0.7], seed=1, level=0.5)
    wide = accuracy_line_band(CLEAN, SHIFTED, at=[0.7], seed=1, level=0.99)
    assert wide.low[0] < narrow.low[0] < narrow.high[0] < wide.high[0]


# What always holds.


@given(data=st.data())
@SETTINGS
def test_models_on_a_line_are_found_on_it(data: st.DataObject) -> None:
    intercept, slope = data.draw(st.floats(-2, 2)), data.draw(st.floats(-2, 2))
    x = np.array(data.draw(st.lists(st.floats(-2, 2), min_size=2, max_size=9)))
    x[0] = x[1] + 1
    clean, shifted = stats.logistic.cdf(x), stats.logistic.cdf(intercept + slope * x)
    line = fit_accuracy_line(clean, shifted)
    assert (line.intercept, line.slope) == pytest.approx((intercept, slope), abs=1e-9)
    for c, s in zip(clean.tolist(), shifted.tolist(), strict=True):
        assert effective_robustness(c, s, line) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("axis", ["logit", "probit"])
def test_exchanging_right_and_wrong_mirrors_the_line(axis: AccuracyAxis) -> None:
    line = fit_accuracy_line(CLEAN, SHIFTED, axis=axis)
    mirrored = fit_accuracy_line(1 - CLEAN, 1 - SHIFTED, axis=axis)
    assert (mirrored.intercept, mirrored.slope) == pytest.approx((-line.intercept, line.slope), abs=1e-9)


# What has no value.


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 60.0])
@pytest.mark.parametrize("axis", ["logit", "probit"])
def test_an_accuracy_of_nothing_all_or_percent_has_no_place_on_the_axis(
    bad: float, axis: AccuracyAxis
) -> None:
    message = f"has no {axis}; expected accuracies strictly between 0 and 1; found {bad:g}; divide"
    with pytest.raises(UndefinedMetricError, match=f"clean {message}"):
        fit_accuracy_line([0.5, bad], [0.5, 0.6], axis=axis)
    with pytest.raises(UndefinedMetricError, match=f"shifted {message}"):
        fit_accuracy_line([0.5, 0.6], [bad, 0.5], axis=axis)
    with pytest.raises(UndefinedMetricError, match=f"at {message}"):
        accuracy_line_band(CLEAN, SHIFTED, at=[0.5, bad], seed=0, axis=axis)
    line = fit_accuracy_line(CLEAN, SHIFTED, axis=axis)
    with pytest.raises(UndefinedMetricError, match=f"clean_accuracy {message}"):
        effective_robustness(bad, 0.5, line)


def test_several_accuracies_without_a_place_are_counted() -> None:
    with pytest.raises(UndefinedMetricError, match=r"shifted has no logit.*found 0 and 1 more"):
        fit_accuracy_line([0.5, 0.6, 0.7], [0.0, 1.0, 0.5])


@pytest.mark.parametrize("clean", [[0.7], [0.7, 0.7, 0.7]])
def test_models_of_one_clean_accuracy_have_no_line(clean: list[float]) -> None:
    shifted = [0.4, 0.5, 0.6][: len(clean)]
    with pytest.raises(UndefinedMetricError, match=f"do not differ.*found {len(clean)} of 0.7; fit"):
        fit_accuracy_line(clean, shifted)
    with pytest.raises(UndefinedMetricError, match="do not differ"):
        accuracy_line_band(clean, shifted, at=[0.5], seed=0)


def test_accuracies_of_other_models_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="clean and shifted differ in length"):
        fit_accuracy_line([0.5, 0.6, 0.7], [0.5, 0.6])


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan, np.inf])
def test_robustness_of_what_is_no_accuracy_is_refused(bad: float) -> None:
    line = fit_accuracy_line(CLEAN, SHIFTED)
    with pytest.raises(UndefinedMetricError, match="shifted_accuracy is"):
        effective_robustness(0.7, bad, line)
    with pytest.raises(UndefinedMetricError, match="shifted_accuracy is"):
        relative_robustness(bad, 0.5)
    with pytest.raises(UndefinedMetricError, match="shifted_accuracy_before is"):
        relative_robustness(0.5, bad)


def test_options_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(UsageError, match="axis cannot be used; expected logit or probit; found 'log'"):
        fit_accuracy_line(CLEAN, SHIFTED, axis="log")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(UsageError, match="level cannot be used"):
        accuracy_line_band(CLEAN, SHIFTED, at=[0.5], seed=0, level=1.0)
    with pytest.raises(UsageError, match="draws cannot be used"):
        accuracy_line_band(CLEAN, SHIFTED, at=[0.5], seed=0, draws=99)
    with pytest.raises(UsageError, match="seed cannot be used"):
        accuracy_line_band(CLEAN, SHIFTED, at=[0.5], seed=-1)
    with pytest.raises(UndefinedMetricError, match="at is empty"):
        accuracy_line_band(CLEAN, SHIFTED, at=[], seed=0)


# The published models.


@cache
def published_accuracies(shared: Path) -> dict[str, dict[str, float]]:
    """Accuracy in percent by model and setting, where it was measured."""
    with (shared / "facts" / "imagenet_testbed_top1.csv").open(newline="") as lines:
        rows = {row.pop("model"): row for row in csv.DictReader(lines)}
    return {model: {at: float(text) for at, text in row.items() if text} for model, row in rows.items()}


def standard_models(shared: Path) -> list[str]:
    """The models of the published line, as the protocol selects them."""
    lines = (shared / "facts" / "imagenet_testbed_types.tsv").read_text().splitlines()[1:]
    types = dict(line.split("\t") for line in lines)
    return [
        model
        for model, row in published_accuracies(shared).items()
        if types.get(model) == "standard"
        and row["val"] >= 55
        and not any(word in model for word in ("aws", "batch64", "subsample"))
    ]


def points(shared: Path, model: str, line: AccuracyLine) -> float:
    row = published_accuracies(shared)[model]
    return 100 * effective_robustness(row["val"] / 100, row["imagenet-sketch"] / 100, line)


@pytest.mark.realdata
def test_the_published_accuracies_give_the_worked_line_and_robustness(shared: Path) -> None:
    rows = [published_accuracies(shared)[model] for model in standard_models(shared)]
    line = fit_accuracy_line(
        [row["val"] / 100 for row in rows], [row["imagenet-sketch"] / 100 for row in rows]
    )
    assert (line.n, round(line.intercept, 5), round(line.slope, 5)) == (85, -2.37007, 1.07092)
    assert {model: round(points(shared, model, line), 3) for model in WORKED} == WORKED


@pytest.mark.realdata
def test_the_shipped_table_gives_the_worked_robustness_to_a_thousandth_of_a_point(shared: Path) -> None:
    # Three decimals of a percent: up to 0.0005 points of an accuracy; the line averages over 85 of them.
    accuracies = line_accuracies(load_accuracies("imagenet-testbed-standard"), "imagenet-sketch")
    line = fit_accuracy_line(accuracies.clean, accuracies.shifted)
    assert (line.intercept, line.slope) == pytest.approx((-2.37007, 1.07092), abs=5e-5)
    assert {model: points(shared, model, line) for model in WORKED} == pytest.approx(WORKED, abs=1e-3)


@pytest.mark.realdata
def test_the_shipped_table_is_the_published_one_rounded(shared: Path) -> None:
    table = load_accuracies("imagenet-testbed-standard")
    assert list(table.models) == standard_models(shared)
    for model, row in table.models.items():
        published = published_accuracies(shared)[model]
        for column, accuracy in zip(table.columns, row, strict=True):
            exact = published.get(column)
            assert (accuracy is None) == (exact is None), (model, column)
            assert accuracy is None or accuracy == pytest.approx(exact, abs=5.001e-4), (model, column)
