"""The whole way: resumption, interruption, limits, and what is refused before the first forward pass."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_safety as rbs
from robustbench_safety.engines.local import Silent
from robustbench_safety.errors import (
    DataError,
    IncompatiblePredictionsError,
    IncompleteError,
    ModelError,
    UsageError,
)
from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.files import digest_of
from robustbench_safety.jobs import stored_columns
from robustbench_safety.predictions import read_header
from robustbench_safety.records import Condition, ConditionKind, ScoreRecord, Suite
from robustbench_safety.startup import CHECKED
from robustbench_safety.suites import load_suite
from tests.golden.make import SUITE

TINY = "python:tests.golden.tiny:build"
LIMIT = 30


def score_tiny(folder: Path, **options: object) -> Evaluation:
    settings: dict[str, object] = {
        "suite": SUITE, "predictions": folder, "limit": LIMIT, "batch_size": 16, "device": "cpu"}  # fmt: skip
    return score(TINY, **(settings | options))  # type: ignore[arg-type]  # the tests vary any of them


def digest(record: ScoreRecord) -> str:
    return digest_of(record.digested_fields())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return score_tiny(tmp_path_factory.mktemp("undisturbed"))


class StopAt(Silent):
    """Stands for a user who presses Ctrl-C in the middle of a condition."""

    def __init__(self, kind: str) -> None:
        self._kind, self._here = kind, False

    def condition(self, name: str) -> None:
        self._here = f"/{self._kind}/" in name

    def advance(self, images: int) -> None:
        if self._here:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kind", ["clean", "corruption", "sequence", "attack"])
def test_after_ctrl_c_the_same_call_goes_on_to_the_same_record(
    tmp_path: Path, undisturbed: Evaluation, kind: str
) -> None:
    with pytest.raises(IncompleteError, match=f"interrupted during .*/{kind}/.*the same command"):
        score_tiny(tmp_path, progress=StopAt(kind))
    assert not list(tmp_path.rglob("*.part"))
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    again = score_tiny(tmp_path)
    assert digest(again.record) == digest(undisturbed.record)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not list(tmp_path.rglob("*.chunks"))


def test_after_kill_minus_nine_the_same_command_goes_on_to_the_same_record(
    tmp_path: Path, undisturbed: Evaluation
) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom tests.test_evaluation import score_tiny, Silent\n"
        "class Slow(Silent):\n    def advance(self, images):\n        time.sleep(0.3)\n"
        "score_tiny(Path(sys.argv[1]), progress=Slow())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parent.parent)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(tmp_path.rglob("*.parquet"))) < 4:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    n_finished = len(list(tmp_path.rglob("*.parquet")))
    assert 4 <= n_finished < len(undisturbed.record.data_digests)
    assert digest(score_tiny(tmp_path).record) == digest(undisturbed.record)
    assert not list(tmp_path.rglob("*.part"))


def test_finished_batches_of_an_attack_are_not_done_again(tmp_path: Path, undisturbed: Evaluation) -> None:
    with pytest.raises(IncompleteError):
        score_tiny(tmp_path, progress=StopAt("attack"))
    (chunks,) = tmp_path.rglob("*.chunks")
    (first,) = chunks.iterdir()
    with np.load(first) as content:
        fields = {name: content[name] for name in content.files}
    fields["logits"] = fields["logits"] + 1  # leaves the classes alone; tells whether the batch was read back
    np.savez(first, allow_pickle=False, **fields)
    again = score_tiny(tmp_path)
    (path,) = (path for path in again.record.prediction_digests if "/attack/" in path)
    assert again.record.prediction_digests[path] != undisturbed.record.prediction_digests[path]
    assert again.record.scores["pgd_error"] == undisturbed.record.scores["pgd_error"]


def test_a_damaged_batch_of_an_attack_is_done_again(tmp_path: Path, undisturbed: Evaluation) -> None:
    with pytest.raises(IncompleteError):
        score_tiny(tmp_path, progress=StopAt("attack"))
    (chunks,) = tmp_path.rglob("*.chunks")
    (first,) = chunks.iterdir()
    first.write_bytes(first.read_bytes()[:100])
    assert digest(score_tiny(tmp_path).record) == digest(undisturbed.record)


def test_every_image_is_predicted_once_whatever_the_batch_size(
    tmp_path: Path, undisturbed: Evaluation
) -> None:
    found = score_tiny(tmp_path, batch_size=7, workers=3).record
    assert found.forward_passes == undisturbed.record.forward_passes
    assert found.data_digests == undisturbed.record.data_digests
    for name, value in undisturbed.record.scores.items():
        assert found.scores[name].value == pytest.approx(value.value, abs=1e-6), name


def test_forward_passes_are_counted(undisturbed: Evaluation) -> None:
    # Clean, two corruptions at five severities, two noise sets: 13 conditions of 30 images; a sequence of 16
    # frames; an attack of 3 steps and a prediction, and its look at a large eps, of 10 steps and one.
    assert undisturbed.record.forward_passes == LIMIT * (13 + 16 + 4 + 11)


def test_what_so_few_images_cannot_give_is_null_with_the_reason(undisturbed: Evaluation) -> None:
    scores = undisturbed.record.scores
    assert [name for name in scores if scores[name].value is None] == ["rms", "rms_hendrycks", "c_rms"]
    assert scores["c_rms"].interval is None
    assert "too few images to bin; expected at least 100; found 30" in str(scores["c_rms"].reason)


def test_the_network_sees_each_image_as_often_as_the_record_says(tmp_path: Path) -> None:
    model = rbs.load_model(TINY)
    seen = 0

    def count(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal seen
        seen += len(inputs[0])

    model.network.register_forward_pre_hook(count)
    settings = {"suite": SUITE, "predictions": tmp_path, "limit": LIMIT, "batch_size": 16, "device": "cpu"}
    evaluation = score(model, **settings)  # type: ignore[arg-type]  # a dict of mixed values
    # The check at the start shows the first images twice, and the first of them alone.
    checked = 2 * CHECKED + 1
    assert seen == checked + evaluation.record.forward_passes


def test_many_cells_on_the_same_conditions_cost_no_second_pass(tmp_path: Path) -> None:
    cells: list[dict[str, object]] = []
    for name, conditions in (("all", ("contrast", "shot_noise")), ("noise", ("shot_noise",))):
        cells += [
            {"id": f"{name}_{metric}", "dataset": "digits-c", "conditions": conditions, "metric": metric,
             "options": {"bin_size": 5} if "rms" in metric else {}}
            for metric in ("error_rate", "rms_calibration_error", "negative_log_likelihood")
        ]  # fmt: skip
    cells += [
        {"id": f"clean_{metric}", "dataset": "digits", "metric": metric}
        for metric in ("error_rate", "brier_score")
    ]
    cells += [{"id": "scaled", "dataset": "digits", "metric": "brier_score", "temperature": "cross_fit"}]
    cells += [
        {"id": f"{detector}_{metric}", "dataset": "blobs", "metric": metric,
         "detector": detector, "in_distribution": "digits"}
        for detector in ("msp", "energy", "maxlogit") for metric in ("auroc", "aupr_out")
    ]  # fmt: skip
    cells += [
        {"id": metric, "dataset": "digits-p", "conditions": ("translate",), "metric": metric}
        for metric in ("flip_rate", "top5_distance")
    ]
    suite = Suite.model_validate(
        {"name": "many", "version": 1, "title": "T", "label_space": "digits", "seed": 0,
         "cells": tuple(cells), "columns": ("all_error_rate",)})  # fmt: skip
    model = rbs.load_model(TINY)
    seen = 0

    def count(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal seen
        seen += len(inputs[0])

    model.network.register_forward_pre_hook(count)
    settings = {"suite": suite, "predictions": tmp_path, "limit": LIMIT, "batch_size": 16, "device": "cpu"}
    record = score(model, **settings).record  # type: ignore[arg-type]  # a dict of mixed values
    # Clean, blobs and two corruptions at five severities: 12 conditions of 30 images; a clip has 16 frames.
    assert record.forward_passes == LIMIT * (12 + 16)
    assert seen == 2 * CHECKED + 1 + record.forward_passes
    assert all(score.value is not None for score in record.scores.values())
    assert [len(record.conditions[name]) for name in ("all_error_rate", "noise_error_rate")] == [10, 5]


def test_rescoring_gives_the_same_record_without_the_model(undisturbed: Evaluation) -> None:
    found = rbs.rescore(undisturbed.run_folder, suite=SUITE).record
    assert json.loads(found.model_dump_json()) == json.loads(undisturbed.record.model_dump_json())


def test_the_automatic_batch_size_is_kept_in_the_run_folder(tmp_path: Path) -> None:
    first = score_tiny(tmp_path, batch_size=None)
    size = json.loads((first.run_folder / "run.json").read_text())["environment"]["batch_size"]
    assert size == first.record.environment.batch_size
    assert score_tiny(tmp_path, batch_size=None).record.environment.batch_size == size
    other = size * 2
    with pytest.raises(
        IncompatiblePredictionsError, match=f"environment.batch_size; expected {other}; found {size}"
    ):
        score_tiny(tmp_path, batch_size=other)


def test_a_limit_makes_the_row_partial_and_keeps_out_of_the_way_of_the_whole_run(
    tmp_path: Path, undisturbed: Evaluation
) -> None:
    record = undisturbed.record
    assert (record.status, record.kind, record.limit) == ("partial", "partial", LIMIT)
    assert record.partial_because[-1] == f"limit: {LIMIT} source images of each dataset"
    assert score_tiny(tmp_path, limit=31).run_folder != score_tiny(tmp_path, limit=30).run_folder


def test_another_seed_makes_the_row_partial_and_moves_what_is_drawn_alone(
    tmp_path: Path, undisturbed: Evaluation
) -> None:
    record = score_tiny(tmp_path, seed=1).record
    assert record.partial_because[-1] == "seed: 1, the suite's is 0"
    moved = {
        path.split("/")[1]
        for path, value in record.data_digests.items()
        if undisturbed.record.data_digests.get(path) != value
    }
    assert moved == {"corruption", "sequence", "attack"}


def test_a_model_of_another_label_space_is_refused_before_any_data_are_read(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"label space of suite cifar10-clean.*expected cifar-10; found digits"
    ):
        score(TINY, suite="cifar10-clean", data=tmp_path, predictions=tmp_path)


@pytest.mark.parametrize("option", ["batch_size", "limit", "workers"])
def test_a_count_of_zero_is_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(
        UsageError, match=rf"--{option.replace('_', '-')}; expected a whole number, at least 1; found 0"
    ):
        score_tiny(tmp_path, **{option: 0})


def nan_on_white(brightest: float = 0.3) -> nn.Module:
    """A network whose logits are not finite where an image is bright: some of the first are."""

    class Network(nn.Module):
        label_space = "digits"

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            means = images.mean(dim=(1, 2, 3))
            logits = means[:, None] * torch.arange(10.0)
            return torch.where(means[:, None] > brightest, torch.nan, logits)

    return Network()


def nan_on_the_brightest() -> nn.Module:
    """The same, for images that come later."""
    return nan_on_white(0.38)


def test_logits_that_are_not_finite_are_found_before_the_run_or_stop_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"not finite on digits/clean/clean-0.* of a batch: \d{5}"):
        score(
            "python:tests.test_evaluation:nan_on_the_brightest", suite="digits-safety", predictions=tmp_path
        )
    with pytest.raises(ModelError, match=r"not finite; .* for \d+ of the first 16 images: \d{5}"):
        score(
            "python:tests.test_evaluation:nan_on_white",
            suite="digits-safety",
            predictions=tmp_path,
            batch_size=64,
        )
    assert not list(tmp_path.rglob("*.parquet"))
    assert not list(tmp_path.rglob("*.part"))


def write_stack(folder: Path, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    np.save(folder / name / "images.npy", images)
    np.save(folder / name / "labels.npy", labels)


@pytest.fixture
def own_suite(tmp_path: Path) -> Path:
    """A suite of one's own on two npy stacks, with manifests beside it."""
    draws = np.random.default_rng(0)
    for name in ("first", "second"):
        (tmp_path / f"{name}.yaml").write_text(
            f"name: {name}\nversion: 1\ntitle: T\nrole: clean\n"
            "layout: {type: npy, images: images.npy, labels: labels.npy}\n"
            f"folder: {name}\nconditions: [{{kind: clean, names: [clean], levels: [0]}}]\n"
            "label_space: digits\nsamples: 120\nimage_size: [32, 32]\nlicence: own\ncitation: own\n"
        )
        images = draws.integers(0, 256, size=(120, 32, 32, 3), dtype=np.uint8)
        write_stack(tmp_path / "data", name, images, draws.integers(0, 10, size=120))
    suite = tmp_path / "own.yaml"
    suite.write_text(
        "name: own\nversion: 1\ntitle: T\nlabel_space: digits\nseed: 0\ncells:\n"
        "  - {id: first_error, dataset: first, metric: error_rate}\n"
        "  - {id: second_error, dataset: second, metric: error_rate}\n"
        "aggregates: [{id: mean_error, of: [first_error, second_error], reduce: mean}]\n"
        "columns: [first_error, second_error, mean_error]\n"
    )
    return suite


def test_a_suite_and_data_of_ones_own_need_no_code(own_suite: Path, tmp_path: Path) -> None:
    record = score(
        TINY, suite=own_suite, data=tmp_path / "data", predictions=tmp_path / "p", batch_size=32
    ).record
    scores = record.scores
    assert record.status == "complete"
    first, second = scores["first_error"].value, scores["second_error"].value
    assert first is not None
    assert second is not None
    assert scores["mean_error"].value == pytest.approx((first + second) / 2)


def test_missing_data_are_an_error_or_with_skip_missing_a_null_with_its_reason(
    own_suite: Path, tmp_path: Path
) -> None:
    (tmp_path / "data" / "second" / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"dataset second is not in .*second; expected labels.npy"):
        score(TINY, suite=own_suite, data=tmp_path / "data", predictions=tmp_path / "p", batch_size=32)
    assert not (tmp_path / "p").exists()
    evaluation = score(
        TINY,
        suite=own_suite,
        data=tmp_path / "data",
        predictions=tmp_path / "p",
        batch_size=32,
        skip_missing=True,
    )
    scores = evaluation.record.scores
    assert scores["first_error"].value is not None
    assert scores["second_error"].value is None
    assert scores["second_error"].reason == "no predictions on second/clean/clean-0"
    assert scores["mean_error"].value is None
    assert evaluation.record.kind == "partial"
    assert len(evaluation.skipped) == 1


def test_predictions_of_data_that_have_changed_since_are_refused(own_suite: Path, tmp_path: Path) -> None:
    settings = {
        "suite": own_suite,
        "data": tmp_path / "data",
        "predictions": tmp_path / "p",
        "batch_size": 32,
    }
    first = score(TINY, **settings).record  # type: ignore[arg-type]  # a dict of mixed values
    path = tmp_path / "data" / "first" / "images.npy"
    later = path.stat().st_mtime + 10
    os.utime(path, (later, later))  # looks changed, is the same
    assert digest(score(TINY, **settings).record) == digest(first)  # type: ignore[arg-type]
    images = np.load(path)
    images[0] = 255 - images[0]
    np.save(path, images)
    with pytest.raises(IncompatiblePredictionsError, match="made from other data than those at hand"):
        score(TINY, **settings)  # type: ignore[arg-type]


def test_a_file_from_another_run_is_not_scored(tmp_path: Path) -> None:
    first, second = score_tiny(tmp_path / "a"), score_tiny(tmp_path / "b", seed=1)
    name = "digits/clean/clean-0.parquet"
    (first.run_folder / name).write_bytes((second.run_folder / name).read_bytes())
    with pytest.raises(IncompatiblePredictionsError, match="belongs to another run"):
        rbs.rescore(first.run_folder, suite=SUITE)


def test_predictions_lie_where_the_condition_says(undisturbed: Evaluation) -> None:
    for path in undisturbed.record.data_digests:
        header = read_header(undisturbed.run_folder / f"{path}.parquet")
        assert header.condition.path == path
        assert header.limit == LIMIT


def test_predict_returns_what_it_has_stored(tmp_path: Path) -> None:
    found = rbs.predict(TINY, "digits", predictions=tmp_path, batch_size=64, device="cpu")
    assert found.logits().shape == (850, 10)
    assert float(found.correct.mean()) > 0.8


@pytest.mark.parametrize(
    ("kind", "n_classes", "columns"),
    [("clean", 1000, "logits"), ("corruption", 20, "logits"), ("corruption", 21, "summary"),
     ("sequence", 1000, "summary"), ("attack", 1000, "logits")],
)  # fmt: skip
def test_logits_are_kept_but_for_many_rows_of_many_classes(
    kind: ConditionKind, n_classes: int, columns: str
) -> None:
    assert stored_columns(Condition(dataset="d", kind=kind, name="n", level=0), n_classes) == columns


def test_a_summary_gives_the_same_error_calibration_and_flips(tmp_path: Path) -> None:
    model = rbs.load_model(TINY)
    scored = []
    for columns in ("logits", "summary"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("robustbench_safety.preparing.stored_columns", lambda *_, kept=columns: kept)
            suite = load_suite(SUITE)
            cells = tuple(
                cell.model_copy(update={"options": {"bin_size": 5} if "rms" in cell.metric else {}})
                for cell in suite.cells
                if cell.id in ("c_error", "c_rms", "flip_rate")
            )
            small = suite.model_copy(
                update={"cells": cells, "aggregates": (), "columns": ("c_error",), "beside": ()}
            )
            evaluation = score(
                model, suite=small, predictions=tmp_path / columns, limit=LIMIT, batch_size=16, device="cpu"
            )
        scored.append({name: value.value for name, value in evaluation.record.scores.items()})
    assert scored[0] == pytest.approx(scored[1], abs=1e-6)
