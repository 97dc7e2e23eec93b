"""The table of detectors says what their functions take."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.detectors import DETECTORS, NEED_LOGITS, DetectorInputs, fit_detector, ood_score
from robustbench_safety.errors import UndefinedMetricError, UnknownNameError, UsageError

INPUTS = DetectorInputs(
    logits=np.eye(3), features=np.eye(3), weight=np.eye(3), bias=np.zeros(3), labels=np.arange(3)
)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_line_names_the_parameters_and_defaults_of_its_functions(name: str) -> None:
    detector = DETECTORS[name]
    assert (detector.score is None) == (detector.fitting is not None) == (detector.fit is not None)
    function = detector.score or detector.fitting
    assert function is not None
    taken = detector.takes if detector.fitting is None else detector.fitted_on
    parameters = inspect.signature(function).parameters
    assert set(parameters) == set(taken) | set(detector.options)
    for option, (kind, default) in detector.options.items():
        assert parameters[option].default == default
        assert default is None or type(default) is kind
    assert detector.needs == detector.takes[0]


@pytest.mark.parametrize("name", DETECTORS)
def test_a_default_said_aloud_changes_nothing(name: str) -> None:
    said = {
        key: option.default for key, option in DETECTORS[name].options.items() if option.default is not None
    }
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    logits = rng.normal(size=(60, 3)) + 5 * np.eye(3)[labels]
    inputs = DetectorInputs(
        logits=logits, features=np.abs(rng.normal(size=(60, 8))), labels=labels, weight=rng.random((3, 8)),
        bias=np.zeros(3), logit_scale=10.0, mutual_information=rng.random(60))  # fmt: skip
    on = None if DETECTORS[name].fit is None else inputs
    scores = fit_detector(name, on=on)(inputs)
    np.testing.assert_array_equal(fit_detector(name, on=on, options=said)(inputs), scores)
    assert scores.shape == (60,)
    assert scores.dtype == np.float64


@pytest.mark.parametrize("name", DETECTORS)
def test_the_page_of_detectors_names_each_with_its_options(name: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "detectors.md"
    row = next(
        line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |")
    )
    assert len(row.split("|")) == 8
    for option, (_, default) in DETECTORS[name].options.items():
        said = (
            f"`{option}`"
            if default is None
            else f"`{option}` {default if isinstance(default, str) else f'{default:g}'}"
        )
        assert said in row


def test_what_a_detector_needs_can_be_read_off_the_table() -> None:
    assert {name for name, it in DETECTORS.items() if it.fit == "tune"} == {"kl_matching", "react"}
    assert {name for name, it in DETECTORS.items() if it.labels} == {
        "psi", "mahalanobis", "relative_mahalanobis"}  # fmt: skip
    assert {name for name, it in DETECTORS.items() if it.last_layer} == {
        "vim", "react", "ash_p", "ash_b", "ash_s", "scale"}  # fmt: skip
    assert {name for name, it in DETECTORS.items() if it.logit_scale} == {"mcm"}
    assert frozenset({"maxlogit", "energy"}) == NEED_LOGITS


def test_a_missing_input_is_named() -> None:
    with pytest.raises(UndefinedMetricError, match="mcm needs logit_scale, and there is none"):
        fit_detector("mcm")(INPUTS)
    with pytest.raises(UndefinedMetricError, match="fitting vim needs weight and bias, and there is none"):
        fit_detector("vim", on=DetectorInputs(features=np.eye(3)))
    with pytest.raises(UndefinedMetricError, match="knn needs features, and there is none"):
        fit_detector("knn", on=INPUTS, options={"k": 1})(DetectorInputs(logits=np.eye(3)))


def test_a_detector_that_is_fitted_needs_images_and_another_takes_none() -> None:
    with pytest.raises(UndefinedMetricError, match="knn is fitted on training images, and there are none"):
        fit_detector("knn")
    with pytest.raises(UndefinedMetricError, match="react is fitted on held-out in-distribution images"):
        fit_detector("react")
    with pytest.raises(UsageError, match="msp is not fitted"):
        fit_detector("msp", on=INPUTS)


def test_an_unknown_option_or_one_of_another_type_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown option of knn 'n'"):
        fit_detector("knn", on=INPUTS, options={"n": 1})
    with pytest.raises(
        UsageError, match=r"k of knn cannot be used; expected a value of type int; found 1\.5"
    ):
        fit_detector("knn", on=INPUTS, options={"k": 1.5})
    with pytest.raises(UsageError, match="k of knn cannot be used"):
        fit_detector("knn", on=INPUTS, options={"k": True})
    with pytest.raises(UsageError, match="tau of mcm cannot be used; expected a value of type float"):
        fit_detector("mcm", options={"tau": "1"})
    assert fit_detector("odin", options={"temperature": 10})(INPUTS).shape == (3,)


def test_a_score_by_name_alone_is_for_those_that_need_stored_logits_alone() -> None:
    np.testing.assert_array_equal(ood_score("msp", np.eye(3)), fit_detector("msp")(INPUTS))
    for name, reason in (
        ("odin", "needs the logits of perturbed images"),
        ("knn", "is fitted on"),
        ("ash_b", "needs features"),
        ("disagreement", "needs mutual_information"),
    ):
        with pytest.raises(UndefinedMetricError, match=f"{name} {reason}"):
            ood_score(name, np.eye(3))
