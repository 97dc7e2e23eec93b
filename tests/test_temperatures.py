"""Temperatures that suites ask for: fitted on other images, a row of their own, null without logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robustbench_safety import metrics
from robustbench_safety.data import DataRoot
from robustbench_safety.errors import FileFormatError
from robustbench_safety.evaluation import Evaluation, rescore, score
from robustbench_safety.predictions import Predictions, read_predictions
from robustbench_safety.records import Cell
from robustbench_safety.scoring import needed_conditions
from robustbench_safety.suites import load_suite, suite_digest, tune_dataset

NOWHERE = DataRoot(root=Path("nowhere"))

TUNE = """\
name: digits-tune
version: 1
title: Digits, tune part
role: tune
layout: {type: builtin, generator: digits, split: tune}
conditions: [{kind: clean, names: [clean], levels: [0]}]
label_space: digits
samples: 150
image_size: [32, 32]
licence: own
citation: own
"""

SUITE = """\
name: scaled
version: 1
title: T
label_space: digits
seed: 0
cells:
  - {id: nll, dataset: digits, metric: negative_log_likelihood}
  - {id: nll_tuned, dataset: digits, metric: negative_log_likelihood, temperature: digits-tune}
  - {id: nll_crossed, dataset: digits, metric: negative_log_likelihood, temperature: cross_fit}
  - {id: c_nll, dataset: digits-c, conditions: [contrast], levels: [1], metric: negative_log_likelihood}
  - id: c_nll_crossed
    dataset: digits-c
    conditions: [contrast]
    levels: [1]
    metric: negative_log_likelihood
    temperature: cross_fit
columns: [nll, nll_tuned, nll_crossed, c_nll, c_nll_crossed]
"""


def put_suite(folder: Path) -> Path:
    (folder / "digits-tune.yaml").write_text(TUNE)
    (folder / "scaled.yaml").write_text(SUITE)
    return folder / "scaled.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scaled")


@pytest.fixture(scope="module")
def scaled(folder: Path) -> Evaluation:
    return score(
        "python:tests.golden.tiny:build", suite=put_suite(folder), predictions=folder / "p", batch_size=64,
        device="cpu")  # fmt: skip


def stored(evaluation: Evaluation, path: str) -> Predictions:
    return read_predictions(evaluation.run_folder / f"{path}.parquet")


def nll_at(predictions: Predictions, temperatures: np.ndarray | float) -> float:
    each = np.broadcast_to(np.asarray(temperatures, dtype=np.float64), len(predictions.labels))
    return metrics.negative_log_likelihood(predictions.logits() / each[:, None], predictions.labels)


def test_a_temperature_fitted_on_a_tune_set_divides_the_logits(scaled: Evaluation) -> None:
    tune, test = stored(scaled, "digits-tune/clean/clean-0"), stored(scaled, "digits/clean/clean-0")
    fitted = metrics.fit_temperature(tune.logits(), tune.labels)
    record = scaled.record
    assert record.temperatures["nll_tuned"] == pytest.approx((fitted,), abs=1e-9)
    assert record.scores["nll_tuned"].value == pytest.approx(nll_at(test, fitted), abs=1e-6)
    # The row without a temperature stands beside it, as it was.
    assert record.scores["nll"].value == pytest.approx(nll_at(test, 1.0), abs=1e-9)
    assert record.scores["nll"].value != record.scores["nll_tuned"].value
    assert record.status == "complete"


def test_crossed_temperatures_are_those_of_the_metric_each_image_by_the_half_it_is_not_in(
    scaled: Evaluation,
) -> None:
    test = stored(scaled, "digits/clean/clean-0")
    halved = metrics.cross_fit_temperatures(test.logits(), test.labels, test.sample_ids)
    record = scaled.record
    assert record.temperatures["nll_crossed"] == pytest.approx((halved.odd, halved.even), abs=1e-9)
    expected = nll_at(test, np.array(halved.of_each))
    assert record.scores["nll_crossed"].value == pytest.approx(expected, abs=1e-6)
    assert expected < nll_at(test, 1.0)


def test_corrupted_images_are_divided_by_what_clean_ones_of_the_other_half_gave(scaled: Evaluation) -> None:
    clean, shown = stored(scaled, "digits/clean/clean-0"), stored(scaled, "digits-c/corruption/contrast-1")
    assert clean.sample_ids == shown.sample_ids
    halved = metrics.cross_fit_temperatures(clean.logits(), clean.labels, clean.sample_ids)
    record = scaled.record
    assert record.temperatures["c_nll_crossed"] == record.temperatures["nll_crossed"]
    expected = nll_at(shown, np.array(halved.of_each))
    assert record.scores["c_nll_crossed"].value == pytest.approx(expected, abs=1e-6)


def test_cells_without_a_temperature_have_none_in_the_record(scaled: Evaluation) -> None:
    assert set(scaled.record.temperatures) == {"nll_tuned", "nll_crossed", "c_nll_crossed"}


def test_a_tune_set_is_needed_and_in_the_digest(folder: Path) -> None:
    path = put_suite(folder)
    root = DataRoot(root=folder, beside=folder)
    suite = load_suite(path, data=root)
    paths = [condition.path for condition in needed_conditions(suite, root)]
    assert paths == ["digits/clean/clean-0", "digits-tune/clean/clean-0", "digits-c/corruption/contrast-1"]
    digest = suite_digest(suite, root)
    (folder / "digits-tune.yaml").write_text(TUNE.replace("version: 1", "version: 2"))
    assert suite_digest(suite, root) != digest
    put_suite(folder)


def test_without_predictions_on_the_tune_set_its_cells_are_null_with_the_reason(
    scaled: Evaluation, folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for path in scaled.run_folder.rglob("*"):
        if path.is_file() and "digits-tune" not in path.parts:
            copy = run / path.relative_to(scaled.run_folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    record = rescore(run, suite=put_suite(folder)).record
    assert record.scores["nll_tuned"].reason == "no predictions on digits-tune/clean/clean-0"
    assert record.scores["nll_crossed"].value == scaled.record.scores["nll_crossed"].value
    assert record.partial_because == ("nll_tuned: no predictions on digits-tune/clean/clean-0",)


def test_a_summary_of_the_logits_has_no_temperature_and_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "robustbench_safety.preparing.stored_columns",
            lambda condition, _: "logits" if condition.kind == "clean" else "summary",
        )
        suite = load_suite(put_suite(folder), data=DataRoot(root=folder, beside=folder))
        cells = tuple(
            cell.model_copy(update={"metric": "rms_calibration_error", "options": {"bin_size": 5}})
            for cell in suite.cells
            if cell.id in ("c_nll", "c_nll_crossed")
        )
        small = suite.model_copy(update={"cells": cells, "columns": ("c_nll",)})
        record = score(
            "python:tests.golden.tiny:build", suite=small, predictions=tmp_path, limit=60, batch_size=32,
            device="cpu").record  # fmt: skip
    assert record.scores["c_nll"].value is not None
    reason = record.scores["c_nll_crossed"].reason
    assert reason is not None
    assert "temperature scaling needs every logit; expected logits; found summary of digits-c" in reason


@pytest.mark.parametrize(
    ("dataset", "temperature", "expected"),
    [
        ("digits", None, None),
        ("digits", "cross_fit", "digits"),
        ("digits-c", "cross_fit", "digits"),
        ("cifar-100-c", "cross_fit", "cifar-100"),
        ("imagenet-r", "cross_fit", "imagenet-1k"),
        ("cifar-10.1-v6", "cifar-100", "cifar-100"),
    ],
)
def test_a_temperature_is_fitted_on_clean_images(
    dataset: str, temperature: str | None, expected: str | None
) -> None:
    cell = Cell(id="rms", dataset=dataset, metric="rms_calibration_error", temperature=temperature)
    assert tune_dataset(cell, NOWHERE) == expected


@pytest.mark.parametrize("dataset", ["digits", "digits-c"])
def test_a_temperature_is_not_fitted_on_the_images_that_are_measured(dataset: str) -> None:
    cell = Cell(id="rms", dataset=dataset, metric="rms_calibration_error", temperature="digits")
    with pytest.raises(FileFormatError, match=r"cell rms: temperature digits; .*other images.*or cross_fit"):
        tune_dataset(cell, NOWHERE)
