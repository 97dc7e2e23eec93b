"""Tests of corruption errors."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_safety.baselines import baseline_table, load_baseline
from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics import (
    WorstCorruption,
    corruption_error,
    mean_corruption_error,
    relative_mean_corruption_error,
    worst_corruption,
)

Errors = dict[str, list[float]]

ERRORS: Errors = {"fog": [0.2, 0.4], "snow": [0.3, 0.5]}
BASELINE: Errors = {"fog": [0.4, 0.8], "snow": [0.5, 0.5]}


def test_a_corruption_error_is_a_ratio_of_sums_not_a_mean_of_ratios() -> None:
    # (0.1 + 0.6) / (0.2 + 0.8) = 0.7; the mean of 1/2 and 3/4 would be 0.625.
    assert corruption_error([0.1, 0.6], [0.2, 0.8]) == pytest.approx(0.7, abs=1e-15)


def test_the_mean_corruption_error_averages_the_ratios_of_the_corruptions() -> None:
    # fog 0.6 / 1.2 = 0.5, snow 0.8 / 1.0 = 0.8; the ratio of all sums would be 1.4 / 2.2 = 0.636.
    assert mean_corruption_error(ERRORS, baseline=BASELINE) == pytest.approx(0.65, abs=1e-15)


def test_a_single_number_of_the_baseline_is_its_mean_over_the_severities() -> None:
    means: dict[str, list[float] | float] = {"fog": 0.6, "snow": [0.5, 0.5]}
    assert mean_corruption_error(ERRORS, baseline=means) == pytest.approx(0.65, abs=1e-15)
    relative = relative_mean_corruption_error(ERRORS, 0.1, means, 0.3)
    assert relative == pytest.approx(relative_mean_corruption_error(ERRORS, 0.1, BASELINE, 0.3), abs=1e-14)


def test_a_single_number_of_numpy_is_one_too() -> None:
    errors = {"fog": [0.25, 0.5]}
    numbers: tuple[Any, ...] = (np.float32(0.5), np.float64(0.5), np.array(0.5))
    for mean in numbers:
        assert mean_corruption_error(errors, baseline={"fog": mean}) == 0.75
        assert relative_mean_corruption_error(errors, 0.25, {"fog": mean}, 0.25) == 0.5


def test_without_a_baseline_the_mean_corruption_error_is_the_mean_error() -> None:
    # fog 0.3 and snow 0.4 on average.
    assert mean_corruption_error(ERRORS, baseline=None) == pytest.approx(0.35, abs=1e-15)


def test_the_relative_error_counts_what_is_added_to_the_clean_errors() -> None:
    # Clean 0.1 and 0.3. fog (0.1 + 0.3) / (0.1 + 0.5) = 2/3, snow (0.2 + 0.4) / (0.2 + 0.2) = 3/2.
    expected = (2 / 3 + 3 / 2) / 2
    assert relative_mean_corruption_error(ERRORS, 0.1, BASELINE, 0.3) == pytest.approx(expected, abs=1e-14)


def test_a_network_that_corruptions_help_has_a_relative_error_below_zero() -> None:
    # (0.4 + 0.4 - 2 * 0.5) / (0.5 + 0.7 - 2 * 0.5) = -0.2 / 0.2.
    found = relative_mean_corruption_error({"fog": [0.4, 0.4]}, 0.5, {"fog": [0.5, 0.7]}, 0.5)
    assert found == pytest.approx(-1.0, abs=1e-12)


def test_the_worst_corruption_is_the_one_of_the_largest_mean() -> None:
    # fog has the largest single error, snow the larger mean: 0.6 against 0.55.
    errors = {"fog": [0.2, 0.9], "snow": [0.6, 0.6], "frost": [0.0, 0.1]}
    assert worst_corruption(errors) == WorstCorruption(name="snow", error=0.6)


def test_of_two_equally_bad_corruptions_the_first_by_name_is_the_worst() -> None:
    # 0.25 + 0.5 and 0.5 + 0.25.
    errors = {"snow": [0.25, 0.5], "fog": [0.5, 0.25]}
    assert worst_corruption(errors) == WorstCorruption(name="fog", error=0.375)
    assert worst_corruption(dict(reversed(errors.items()))).name == "fog"


@st.composite
def tables(draw: st.DrawFn) -> tuple[Errors, Errors]:
    """Draw errors and a baseline's: by corruption, at 1 to 5 severities."""
    n = draw(st.integers(1, 5))
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=6, unique=True))
    level = st.lists(st.floats(0, 1), min_size=n, max_size=n)
    above = st.lists(st.floats(0.01, 1), min_size=n, max_size=n)
    return {name: draw(level) for name in names}, {name: draw(above) for name in names}


SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)


@given(tables(), st.floats(0, 1))
@SETTINGS
def test_means_agree_with_arrays_of_all_corruptions(both: tuple[Errors, Errors], clean: float) -> None:
    errors, baseline = both
    above, below = np.array([errors[name] for name in errors]), np.array([baseline[name] for name in errors])
    expected = float(np.mean(above.mean(axis=1) / below.mean(axis=1)))
    assert mean_corruption_error(errors, baseline=baseline) == pytest.approx(expected, rel=1e-12, abs=1e-300)
    assert mean_corruption_error(errors, baseline=None) == pytest.approx(float(above.mean()), abs=1e-14)
    added = (above - clean).sum(axis=1) / (below - 0.005).sum(axis=1)
    relative = relative_mean_corruption_error(errors, clean, baseline, 0.005)
    assert relative == pytest.approx(float(added.mean()), rel=1e-9, abs=1e-9)
    assert worst_corruption(errors).error == pytest.approx(float(above.mean(axis=1).max()), abs=1e-15)


@given(tables())
@SETTINGS
def test_a_network_beside_itself_has_a_mean_corruption_error_of_one(both: tuple[Errors, Errors]) -> None:
    _, baseline = both
    assert mean_corruption_error(baseline, baseline=baseline) == 1.0
    assert relative_mean_corruption_error(baseline, 0.001, baseline, 0.001) == 1.0


@given(tables())
@SETTINGS
def test_the_order_of_the_corruptions_and_severities_never_matters_to_the_last_bit(
    both: tuple[Errors, Errors],
) -> None:
    errors, baseline = both
    turned = {name: errors[name][::-1] for name in reversed(errors)}
    below = {name: baseline[name][::-1] for name in sorted(baseline)}
    assert mean_corruption_error(errors, baseline=baseline) == mean_corruption_error(turned, baseline=below)
    assert mean_corruption_error(errors, baseline=None) == mean_corruption_error(turned, baseline=None)
    assert worst_corruption(errors) == worst_corruption(turned)


@given(tables(), st.data())
@SETTINGS
def test_less_error_anywhere_never_gives_a_higher_mean(
    both: tuple[Errors, Errors], data: st.DataObject
) -> None:
    errors, baseline = both
    name = data.draw(st.sampled_from(sorted(errors)))
    better = {**errors, name: [error * data.draw(st.floats(0, 1)) for error in errors[name]]}
    assert mean_corruption_error(better, baseline=baseline) <= mean_corruption_error(
        errors, baseline=baseline
    )
    assert mean_corruption_error(better, baseline=None) <= mean_corruption_error(errors, baseline=None)
    assert worst_corruption(better).error <= worst_corruption(errors).error


def test_a_corruption_that_was_not_measured_is_named_and_refused() -> None:
    fewer = {"fog": ERRORS["fog"]}
    match = "errors and their baseline are not of the same names; expected the 2 .*; found without snow; meas"
    with pytest.raises(UndefinedMetricError, match=match):
        mean_corruption_error(fewer, baseline=BASELINE)
    with pytest.raises(UndefinedMetricError, match=match):
        relative_mean_corruption_error(fewer, 0.1, BASELINE, 0.3)


def test_a_corruption_that_the_baseline_does_not_have_is_named_and_refused() -> None:
    more = {**ERRORS, "spatter": [0.1, 0.1], "saturate": [0.1, 0.1]}
    with pytest.raises(UndefinedMetricError, match="with saturate, spatter, unknown to the baseline"):
        mean_corruption_error(more, baseline=BASELINE)
    with pytest.raises(UndefinedMetricError, match="found without snow and with rain, unknown"):
        mean_corruption_error({"fog": [0.2, 0.4], "rain": [0.1, 0.1]}, baseline=BASELINE)


@pytest.mark.parametrize(
    ("errors", "baseline", "message"),
    [
        ({"fog": [0.2, 0.4], "snow": [0.3]}, None, "errors of snow and those of fog differ in severities"),
        ({"fog": [0.2]}, {"fog": [0.2, 0.4]}, "baseline's errors of fog and the errors differ .* 1; found 2"),
        ({"fog": []}, None, "errors of fog is empty"),
        ({}, None, "errors are empty; expected at least one corruption"),
        ({}, {}, "errors are empty"),
        ({"fog": [0.2, math.nan]}, None, "errors of fog is not finite"),
        ({"fog": [0.2]}, {"fog": [math.nan]}, "baseline's errors of fog is not finite"),
        ({"fog": [0.2]}, {"fog": math.nan}, "baseline's errors of fog is not finite"),
        ({"fog": [20.0, 40.0]}, None, r"errors of fog is outside \[0, 1\]; .*; divide a percentage by 100"),
        ({"fog": [-0.1]}, None, r"errors of fog is outside \[0, 1\]"),
        ({"fog": [0.2]}, {"fog": 60.0}, r"baseline's errors of fog is outside \[0, 1\]"),
        (
            {"fog": [0.2]},
            {"fog": [0.0]},
            "baseline's errors of fog cannot be divided by; .* above 0; found 0",
        ),
        ({"fog": [0.2]}, {"fog": 0.0}, "baseline's errors of fog cannot be divided by"),
        ({"fog": ["much"]}, None, "errors of fog is not numeric"),
    ],
)
def test_a_mean_corruption_error_that_has_no_value_says_of_which_corruption(
    errors: Mapping[str, list[float]], baseline: Mapping[str, list[float]] | None, message: str
) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        mean_corruption_error(errors, baseline=baseline)


@pytest.mark.parametrize(
    ("errors", "baseline", "message"),
    [
        ([0.1, 0.2], [0.1], "baseline_errors and the errors differ in severities; expected 2; found 1"),
        ([0.1, 0.2], [0.0, 0.0], "baseline_errors cannot be divided by"),
        ([0.1, 1.2], [0.1, 0.2], r"errors is outside \[0, 1\]"),
        ([0.1, 0.2], [0.1, 12.0], r"baseline_errors is outside \[0, 1\]"),
    ],
)
def test_a_corruption_error_that_has_no_value_says_why(
    errors: list[float], baseline: list[float], message: str
) -> None:
    with pytest.raises(UndefinedMetricError, match=message):
        corruption_error(errors, baseline)


@pytest.mark.parametrize("clean", [0.6, 0.7])
def test_a_corruption_that_adds_nothing_to_the_baseline_has_no_relative_error(clean: float) -> None:
    # The baseline's errors of fog are 0.5 and 0.7: nothing above 0.6, less than nothing above 0.7.
    errors, baseline = {"fog": [0.5, 0.5]}, {"fog": [0.5, 0.75 - 0.05]}
    with pytest.raises(UndefinedMetricError, match="what fog adds to the baseline cannot be divided by"):
        relative_mean_corruption_error(errors, 0.1, baseline, clean)


@pytest.mark.parametrize("bad", [math.nan, -0.1, 43.478])
def test_a_clean_error_that_is_no_fraction_is_refused(bad: float) -> None:
    with pytest.raises(UndefinedMetricError, match=r"^clean_error is "):
        relative_mean_corruption_error(ERRORS, bad, BASELINE, 0.3)
    with pytest.raises(UndefinedMetricError, match=r"^baseline_clean_error is "):
        relative_mean_corruption_error(ERRORS, 0.1, BASELINE, bad)


# Published: images resized to 256 pixels before the crop, which puts AlexNet beside its own table above 100.

PUBLISHED = {
    "alexnet": (102.29, 80.54),
    "resnet50": (78.20, 61.90),
    "resnet50_augmix": (67.13, 53.04),
    "resnet50_deepaugment": (61.97, 48.53),
    "resnet50_deepaugment_augmix": (56.54, 44.33),
}


def published_accuracies(shared: Path, model: str) -> dict[str, float]:
    """Accuracy of a model in percent, by test setting, where it was measured."""
    with (shared / "facts" / "imagenet_testbed_top1.csv").open(newline="") as lines:
        (row,) = (row for row in csv.DictReader(lines) if row.pop("model") == model)
    return {setting: float(accuracy) for setting, accuracy in row.items() if accuracy}


@pytest.mark.realdata
@pytest.mark.parametrize("model", PUBLISHED)
def test_published_accuracies_give_the_published_mean_corruption_errors(shared: Path, model: str) -> None:
    accuracy = published_accuracies(shared, model)
    baseline = baseline_table(load_baseline("alexnet-imagenet-c"), "error_rate").by_name()
    errors = {
        name: [1 - accuracy[f"imagenet-c.{name}.{severity}_on-disk"] / 100 for severity in range(1, 6)]
        for name in baseline
    }
    normalised = 100 * mean_corruption_error(errors, baseline=baseline)
    plain = 100 * mean_corruption_error(errors, baseline=None)
    assert (round(normalised, 2), round(plain, 2)) == PUBLISHED[model]


def test_what_rounding_leaves_of_nothing_is_not_divided_by() -> None:
    # 0.6 + 0.7 + 0.8 is 3 * 0.7; in float64 the first is larger by 4e-16.
    errors, baseline = {"fog": [0.5, 0.6, 0.7]}, {"fog": [0.6, 0.7, 0.8]}
    with pytest.raises(UndefinedMetricError, match="what fog adds to the baseline cannot be divided by"):
        relative_mean_corruption_error(errors, 0.1, baseline, 0.7)
