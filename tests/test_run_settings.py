"""How a network runs: memory, precision, compilation, and what the record says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import robustbench_safety as rbs
from robustbench_safety.engines.local import Silent
from robustbench_safety.errors import ModelError
from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.models import Model
from robustbench_safety.models.digits import build_network
from robustbench_safety.predictions import Predictions, read_header, read_predictions
from tests.golden.tiny import build

SUITE = "digits"
CLEAN = "digits/clean/clean-0"


class Small(nn.Module):
    """The tiny network with memory for a few images at a time."""

    label_space = "digits"

    def __init__(self, most: int) -> None:
        super().__init__()
        self.network, self.most = build(), most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        logits: torch.Tensor = self.network(images)
        return logits


def five_at_a_time() -> nn.Module:
    return Small(5)


def none_at_a_time() -> nn.Module:
    return Small(0)


class Listening(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def run(model: str | Path | Model, folder: Path, **options: object) -> Evaluation:
    settings: dict[str, object] = {
        "suite": SUITE, "predictions": folder, "limit": 20, "batch_size": 16, "device": "cpu"}  # fmt: skip
    return score(model, **(settings | options))  # type: ignore[arg-type]  # the tests vary any of them


def stored(evaluation: Evaluation, condition: str = CLEAN) -> Predictions:
    return read_predictions(evaluation.run_folder / f"{condition}.parquet")


def digits_file(folder: Path, seed: int = 0, extra: str = "") -> Path:
    save_file(build_network(seed).state_dict(), folder / f"{seed}.safetensors")
    path = folder / f"{seed}.yaml"
    path.write_text(f"model: digits:cnn\ncheckpoint: {seed}.safetensors\n{extra}")
    return path


def test_out_of_memory_halves_the_batch_says_so_and_the_record_keeps_it(tmp_path: Path) -> None:
    listening = Listening()
    everything = {"suite": "digits-safety"}
    five = "python:tests.test_run_settings:five_at_a_time"
    small = run(five, tmp_path / "small", progress=listening, **everything)
    assert listening.said == [
        "out of memory with 16 images at a time: going on with 8",
        "out of memory with 8 images at a time: going on with 4",
    ]
    record = small.record
    assert set(record.reduced_batches.values()) == {4}
    assert set(record.reduced_batches) == set(record.prediction_digests)
    assert read_header(small.run_folder / f"{CLEAN}.parquet").reduced_batch == 4
    roomy = run("python:tests.golden.tiny:build", tmp_path / "roomy", **everything).record
    assert roomy.reduced_batches == {}
    assert {name: one.value for name, one in record.scores.items()} == {
        name: one.value for name, one in roomy.scores.items()
    }


def test_a_network_with_no_room_for_one_image_stops_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be run on one float32 image.*out of memory"):
        run("python:tests.test_run_settings:none_at_a_time", tmp_path)
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_precision_in_the_model_file_is_used_unless_the_caller_names_another(tmp_path: Path) -> None:
    path = digits_file(tmp_path, extra="precision: bfloat16\n")
    by_file = run(path, tmp_path / "runs")
    assert by_file.record.environment.precision == "bfloat16"
    by_caller = run(path, tmp_path / "runs", precision="float32")
    assert by_caller.record.environment.precision == "float32"
    assert by_caller.run_folder != by_file.run_folder
    assert not np.array_equal(stored(by_file).logits(), stored(by_caller).logits())


def test_tf32_is_off_unless_asked_for_and_then_recorded(tmp_path: Path) -> None:
    path = digits_file(tmp_path)
    plain = run(path, tmp_path / "runs")
    assert not plain.record.environment.tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    faster = run(path, tmp_path / "runs", tf32=True)
    assert faster.record.environment.tf32
    assert torch.backends.cuda.matmul.allow_tf32
    assert faster.run_folder != plain.run_folder
    run(path, tmp_path / "runs")
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler, in its own code
def test_a_compiled_network_gives_the_same_top_one_and_the_record_says_so(tmp_path: Path) -> None:
    path = digits_file(tmp_path)
    plain, compiled = run(path, tmp_path / "a"), run(path, tmp_path / "b", compiled=True)
    assert compiled.record.environment.compiled
    assert not plain.record.environment.compiled
    one, two = stored(plain), stored(compiled)
    np.testing.assert_allclose(one.logits(), two.logits(), atol=1e-4)
    assert np.array_equal(one.predicted, two.predicted)


def test_an_ensembles_mutual_information_is_stored_with_every_row(tmp_path: Path) -> None:
    first, second = digits_file(tmp_path, 0), digits_file(tmp_path, 1)
    evaluation = run(f"ensemble:{first},{second}", tmp_path / "runs", suite="digits-safety")
    for condition in evaluation.record.prediction_digests:
        rows = stored(evaluation, condition)
        information = rows.values["mutual_information"]
        assert information.shape == rows.labels.shape
        assert information.min() >= 0
        assert information.max() <= np.log(2) + 1e-6
        assert information.std() > 0
    again = rbs.rescore(evaluation.run_folder, suite="digits-safety").record
    assert again.scores == evaluation.record.scores
    assert again.model.members == evaluation.record.model.members
    (alone,) = {len(stored(run(first, tmp_path / "runs")).values)}
    assert alone == 1


def test_a_row_that_was_trained_on_a_shift_it_is_tested_on_is_marked(tmp_path: Path) -> None:
    path = digits_file(tmp_path, extra="trained_on: [digits, digits-c, elsewhere]\n")
    record = run(path, tmp_path / "runs", suite="digits-c").record
    assert record.model.trained_on == ("digits", "digits-c", "elsewhere")
    assert record.trained_on_tested == ("digits-c",)
    unmarked = run(digits_file(tmp_path), tmp_path / "runs", suite="digits-c").record
    assert unmarked.trained_on_tested == ()
