"""Options of metrics in a suite: each is checked before an image is shown, and every one that there is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import get_args

import pytest

from robustbench_safety.data import DataRoot
from robustbench_safety.detection_measures import DETECTION_METRICS
from robustbench_safety.errors import FileFormatError, UnknownNameError
from robustbench_safety.measures import METRICS
from robustbench_safety.metric_options import NEEDED, RULES, check_options
from robustbench_safety.metrics.reliability import Binning
from robustbench_safety.records import Cell, Suite
from robustbench_safety.scoring import needed_conditions

ALL: dict[str, Callable[..., float]] = {
    **{name: metric.value for name, metric in METRICS.items()},
    **{name: metric.value for name, metric in DETECTION_METRICS.items()},
}


def cell(metric: str, **options: int | float | str) -> Cell:
    if metric in METRICS:
        return Cell(id="one", dataset="digits", metric=metric, options=options)
    return Cell(
        id="one",
        dataset="blobs",
        metric=metric,
        detector="msp",
        in_distribution="digits",
        options=options,
    )


def options_of(metric: Callable[..., float]) -> set[str]:
    parameters = inspect.signature(metric).parameters.values()
    return {one.name for one in parameters if one.kind is one.KEYWORD_ONLY} - {"correct_in"}


def test_there_is_a_rule_for_every_option_of_every_metric_and_no_other() -> None:
    assert set().union(*map(options_of, ALL.values())) == set(RULES)
    assert set(NEEDED) < set(RULES)


@pytest.mark.parametrize(
    ("metric", "options", "said"),
    [
        ("expected_calibration_error", {"bins": 0}, "option bins of expected_calibration_error; .*found 0"),
        ("expected_calibration_error", {"bins": 15.0}, "expected a whole number of at least 1; found 15.0"),
        (
            "expected_calibration_error",
            {"binning": "equal"},
            "expected equal_width or equal_mass",
        ),
        ("rms_calibration_error", {"bin_size": "100"}, "found '100'"),
        ("top_k_error", {"k": -1}, "found -1"),
        ("accuracy_at_coverage", {"coverage": 95}, "expected a fraction above 0 and at most 1; found 95"),
        ("cue_accuracy", {"cue": "colour"}, "expected shape or texture; found 'colour'"),
        ("aupr_out", {"base_rate": 1}, "expected a fraction above 0 and below 1; found 1"),
        ("fpr_at_tpr", {"tpr": 95}, "option tpr of fpr_at_tpr; .*found 95"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_by_cell_and_name(
    metric: str, options: dict[str, int | float | str], said: str
) -> None:
    with pytest.raises(FileFormatError, match=f"^cell one: .*{said}"):
        check_options(cell(metric, **options), ALL[metric])


@pytest.mark.parametrize(
    ("metric", "option"),
    [("accuracy_at_coverage", "coverage"), ("cue_accuracy", "cue"), ("top_k_error", "k")],
)
def test_an_option_without_a_default_is_asked_for(metric: str, option: str) -> None:
    with pytest.raises(FileFormatError, match=f"cell one: metric {metric}; expected option {option}; found"):
        check_options(cell(metric), ALL[metric])


@pytest.mark.parametrize("metric", ["rms_calibration_error", "aupr_out", "unknown_aurc"])
def test_an_option_that_there_is_not_shows_those_that_there_are(metric: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown option of {metric} 'correct_in'"):
        check_options(cell(metric, correct_in=1), ALL[metric])


@pytest.mark.parametrize(
    ("metric", "options"),
    [
        ("expected_calibration_error", {"bins": 10, "binning": get_args(Binning)[1]}),
        ("top_k_error", {"k": 5}),
        ("accuracy_at_coverage", {"coverage": 1}),
        ("aupr_in", {"base_rate": 0.5}),
        ("rms_calibration_error", {}),
    ],
)
def test_options_that_can_be_used_are_left_alone(metric: str, options: dict[str, int | float | str]) -> None:
    check_options(cell(metric, **options), ALL[metric])


def test_a_suite_is_refused_before_it_says_what_it_needs() -> None:
    wrong = cell("expected_calibration_error", bins=0)
    suite = Suite(
        name="own", version=1, title="t", label_space="digits", seed=0, cells=(wrong,), columns=("one",)
    )
    with pytest.raises(FileFormatError, match="option bins"):
        needed_conditions(suite, DataRoot.default())
