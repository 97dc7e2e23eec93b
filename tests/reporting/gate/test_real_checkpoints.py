"""The gate on ResNet-20 and CIFAR-10: the same weights in other ways, and weights that were harmed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robustbench_safety.errors import IncompatiblePredictionsError
from robustbench_safety.evaluation import score
from robustbench_safety.models import Model, load_model
from robustbench_safety.predictions import read_predictions
from robustbench_safety.reporting.filing import write_record
from robustbench_safety.reporting.gate.checking import check
from tests.reporting.gate.committed import column

pytestmark = pytest.mark.realdata

SUITE, LIMIT, BATCH = "cifar10-clean", 500, 64
CLEAN = "cifar-10/clean/clean-0.parquet"
FRACTIONS = ["clean_error", "rms", "ece", "aurc", "error_auroc"]
Score = Callable[..., Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def resnet(shared: Path) -> Callable[[], Model]:
    weights = shared / "data" / "checkpoints" / "resnet20-12fca82f.th"
    return lambda: load_model("cifar:resnet20", checkpoint=weights, label_space="cifar-10")


@pytest.fixture(scope="module")
def scored(folder: Path, real_data: Path) -> Score:
    def run(model: Model | Path, name: str, **options: Any) -> Path:
        evaluation = score(
            model, suite=SUITE, name=name, data=real_data, predictions=folder / "p", limit=LIMIT,
            device="cpu", **{"batch_size": BATCH, **options},
        )  # fmt: skip
        return write_record(folder / "leaderboard", evaluation.record, evaluation.companion)

    return run


@pytest.fixture(scope="module")
def baseline(scored: Score, resnet: Callable[[], Model]) -> Path:
    return scored(resnet(), "as it is")


def test_another_batch_size_flips_no_answer_beyond_the_gap(
    folder: Path, scored: Score, resnet: Callable[[], Model], baseline: Path
) -> None:
    other = scored(resnet(), "by 33", batch_size=33)
    report = check(other, baseline, predictions=folder / "p")
    assert not report.failed
    assert {one.test for one in report.columns} == {"mcnemar", "sign-flip", "paired-bootstrap"}
    a, b = (read_predictions(next((folder / "p").glob(f"{run}--*")) / CLEAN) for run in ("as-it-is", "by-33"))
    logits = a.logits()
    gap = np.diff(np.sort(logits, axis=1)[:, -2:], axis=1)[:, 0]
    assert not ((a.predicted != b.predicted) & (gap > 1e-3 * logits.std())).any()


def test_half_precision_passes_at_a_tolerance_of_three_tenths(
    folder: Path, scored: Score, resnet: Callable[[], Model], baseline: Path
) -> None:
    half = scored(resnet(), "half", precision="bfloat16")
    allowed = dict.fromkeys(FRACTIONS, 0.3)
    report = check(half, baseline, predictions=folder / "p", tolerances=allowed)
    assert not report.failed
    assert "other precision: float32 (baseline), bfloat16 (candidate)" in report.notes


def harmed(model: Model, name: str, harm: Callable[[torch.nn.Linear], None]) -> Model:
    """Return the model with its last layer changed, and with a fingerprint of its own."""
    *_, layer = (one for one in model.network.modules() if isinstance(one, torch.nn.Linear))
    with torch.no_grad():
        harm(layer)
    spec = model.spec.model_copy(update={"weights_digest": name.encode().hex().ljust(64, "0")})
    return dataclasses.replace(model, spec=spec)


def test_a_last_layer_that_is_too_sure_fails_in_calibration_alone(
    folder: Path, scored: Score, resnet: Callable[[], Model], baseline: Path
) -> None:
    def sharpen(layer: torch.nn.Linear) -> None:
        layer.weight.mul_(3)
        layer.bias.mul_(3)

    report = check(scored(harmed(resnet(), "sure", sharpen), "sure"), baseline, predictions=folder / "p")
    assert report.failed
    assert column(report, "clean_error").drop == 0
    assert not column(report, "clean_error").failed
    assert {"ece", "nll"} <= {one.column for one in report.columns if one.failed}


def test_a_last_layer_that_was_disturbed_fails_in_the_error(
    folder: Path, scored: Score, resnet: Callable[[], Model], baseline: Path
) -> None:
    def disturb(layer: torch.nn.Linear) -> None:
        noise = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
        layer.weight.add_(float(layer.weight.std()) * noise)

    report = check(
        scored(harmed(resnet(), "noise", disturb), "noise"), baseline, predictions=folder / "p",
        tolerances={"clean_error": 1.0},
    )  # fmt: skip
    error = column(report, "clean_error")
    assert error.failed
    assert error.test == "mcnemar"
    (shown,) = (one for one in report.conditions if one.cell == "clean_error")
    assert shown.n_newly_wrong is not None
    assert shown.n_newly_right is not None
    assert shown.n_newly_wrong - shown.n_newly_right == round(LIMIT * (error.drop or 0))
    before, after = (
        read_predictions(next((folder / "p").glob(f"{run}--*")) / CLEAN) for run in ("as-it-is", "noise")
    )
    wrong = (before.correct == 1) & (after.correct == 0)
    assert shown.newly_wrong == tuple(np.array(before.sample_ids)[wrong][:5].tolist())


def test_another_resize_kernel_is_not_comparable(shared: Path, folder: Path, scored: Score) -> None:
    weights = shared / "data" / "checkpoints" / "resnet20-12fca82f.th"
    records = {}
    for kernel in ("bilinear", "bicubic"):
        file = folder / f"{kernel}.yaml"
        file.write_text(
            f"model: cifar:resnet20\ncheckpoint: {weights}\nlabel_space: cifar-10\n"
            f"preprocessing: {{input_size: [32, 32], resize: 36, crop: center, interpolation: {kernel}, "
            "mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}\n"
        )
        records[kernel] = scored(file, kernel)
    with pytest.raises(IncompatiblePredictionsError, match="other preprocessing"):
        check(records["bicubic"], records["bilinear"])
    report = check(records["bicubic"], records["bilinear"], allow_preprocessing_change=True)
    assert any("interpolation bicubic (candidate)" in note for note in report.notes)
