"""Real images and published weights: calibration and detection as an independent program measured them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.detection_measures import DETECTION_METRICS
from robustbench_safety.detectors import ood_score
from robustbench_safety.measures import METRICS, Outputs
from robustbench_safety.models import Model, load_model
from tests.long_checks import LONG
from tests.models.cifar_test_set import cifar_test_set, logits_of
from tests.models.graphs.exporting import PREPROCESSING
from tests.models.test_small_nets import NETWORKS
from tests.stored_predictions import of_logits

pytestmark = pytest.mark.realdata

#: Names in reference_cifar10.json.
RESNETS = {"resnet20": "resnet20-12fca82f.th", "resnet32": "resnet32-d509ac18.th"}
SMALL = {
    "resnet4b": ("ResNet4b", [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]),
    "cifar_conv_small_pgd": ("small", [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]),
    "cifar_wide": ("wide", [0.485, 0.456, 0.406], [0.225, 0.225, 0.225]),
    "cifar_marabou_medium": ("marabou", [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
}
CELLS = {
    "error": "error_rate",
    "rms_all": "rms_calibration_error",
    "rms_hendrycks": "rms_calibration_error_hendrycks",
    "ece15": "expected_calibration_error",
    "nll": "negative_log_likelihood",
    "brier": "brier_score",
    "aurc": "aurc",
    "misclass_auroc": "error_detection_auroc",
}
#: The residual networks take minutes for 10,000 images: ``make golden`` has all six.
QUICK = ["cifar_conv_small_pgd", "cifar_wide", "cifar_marabou_medium"]


@pytest.fixture(scope="module", params=[*RESNETS, *SMALL] if LONG else QUICK)
def loaded(
    request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Model]]:
    """Give the name of a checkpoint and its model."""
    name: str = request.param
    checkpoints = shared / "data" / "checkpoints"
    if name in RESNETS:
        model = load_model(f"cifar:{name}", checkpoint=checkpoints / RESNETS[name])
    else:
        network, mean, std = SMALL[name]
        folder = tmp_path_factory.mktemp(name)
        (folder / "nets_of_calibration.py").write_text(NETWORKS)
        path = folder / "m.yaml"
        path.write_text(
            f"model: python:nets_of_calibration:{network}\ncheckpoint: {checkpoints / name}.pth\n"
            f"label_space: cifar-10\npreprocessing: {PREPROCESSING % (32, 32, mean, std)}\n"
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            model = load_model(path, trust_code=True)
    yield name, model
    sys.modules.pop("nets_of_calibration", None)


@pytest.fixture(scope="module")
def scored(loaded: tuple[str, Model], shared: Path) -> tuple[str, Outputs]:
    """The name of a checkpoint and what it makes of the 10,000 test images."""
    name, model = loaded
    images, labels = cifar_test_set(shared / "data")
    return name, Outputs(of_logits(labels.numpy(), logits_of(model.network, images).numpy()))


@pytest.fixture(scope="module")
def unknown(loaded: tuple[str, Model], real_data: Path) -> NDArray[np.float64]:
    """The logits of the 10,000 test images of CIFAR-100, none of a class that the network knows."""
    with np.load(real_data / "cifar-100-test.npz") as content:
        images = torch.from_numpy(content["images"]).permute(0, 3, 1, 2)
    return logits_of(loaded[1].network, images).numpy().astype(np.float64)


def test_every_clean_figure_agrees_with_the_reference(scored: tuple[str, Outputs], shared: Path) -> None:
    name, outputs = scored
    reference = json.loads((shared / "facts" / "reference_cifar10.json").read_text())[name]["clean"]
    assert set(reference) == set(CELLS)
    for figure, expected in reference.items():
        assert METRICS[CELLS[figure]].value(outputs) == pytest.approx(expected, abs=1e-4), figure


@pytest.mark.parametrize("detector", ["msp", "maxlogit", "energy"])
def test_every_figure_of_cifar_100_as_unknown_images_agrees_with_the_reference(
    detector: str, scored: tuple[str, Outputs], unknown: NDArray[np.float64], shared: Path
) -> None:
    name, outputs = scored
    reference = json.loads((shared / "facts" / "reference_cifar10.json").read_text())[name]
    expected = reference[f"cifar100_{detector}"]
    assert set(expected) == {"auroc", "aupr_out"}
    inside, outside = ood_score(detector, outputs.logits), ood_score(detector, unknown)
    for metric, value in expected.items():
        assert DETECTION_METRICS[metric].value(inside, outside) == pytest.approx(value, abs=1e-4), metric
    # The figures fix the numbers that need no reference of their own: PRR by the AUROC of wrong answers, and
    # what is lost by the unknown images lies between that of a perfect detector and that of none.
    answers = {"correct_in": outputs.correct}
    risk = DETECTION_METRICS["unknown_aurc"].value(inside, outside, **answers)
    interval = DETECTION_METRICS["unknown_aurc"].interval(inside, [outside], 0, {}, **answers)
    perfect = metrics.unknown_aurc_by_score(1 - outputs.correct, outputs.correct, np.full(10_000, 2.0))
    assert perfect < risk < DETECTION_METRICS["unknown_aurc"].chance(10_000, 10_000, {}, **answers)
    assert interval.low < risk < interval.high < interval.low + 0.02
    area = reference["clean"]["misclass_auroc"]
    assert METRICS["prediction_rejection_ratio"].value(outputs) == pytest.approx(2 * area - 1, abs=2e-4)


def test_every_interval_of_a_real_model_holds_its_figure(scored: tuple[str, Outputs]) -> None:
    _, outputs = scored
    named = [name for name in CELLS.values() if not name.startswith("rms")]
    named += ["mean_absolute_calibration_error", "excess_aurc", "aurra", "soft_f1_score", "augrc"]
    for name in named:
        metric = METRICS[name]
        found = metric.interval([metric.units(outputs)], 0, {})
        assert found.low <= metric.value(outputs) <= found.high, name
        # A mean over the images has a known width, and the NLL is of no fixed scale. Each end of 2,000 draws
        # is off by 6 % of a standard error: a tenth of the width is over four times what both are.
        if name in {"negative_log_likelihood", "brier_score"}:
            (each,) = metric.units(outputs)
            expected = 2 * 1.96 * each.std() / np.sqrt(len(each))
            assert found.high - found.low == pytest.approx(expected, rel=0.1), name
        else:
            assert found.high - found.low < 0.06, name


@pytest.mark.parametrize("name", ["rms_calibration_error", "rms_calibration_error_hendrycks"])
def test_the_interval_of_a_real_model_s_rms_holds_it_without_what_noise_adds(
    scored: tuple[str, Outputs], name: str
) -> None:
    # 100 bins of 100: the squared gap of each is too large by the variance of its accuracy, p (1 - p) / 99.
    # The RMS itself may lie above the interval.
    _, outputs = scored
    order = np.argsort(outputs.confidence, kind="stable")
    confidence, correct = (
        np.asarray(each, dtype=np.float64)[order].reshape(100, 100)
        for each in (outputs.confidence, outputs.correct)
    )
    accuracy = correct.mean(axis=1)
    squares = (confidence.mean(axis=1) - accuracy) ** 2
    noise = accuracy * (1 - accuracy) / 99
    counted = slice(0, 99) if name.endswith("hendrycks") else slice(0, 100)
    metric = METRICS[name]
    assert metric.value(outputs) == pytest.approx(np.sqrt(squares[counted].sum() / 100), abs=1e-4)
    found = metric.interval([metric.units(outputs)], 0, {})
    assert found.low <= np.sqrt(max(0, (squares - noise)[counted].sum() / 100)) <= found.high
    assert found.high - found.low < 0.06


def test_temperature_scaling_calibrates_a_real_model(scored: tuple[str, Outputs]) -> None:
    name, outputs = scored
    temperature = metrics.fit_temperature(outputs.logits, outputs.labels)
    if name == "resnet20":
        assert temperature == pytest.approx(2.32, abs=0.005)
    crossed = metrics.cross_fit_temperatures(
        outputs.logits, outputs.labels, [f"{i:05d}" for i in range(10_000)]
    )
    # Halves of 5,000 images agree within their noise, and each image is the better for the other half.
    assert (crossed.even, crossed.odd) == pytest.approx((temperature, temperature), rel=0.1)
    assert crossed.n_even + crossed.n_odd == 10_000
    scaled = metrics.scaled_logits(outputs.logits, temperature=np.array(crossed.of_each))
    before, after = (metrics.negative_log_likelihood(z, outputs.labels) for z in (outputs.logits, scaled))
    best = metrics.negative_log_likelihood(outputs.logits / temperature, outputs.labels)
    assert best <= after <= before
    assert after - best < 1e-3
