"""Robustness beyond published models: worked by hand, null with a reason, and checked before any image."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.accuracies import load_accuracies
from robustbench_safety.aggregating import Measured
from robustbench_safety.data import DataRoot
from robustbench_safety.errors import FileFormatError, UnknownNameError
from robustbench_safety.metrics import effective_robustness_interval, fit_accuracy_line, wilson_interval
from robustbench_safety.records import AccuracyTable, Aggregate, Cell, Score, Suite
from robustbench_safety.robustness import check_robustness, robustness_of
from robustbench_safety.suites import suite_digest
from tests.metrics.test_shift import WORKED

NOWHERE = DataRoot(root=Path("nowhere"))
SHIPPED = "imagenet-testbed-standard"

#: Clean odds 1, 4 and 16 become 1/4, 1 and 4: intercept -ln 4, slope 1.
TABLE = AccuracyTable.model_validate({
    "name": "mine", "version": 1, "title": "Mine", "source": "here", "licence": "CC0", "selection": "all",
    "shifts": {
        "imagenet-sketch": {"clean": "val", "shifted": "sketch"},
        "imagenet-a": {"clean": "val", "shifted": "hard", "no_line": "chosen by a model"},
        "imagenet-r": {"clean": "val", "shifted": "none"},
    },
    "columns": ("val", "sketch", "hard", "none"),
    "models": {
        "small": (50.0, 20.0, 1.0, None),
        "medium": (80.0, 50.0, 2.0, None),
        "large": (1600 / 17, 80.0, 0.0, None),
    },
})  # fmt: skip

SHIFTED = Cell(id="error", dataset="imagenet-sketch", metric="error_rate")
CLEAN = Cell(id="clean_error", dataset="imagenet-1k", metric="error_rate")


def measured(right: int, n: int) -> Measured:
    return Measured(units=[(np.repeat([0.0, 1.0], [right, n - right]),)])


def effective(
    shifted: Measured, clean: Measured, *, dataset: str = "imagenet-sketch", table: AccuracyTable = TABLE
) -> Score:
    asked = Aggregate(
        id="er", of=("error", "clean_error"), reduce="effective_robustness", accuracies="mine", axis="logit"
    )
    cells = [SHIFTED.model_copy(update={"dataset": dataset}), CLEAN]
    return robustness_of(asked, cells, {"error": shifted, "clean_error": clean}, table, seed=3)


def relative(shifted: Measured, *, dataset: str = "imagenet-sketch", reference: str = "medium") -> Score:
    asked = Aggregate(
        id="rr", of=("error",), reduce="relative_robustness", accuracies="mine", reference=reference
    )
    cells = [SHIFTED.model_copy(update={"dataset": dataset})]
    return robustness_of(asked, cells, {"error": shifted}, TABLE, seed=3)


# By hand.


def test_effective_robustness_is_what_lies_above_the_line_of_the_table() -> None:
    # Clean 9/10, odds 9, become 9/4 on the line: 9/13. Of 400 shifted images 300 are right, 3/4.
    found = effective(measured(300, 400), measured(900, 1000))
    assert found.value == pytest.approx(3 / 4 - 9 / 13, abs=1e-10)
    assert (found.n, found.unit, found.direction, found.reason) == (400, "fraction", "higher", None)
    line = fit_accuracy_line([0.5, 0.8, 16 / 17], [0.2, 0.5, 0.8])
    expected = effective_robustness_interval(
        np.repeat([1.0, 0.0], [900, 100]), np.repeat([1.0, 0.0], [300, 100]), line, seed=3
    )
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.line is not None
    assert (found.line.intercept, found.line.slope) == pytest.approx((-np.log(4), 1), abs=1e-9)
    assert (found.line.clean, found.line.expected) == pytest.approx((0.9, 9 / 13), abs=1e-9)
    assert (found.line.axis, found.line.n_models) == ("logit", 3)
    # The models lie on the line, so every resample gives it.
    assert (found.line.band.low, found.line.band.high) == pytest.approx((9 / 13, 9 / 13), abs=1e-9)
    assert found.line.curve[0][:2] == pytest.approx((0.5, 0.2), abs=1e-9)
    assert found.line.curve[-1][:2] == pytest.approx((16 / 17, 0.8), abs=1e-9)


def test_a_model_on_the_line_has_none_and_one_below_it_less() -> None:
    assert effective(measured(50, 100), measured(80, 100)).value == pytest.approx(0, abs=1e-10)
    assert effective(measured(0, 100), measured(80, 100)).value == pytest.approx(-0.5, abs=1e-10)


def test_relative_robustness_is_the_accuracy_less_that_of_the_reference() -> None:
    found = relative(measured(300, 400))
    assert found.value == pytest.approx(0.25, abs=1e-12)
    assert (found.n, found.unit, found.direction, found.line) == (400, "fraction", "higher", None)
    own = wilson_interval(300, 400)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (own.low - 0.5, own.high - 0.5), abs=1e-9
    )
    assert found.interval.method == "wilson"


def test_where_there_is_no_line_there_is_a_reference_all_the_same() -> None:
    assert relative(measured(30, 100), dataset="imagenet-a", reference="large").value == pytest.approx(0.3)


# What nobody can have.


def test_without_a_line_effective_robustness_is_null_with_the_table_s_reason() -> None:
    found = effective(measured(300, 400), measured(900, 1000), dataset="imagenet-a")
    assert (found.value, found.n, found.interval, found.line) == (None, 0, None, None)
    assert found.reason == "mine has no line for imagenet-a: chosen by a model"


def test_a_set_that_no_published_model_was_measured_on_has_neither() -> None:
    assert "no line for imagenet-r" in str(
        effective(measured(1, 2), measured(1, 2), dataset="imagenet-r").reason
    )
    reason = relative(measured(1, 2), dataset="imagenet-r").reason
    assert str(reason).startswith("mine has no accuracy of medium on imagenet-r")


@pytest.mark.parametrize("right", [0, 40])
def test_a_clean_accuracy_without_a_place_on_the_axis_has_no_robustness(right: int) -> None:
    found = effective(measured(10, 40), measured(right, 40))
    assert found.value is None
    assert "clean_accuracy has no logit" in str(found.reason)


def test_a_cell_without_a_number_is_named() -> None:
    found = effective(measured(1, 2), Measured(reason="no predictions"))
    assert (found.value, found.reason) == (None, "clean_error: no predictions")
    assert relative(Measured(reason="no predictions")).reason == "no predictions"


# The published models.


@pytest.mark.realdata
def test_published_models_have_their_worked_effective_robustness_to_a_thousandth_of_a_point(
    shared: Path,
) -> None:
    # Accuracies with three decimals of a percent are counts of 100,000 images, none of them measured here.
    with (shared / "facts" / "imagenet_testbed_top1.csv").open(newline="") as lines:
        rows = {row["model"]: row for row in csv.DictReader(lines)}
    table = load_accuracies(SHIPPED)
    for model, points in WORKED.items():
        shifted, clean = (round(1000 * float(rows[model][at])) for at in ("imagenet-sketch", "val"))
        found = effective(measured(shifted, 100_000), measured(clean, 100_000), table=table)
        assert found.value is not None
        assert 100 * found.value == pytest.approx(points, abs=1e-3), model
        assert found.line is not None
        assert (round(found.line.intercept, 4), round(found.line.slope, 4)) == (-2.3701, 1.0709)


# Before any image.


def suite(*, reduce: str = "effective_robustness", **change: object) -> Suite:
    """Return a suite with one aggregate, by cells of ImageNet-R and the validation set."""
    fields = {
        "shifted": {"id": "error", "dataset": "imagenet-r", "metric": "error_rate", "subset": "imagenet-r"},
        "clean": {"id": "clean", "dataset": "imagenet-1k", "metric": "error_rate", "subset": "imagenet-r"},
        "table": SHIPPED, "reference": "resnet50",
    } | change  # fmt: skip
    aggregate: dict[str, object] = {"of": ("error",), "reference": fields["reference"]}
    if reduce == "effective_robustness":
        aggregate = {"of": ("error", "clean"), "axis": "logit"}
    return Suite.model_validate({
        "name": "own", "version": 1, "title": "Own", "label_space": "imagenet-1k", "seed": 0,
        "cells": (fields["shifted"], fields["clean"]), "columns": ("robustness",),
        "aggregates": ({"id": "robustness", "reduce": reduce, "accuracies": fields["table"], **aggregate},),
    })  # fmt: skip


def cell(name: str, **change: object) -> dict[str, object]:
    dataset = "imagenet-r" if name == "error" else "imagenet-1k"
    return {"id": name, "dataset": dataset, "metric": "error_rate", "subset": "imagenet-r", **change}


@pytest.mark.parametrize("reduce", ["effective_robustness", "relative_robustness"])
def test_cells_as_the_published_models_were_measured_pass(reduce: str) -> None:
    check_robustness(suite(reduce=reduce), NOWHERE)


def test_a_set_without_a_line_passes_for_the_record_says_it() -> None:
    hard = cell("error", dataset="imagenet-a", subset="imagenet-a")
    check_robustness(suite(shifted=hard, clean=cell("clean", subset="imagenet-a")), NOWHERE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"shifted": cell("error", subset=None), "clean": cell("clean", subset=None)},
            "cell error: subset; expected imagenet-r, the classes of imagenet-r; found none",
        ),
        (
            {"clean": cell("clean", dataset="imagenet-g-v1")},
            "cell clean; expected imagenet-1k.*found imagenet-g",
        ),
        (
            {"clean": cell("clean", class_map="objectnet")},
            "cell clean.*found imagenet-1k, class_map objectnet",
        ),
        ({"shifted": cell("error", dataset="imagenet-c")}, "cell error; expected one condition; found 95"),
    ],
)
def test_cells_of_other_images_or_classes_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(FileFormatError, match=rf"suite own: aggregate robustness: {message}"):
        check_robustness(suite(**change), NOWHERE)  # type: ignore[arg-type]  # mixed values


def test_what_the_table_does_not_have_is_refused_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown table of accuracies 'imagenet-testbed'"):
        check_robustness(suite(table="imagenet-testbed"), NOWHERE)
    with pytest.raises(UnknownNameError, match="unknown model 'resnet-50'; expected one like resnet50"):
        check_robustness(suite(reduce="relative_robustness", reference="resnet-50"), NOWHERE)
    shifted = cell("error", dataset="imagenet-g-v1", subset=None)
    with pytest.raises(UnknownNameError, match="unknown shifted data set 'imagenet-g-v1'"):
        check_robustness(suite(shifted=shifted, clean=cell("clean", subset=None)), NOWHERE)


def test_the_accuracies_that_a_suite_speaks_of_are_in_its_digest(tmp_path: Path) -> None:
    own = DataRoot(root=tmp_path, beside=tmp_path)
    before = suite_digest(suite(), NOWHERE)
    assert suite_digest(suite(), own) == before
    text = (Path(__file__).parents[1] / "data_manifests" / "accuracies" / f"{SHIPPED}.yaml").read_text()
    (tmp_path / "accuracies").mkdir()
    path = tmp_path / "accuracies" / f"{SHIPPED}.yaml"
    path.write_text(text.replace("title: Top-1", "title: The top-1"))
    assert suite_digest(suite(), own) == before
    path.write_text(text.replace("92.120", "92.121"))
    assert suite_digest(suite(), own) != before
    references = [suite(reduce="relative_robustness", reference=name) for name in ("resnet50", "vgg19")]
    assert len({suite_digest(one, NOWHERE) for one in references}) == 2
