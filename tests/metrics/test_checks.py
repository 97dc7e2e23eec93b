"""Tests of what every metric demands of its input."""

from typing import Any

import numpy as np
import pytest

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics import checks


def test_an_error_names_what_was_expected_what_was_found_and_what_to_do() -> None:
    with pytest.raises(UndefinedMetricError) as caught:
        checks.confidence_and_correct(np.array([0.5, 97.0]), np.array([1, 0]))
    error = caught.value
    assert error.what == "confidence is outside [0, 1]"
    assert error.found == "values from 0.5 to 97"
    assert "percentage" in error.fix


def test_numbers_are_refused_when_empty_not_finite_not_numeric_or_of_the_wrong_shape() -> None:
    for bad in (np.array([]), np.array([1.0, np.nan]), np.array([np.inf]), np.array(["a"]), np.zeros((2, 2))):
        with pytest.raises(UndefinedMetricError):
            checks.finite(bad, "scores")


def test_numbers_come_back_as_a_float64_copy() -> None:
    given = np.array([1.0, 2.0])
    checked = checks.finite(given, "scores")
    checked[0] = 7.0
    assert given[0] == 1.0
    assert checks.finite(np.array([1, 0], dtype=np.uint8), "correct").dtype == np.float64


def test_class_indices_are_refused_when_negative_too_large_or_not_integers() -> None:
    for bad in (np.array([0, -1]), np.array([0, 3]), np.array([0.0, 1.0]), np.array([], dtype=np.int64)):
        with pytest.raises(UndefinedMetricError):
            checks.class_indices(bad, "labels", n_classes=3)


def test_correct_may_hold_nothing_but_zero_and_one() -> None:
    with pytest.raises(UndefinedMetricError, match="correct holds other values"):
        checks.confidence_and_correct(np.array([0.5]), np.array([0.5]))


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(UndefinedMetricError, match="differ in shape"):
        checks.confidence_and_correct(np.array([0.5]), np.array([1, 0]))
    with pytest.raises(UndefinedMetricError, match="predicted and labels differ in length"):
        checks.same_length(np.zeros(2), np.zeros(3), "predicted and labels")


def test_a_mask_that_hides_a_value_is_refused_and_an_empty_one_is_not() -> None:
    hidden = np.ma.array([0.5, 0.9], mask=[True, False])
    with pytest.raises(UndefinedMetricError, match=r"scores is masked; .*; found 1 that are hidden"):
        checks.finite(hidden, "scores")
    with pytest.raises(UndefinedMetricError, match="labels is masked"):
        checks.class_indices(np.ma.array([0, 1], mask=[False, True]), "labels")
    assert checks.finite(np.ma.array([0.5, 0.9]), "scores").tolist() == [0.5, 0.9]


@pytest.mark.parametrize("value", [0, -1, True, 2.0])
def test_a_count_option_takes_whole_numbers_from_its_minimum(value: int) -> None:
    with pytest.raises(UsageError, match="bins cannot be used"):
        checks.count_option(value, "bins")


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, float("nan")])
def test_a_fraction_option_lies_strictly_between_zero_and_one(value: float) -> None:
    with pytest.raises(UsageError, match="level cannot be used"):
        checks.fraction_option(value, "level")


def test_one_is_a_fraction_where_it_is_allowed() -> None:
    checks.fraction_option(1.0, "tpr", one_allowed=True)
    single: Any = np.float32(0.5)
    checks.fraction_option(single, "level")
