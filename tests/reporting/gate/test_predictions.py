"""Records paired by their stored predictions: every kind of column, and runs of one network."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from robustbench_safety.data import DataRoot
from robustbench_safety.demo import DEMO_MODELS
from robustbench_safety.errors import FileFormatError, IncompatiblePredictionsError
from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.models import Model, load_model
from robustbench_safety.predictions import read_predictions
from robustbench_safety.records import Condition
from robustbench_safety.reporting.filing import write_record
from robustbench_safety.reporting.gate.checking import check
from robustbench_safety.reporting.gate.comparing import compare
from tests.reporting.gate.committed import column

SUITE = """\
name: every
version: 1
title: Columns of every kind
label_space: digits
seed: 0
cells:
  - {id: clean_error, dataset: digits, metric: error_rate}
  - id: c_error
    dataset: digits-c
    conditions: [contrast, impulse_noise]
    levels: [2, 4]
    metric: error_rate
  - {id: noise_error, dataset: digits-c, conditions: [impulse_noise], levels: [4], metric: error_rate}
  - {id: top2_error, dataset: digits, metric: top_k_error, options: {k: 2}}
  - {id: flip_rate, dataset: digits-p, conditions: [translate], metric: flip_rate}
  - {id: distance, dataset: digits-p, conditions: [translate], metric: top5_distance}
  - {id: clean_nll, dataset: digits, metric: negative_log_likelihood}
  - {id: clean_brier, dataset: digits, metric: brier_score}
  - {id: clean_rms, dataset: digits, metric: rms_calibration_error}
  - id: c_rms
    dataset: digits-c
    conditions: [contrast, impulse_noise]
    levels: [2, 4]
    metric: rms_calibration_error
  - {id: c_ece, dataset: digits-c, conditions: [contrast], levels: [2, 4], metric: expected_calibration_error}
  - {id: c_aurc, dataset: digits-c, conditions: [contrast], levels: [2, 4], metric: aurc}
  - {id: gaussian, dataset: gaussian-noise, metric: auroc, detector: energy, in_distribution: digits}
  - {id: blobs, dataset: blobs, metric: auroc, detector: energy, in_distribution: digits}
  - {id: gaussian_fpr, dataset: gaussian-noise, metric: fpr_at_tpr, detector: energy, in_distribution: digits}
aggregates:
  - {id: mce, of: [c_error], reduce: normalised, baseline: small-c}
  - {id: relative_mce, of: [c_error, clean_error], reduce: relative, baseline: small-c}
  - {id: both, of: [noise_error, clean_error], reduce: mean}
  - {id: drop, of: [noise_error, clean_error], reduce: difference}
  - {id: worst, of: [c_error], reduce: worst}
  - {id: anomaly, of: [gaussian, blobs], reduce: mean}
columns: [
  clean_error, c_error, top2_error, flip_rate, distance, clean_nll, clean_brier, clean_rms, c_rms,
  c_ece, c_aurc, anomaly, gaussian_fpr, mce, relative_mce, both, drop, worst
]
"""
OF_C = """\
name: small-c
version: 1
title: T
model: a network
source: made up
clean_error: 0.01
metrics:
  error_rate: {verified: true, source: made up, values: {contrast: [0.5], impulse_noise: [0.25]}}
"""
LIMIT = 120
MEANS = {
    "c_error", "flip_rate", "distance", "clean_nll", "clean_brier", "top2_error",
    "mce", "relative_mce", "both", "drop",
}  # fmt: skip
INFLUENCES = {"clean_rms", "c_rms", "c_ece", "c_aurc"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate")
    (folder / "baselines").mkdir()
    (folder / "every.yaml").write_text(SUITE)
    (folder / "baselines" / "small-c.yaml").write_text(OF_C)
    return folder


def demo_model(place: int) -> Model:
    demo = DEMO_MODELS[place]
    return load_model(demo.model, checkpoint=demo.checkpoint)


def filed(folder: Path, evaluation: Evaluation) -> Path:
    return write_record(folder / "leaderboard", evaluation.record, evaluation.companion)


def scored(
    folder: Path, model: Model, name: str, *, batch_size: int = 64, precision: str = "float32"
) -> Path:
    assert precision in ("float32", "bfloat16")
    evaluation = score(
        model, suite=folder / "every.yaml", name=name, predictions=folder / "p", limit=LIMIT, device="cpu",
        batch_size=batch_size, precision="bfloat16" if precision == "bfloat16" else "float32",
    )  # fmt: skip
    return filed(folder, evaluation)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    return scored(folder, demo_model(0), "plain")


@pytest.fixture(scope="module")
def mixed(folder: Path) -> Path:
    return scored(folder, demo_model(1), "mixed")


def test_with_predictions_every_sum_over_images_is_paired(folder: Path, plain: Path, mixed: Path) -> None:
    report = check(plain, mixed, predictions=folder / "p", suite=folder / "every.yaml")
    tests = {one.column: one.test for one in report.columns}
    expected = dict.fromkeys(MEANS, "sign-flip") | dict.fromkeys(INFLUENCES, "paired-bootstrap")
    expected |= {"clean_error": "mcnemar", "anomaly": "delong"}
    expected |= {"worst": "intervals", "gaussian_fpr": "intervals"}
    assert tests == expected
    for one in report.columns:
        assert one.paired == (one.test != "intervals")
        assert (one.reason is None) == one.paired, one.reason
        assert one.interval is not None
        assert one.drop is not None
        if one.column in MEANS or one.column == "anomaly":
            assert one.interval.low <= one.drop <= one.interval.high
    assert report.failed
    assert any("the candidate is partial: limit: 120" in note for note in report.notes)


def test_a_run_folder_itself_does_and_the_other_keeps_its_companion(
    folder: Path, plain: Path, mixed: Path
) -> None:
    (own,) = (path for path in (folder / "p").iterdir() if path.name.startswith("plain--"))
    report = check(plain, mixed, predictions=own, suite=folder / "every.yaml")
    assert column(report, "clean_error").paired
    loss = column(report, "clean_nll")
    assert not loss.paired
    assert loss.reason is not None
    assert "the companion of the baseline does not keep negative_log_likelihood" in loss.reason


def test_the_companion_and_the_predictions_agree(folder: Path, plain: Path, mixed: Path) -> None:
    by_companion = check(plain, mixed, suite=folder / "every.yaml")
    by_predictions = check(plain, mixed, predictions=folder / "p", suite=folder / "every.yaml")
    for name in ("clean_error", "c_error", "flip_rate", "mce", "relative_mce", "both", "drop"):
        one, other = column(by_companion, name), column(by_predictions, name)
        assert (one.test, one.p_value, one.n) == (other.test, other.p_value, other.n)
        assert one.interval == other.interval
    # Its confidences are float32.
    one, other = column(by_companion, "clean_rms"), column(by_predictions, "clean_rms")
    assert one.p_value == pytest.approx(other.p_value, abs=0.01)
    assert by_companion.conditions[0].n_newly_wrong == by_predictions.conditions[0].n_newly_wrong


def test_predictions_of_another_record_are_refused(folder: Path, plain: Path, mixed: Path) -> None:
    (own,) = (path for path in (folder / "p").iterdir() if path.name.startswith("plain--"))
    with pytest.raises(
        IncompatiblePredictionsError, match="holds no predictions that the candidate was made"
    ):
        check(mixed, plain, predictions=own, suite=folder / "every.yaml")
    with pytest.raises(IncompatiblePredictionsError, match="holds no predictions that the baseline was made"):
        check(plain, mixed, predictions=own, baseline_predictions=own, suite=folder / "every.yaml")
    with pytest.raises(FileFormatError, match="holds no run folder"):
        check(plain, mixed, predictions=folder / "none", suite=folder / "every.yaml")


def test_changed_predictions_are_refused(folder: Path, plain: Path, mixed: Path, tmp_path: Path) -> None:
    (own,) = (path for path in (folder / "p").iterdir() if path.name.startswith("plain--"))
    copy = tmp_path / own.name
    shutil.copytree(own, copy)
    file = copy / "digits" / "clean" / "clean-0.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(FileFormatError):
        check(plain, mixed, predictions=copy, suite=folder / "every.yaml")


def test_a_comparison_takes_predictions_too(folder: Path, plain: Path, mixed: Path) -> None:
    (found,) = compare([plain, mixed], predictions=[folder / "p"], suite=folder / "every.yaml")
    assert {one.column for one in found.columns if not one.paired} == {"worst", "gaussian_fpr"}


# ------------------------------------------------------------------------------------ runs of one network


def test_two_runs_with_other_batch_sizes_pass_without_a_flip(folder: Path, plain: Path) -> None:
    other = scored(folder, demo_model(0), "plain, one by one", batch_size=7)
    report = check(other, plain, predictions=folder / "p", suite=folder / "every.yaml")
    assert not report.failed
    assert "other batch_size: 64 (baseline), 7 (candidate)" in report.notes
    flips = sum((one.n_newly_wrong or 0) + (one.n_newly_right or 0) for one in report.conditions)
    runs = sorted(path for path in (folder / "p").iterdir() if path.name.startswith("plain"))
    allowed = sum(_within_the_gap(runs[0], runs[-1], one.condition) for one in report.conditions)
    assert flips <= allowed


def _within_the_gap(first: Path, second: Path, condition: Condition) -> int:
    """Return how many answers differ; each may only where the two best logits are within the tolerance."""
    a, b = (read_predictions(run / f"{condition.path}.parquet") for run in (first, second))
    flips = a.predicted != b.predicted
    logits = a.logits()
    best = np.sort(logits, axis=1)[:, -2:]
    assert (best[flips, 1] - best[flips, 0] <= 1e-3 * logits.std()).all()
    return int(flips.sum())


def test_half_precision_passes_within_three_tenths_of_a_point(folder: Path, plain: Path) -> None:
    half = scored(folder, demo_model(0), "plain, half", precision="bfloat16")
    columns = check(plain, plain, suite=folder / "every.yaml").columns
    allowed = {one.column: 0.3 for one in columns if one.unit == "fraction"}
    report = check(half, plain, predictions=folder / "p", suite=folder / "every.yaml", tolerances=allowed)
    assert not report.failed
    assert "other precision: float32 (baseline), bfloat16 (candidate)" in report.notes


def test_a_disturbed_last_layer_fails_in_the_columns_that_it_harms(folder: Path, plain: Path) -> None:
    # Twice the logits: the same answers in the same order, and confidences that are too high.
    sharp = demo_model(0)
    _last_layer(sharp)[0].mul_(2.0)
    _last_layer(sharp)[1].mul_(2.0)
    report = check(
        scored(folder, _renamed(sharp, "sharp"), "sharp"), plain, predictions=folder / "p",
        suite=folder / "every.yaml",
    )  # fmt: skip
    assert report.failed
    assert column(report, "c_rms").failed
    for name in ("clean_error", "c_error", "flip_rate", "mce", "both"):
        assert column(report, name).drop == 0
        assert not column(report, name).failed
    # One class pushed up: the answers themselves go wrong.
    pushed = demo_model(0)
    _last_layer(pushed)[1][3] += 12.0
    harmed = check(
        scored(folder, _renamed(pushed, "pushed"), "pushed"), plain, predictions=folder / "p",
        suite=folder / "every.yaml",
    )  # fmt: skip
    assert column(harmed, "clean_error").failed
    assert column(harmed, "c_error").failed
    worst = next(one for one in harmed.conditions if one.cell == "clean_error")
    assert worst.n_newly_wrong == round(120 * worst.drop) + (worst.n_newly_right or 0)
    assert len(worst.newly_wrong) == 5
    units = [one.unit for one in harmed.conditions]
    assert units == sorted(units, key=["fraction", "score", "nats"].index)


def _last_layer(model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    *_, layer = (one for one in model.network.modules() if isinstance(one, torch.nn.Linear))
    return layer.weight.data, layer.bias.data


def _renamed(model: Model, name: str) -> Model:
    """Return the model as another one: its weights are, so its fingerprint must be."""
    spec = model.spec.model_copy(update={"weights_digest": name.encode().hex().ljust(64, "0")})
    return dataclasses.replace(model, spec=spec)


def test_another_resize_kernel_is_not_comparable(folder: Path, plain: Path) -> None:
    model = demo_model(0)
    other = model.spec.preprocessing.model_copy(update={"interpolation": "bicubic"})
    spec = model.spec.model_copy(update={"preprocessing": other})
    candidate = scored(folder, dataclasses.replace(model, spec=spec), "bicubic")
    with pytest.raises(IncompatiblePredictionsError, match="other preprocessing"):
        check(candidate, plain, suite=folder / "every.yaml")
    report = check(candidate, plain, suite=folder / "every.yaml", allow_preprocessing_change=True)
    assert any("interpolation bicubic (candidate)" in note for note in report.notes)


def test_a_data_root_of_ones_own_is_taken(folder: Path, plain: Path, mixed: Path) -> None:
    root = DataRoot(root=folder / "nothing-there")
    report = check(plain, mixed, suite=folder / "every.yaml", data=root)
    assert column(report, "both").paired
