"""The shipped accuracies of published models, a user's own, and what such a table may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.accuracies import (
    LineAccuracies,
    line_accuracies,
    load_accuracies,
    reference_accuracy,
)
from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.errors import FileFormatError, UndefinedMetricError, UnknownNameError
from robustbench_safety.files import digest_of, resource_folder, resource_names
from robustbench_safety.metrics import fit_accuracy_line
from robustbench_safety.records import AccuracyTable

SHIPPED = "imagenet-testbed-standard"

OWN = """\
name: mine
version: 2
title: My models
source: a run of ours
licence: CC0
selection: all that we trained
shifts:
  sketch: {clean: val, shifted: sketches}
  hard: {clean: val, shifted: hard-ones, no_line: chosen by a model}
  none: {clean: val, shifted: unmeasured}
columns: [val, sketches, hard-ones, unmeasured]
models:
  small: [50, 25.0, 1.0, null]
  medium: [60, null, 2.0, null]
  large: [75, 50.0, 3.0, null]
"""


def written(folder: Path, text: str, *, name: str = "mine") -> Path:
    (folder / "accuracies").mkdir(exist_ok=True)
    (folder / "accuracies" / f"{name}.yaml").write_text(text)
    return folder


# What is shipped.


def test_the_shipped_tables_are_found_where_manifests_lie() -> None:
    folder = "data_manifests/accuracies"
    assert resource_names(folder) == [SHIPPED]
    assert resource_folder(folder) == Path(__file__).parents[1] / "data_manifests" / "accuracies"


def test_the_shipped_table_names_data_sets_that_have_a_manifest() -> None:
    table = load_accuracies(SHIPPED)
    for dataset in table.shifts:
        assert load_dataset(dataset, data=DataRoot(root=Path())).manifest.role == "shift"


def test_the_clean_accuracy_of_a_set_of_fewer_classes_is_over_its_classes() -> None:
    table = load_accuracies(SHIPPED)
    for dataset, shift in table.shifts.items():
        subset = load_dataset(dataset, data=DataRoot(root=Path())).manifest.subset
        assert shift.clean == (f"val-on-{dataset}-classes" if subset else "val")


@pytest.mark.parametrize(
    ("dataset", "n"),
    [("imagenet-sketch", 85), ("imagenet-v2-matched-frequency", 85), ("imagenet-r", 80), ("objectnet", 85)],
)
def test_every_shipped_line_can_be_fitted_and_lies_below_the_clean_accuracy(dataset: str, n: int) -> None:
    points = line_accuracies(load_accuracies(SHIPPED), dataset)
    line = fit_accuracy_line(points.clean, points.shifted)
    assert line.n == len(points.models) == n
    assert 0 < line.predict(0.76) < 0.76


def test_the_easier_draws_of_v2_have_lines_above_that_of_the_usual_one() -> None:
    table, at = load_accuracies(SHIPPED), []
    for name in ("matched-frequency", "threshold-0.7", "top-images"):
        points = line_accuracies(table, f"imagenet-v2-{name}")
        line = fit_accuracy_line(points.clean, points.shifted)
        assert line.n == 85
        at.append(line.predict(0.76))
    assert at == sorted(at)
    # The top images are those that people chose most often: no harder than the validation images.
    assert at[1] < 0.76 < at[2] < 0.8


def test_imagenet_a_has_a_reason_in_place_of_a_line() -> None:
    table = load_accuracies(SHIPPED)
    with pytest.raises(UndefinedMetricError, match="has no line for imagenet-a: its images were chosen"):
        line_accuracies(table, "imagenet-a")
    at = table.columns.index("imagenet-a")
    assert [model for model, row in table.models.items() if row[at] == 0] == ["resnet50"]


# A user's own.


def test_points_are_fractions_of_the_models_that_were_measured_on_both(tmp_path: Path) -> None:
    points = line_accuracies(load_accuracies("mine", beside=written(tmp_path, OWN)), "sketch")
    assert points == LineAccuracies(models=("small", "large"), clean=(0.5, 0.75), shifted=(0.25, 0.5))


def test_a_table_of_one_s_own_goes_first(tmp_path: Path) -> None:
    written(tmp_path, OWN.replace("name: mine", f"name: {SHIPPED}"), name=SHIPPED)
    assert load_accuracies(SHIPPED, beside=tmp_path).title == "My models"
    assert load_accuracies(SHIPPED).title != "My models"


def test_a_set_that_no_model_was_measured_on_has_no_line(tmp_path: Path) -> None:
    table = load_accuracies("mine", beside=written(tmp_path, OWN))
    with pytest.raises(UndefinedMetricError, match="no line for none; expected models measured under val"):
        line_accuracies(table, "none")
    with pytest.raises(UndefinedMetricError, match="no line for hard: chosen by a model"):
        line_accuracies(table, "hard")
    with pytest.raises(UnknownNameError, match="unknown shifted data set 'sketches'; expected one like sket"):
        line_accuracies(table, "sketches")


def test_an_unknown_table_shows_near_ones_and_what_to_do() -> None:
    with pytest.raises(
        UnknownNameError,
        match=r"unknown table of accuracies 'imagenet-testbed'; expected one like imagenet-test.*; named in",
    ):
        load_accuracies("imagenet-testbed", fix="named in a suite")


def test_a_table_under_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FileFormatError, match=r"other\.yaml: name is wrong; expected other; found mine; call"
    ):
        load_accuracies("other", beside=written(tmp_path, OWN, name="other"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[50, 25.0, 1.0, null]", "[50, 25.0, 1.0]", r"model 'small' has 3 numbers for 4 columns"),
        ("[50, 25.0, 1.0, null]", "[50, 125.0, 1.0, null]", r"models\.small\.1 is wrong"),
        ("[50, 25.0, 1.0, null]", "[50, -0.1, 1.0, null]", r"models\.small\.1 is wrong"),
        ("[50, 25.0, 1.0, null]", "[50, .nan, 1.0, null]", r"models\.small\.1 is wrong"),
        ("shifted: sketches}", "shifted: sketch}", r"shift 'sketch' is over 'sketch', which is no column"),
        ("clean: val, shifted: sketches", "clean: train, shifted: sketches", r"over 'train'"),
        ("hard-ones, unmeasured]", "val, unmeasured]", r"column 'val' is listed twice"),
        ("licence: CC0\n", "", r"licence is missing"),
        ("version: 2", "version: 2\nunit: percent", r"unit is an unknown field"),
    ],
)
def test_a_table_that_cannot_be_used_says_what_is_wrong(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in OWN
    with pytest.raises(FileFormatError, match=rf"mine\.yaml.*{message}"):
        load_accuracies("mine", beside=written(tmp_path, OWN.replace(old, new, 1)))


def test_the_accuracy_of_one_model_is_a_fraction_whether_or_not_there_is_a_line(tmp_path: Path) -> None:
    table = load_accuracies("mine", beside=written(tmp_path, OWN))
    assert reference_accuracy(table, "sketch", "large") == 0.5
    assert reference_accuracy(table, "hard", "medium") == 0.02
    assert reference_accuracy(load_accuracies(SHIPPED), "imagenet-a", "resnet50") == 0
    with pytest.raises(UndefinedMetricError, match="mine has no accuracy of medium on sketch"):
        reference_accuracy(table, "sketch", "medium")
    with pytest.raises(UnknownNameError, match="unknown model 'larg'; expected one like large"):
        reference_accuracy(table, "sketch", "larg")
    with pytest.raises(UnknownNameError, match="unknown shifted data set 'scetch'"):
        reference_accuracy(table, "scetch", "large")


# The record.


def changed(**change: object) -> str:
    table = load_accuracies(SHIPPED)
    fields = {**table.model_dump(), **change}
    return digest_of(AccuracyTable.model_validate(fields).scored_fields())


def test_what_cannot_move_a_number_is_in_no_digest() -> None:
    prose = {"title": "Another", "source": "there", "licence": "CC0", "selection": "some", "notes": "more"}
    assert changed(**prose) == changed()


def test_whatever_can_move_a_number_is_in_the_digest() -> None:
    table = load_accuracies(SHIPPED)
    models = dict(table.models)
    del models["alexnet"]
    shifts = {name: shift.model_dump() for name, shift in table.shifts.items()}
    shifts["imagenet-r"]["clean"] = "val"
    lines = {name: shift.model_dump() for name, shift in table.shifts.items()}
    lines["imagenet-r"]["no_line"] = "bent"
    for change in ({"version": 9}, {"models": models}, {"shifts": shifts}, {"shifts": lines}):
        assert changed(**change) != changed()
