"""Real images and published weights give the published numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.labels import load_label_space

pytestmark = pytest.mark.realdata

CHECKPOINTS = {"resnet20": "resnet20-12fca82f.th", "resnet32": "resnet32-d509ac18.th"}


@pytest.fixture(scope="module")
def suite(real_data: Path) -> Path:
    """Clean CIFAR-10, and CIFAR-100 as OOD through an npy stack with a manifest of its own."""
    with np.load(real_data / "cifar-100-test.npz") as content:
        folder = real_data / "cifar-100-sorted"
        folder.mkdir(exist_ok=True)
        np.save(folder / "images.npy", content["images"])
        np.save(folder / "labels.npy", content["labels"])
    own = real_data / "suites"
    own.mkdir(exist_ok=True)
    (own / "cifar-100-sorted.yaml").write_text(
        "name: cifar-100-sorted\nversion: 1\ntitle: CIFAR-100 test, by class\nrole: ood\n"
        "layout: {type: npy, images: images.npy, labels: labels.npy, class_sorted: true}\n"
        "folder: cifar-100-sorted\nconditions: [{kind: clean, names: [clean], levels: [0]}]\n"
        "label_space: cifar-100\nsamples: 10000\nimage_size: [32, 32]\nlicence: none\ncitation: Krizhevsky\n"
    )
    cells = [
        "{id: clean_error, dataset: cifar-10, metric: error_rate}",
        "{id: rms_all, dataset: cifar-10, metric: rms_calibration_error}",
        "{id: rms_hendrycks, dataset: cifar-10, metric: rms_calibration_error_hendrycks}",
        "{id: ece15, dataset: cifar-10, metric: expected_calibration_error}",
        "{id: nll, dataset: cifar-10, metric: negative_log_likelihood}",
        "{id: brier, dataset: cifar-10, metric: brier_score}",
        "{id: aurc, dataset: cifar-10, metric: aurc}",
        "{id: misclass_auroc, dataset: cifar-10, metric: error_detection_auroc}",
    ]
    cells += [
        f"{{id: {detector}-{metric}, dataset: cifar-100-sorted, metric: {metric}, detector: {detector}, "
        "in_distribution: cifar-10}"
        for detector in ("msp", "maxlogit", "energy")
        for metric in ("auroc", "aupr_out")
    ]
    path = own / "reference.yaml"
    path.write_text(
        "name: reference\nversion: 1\ntitle: T\nlabel_space: cifar-10\nseed: 0\ncells:\n"
        + "".join(f"  - {cell}\n" for cell in cells)
        + "columns: [clean_error]\n"
    )
    return path


@pytest.fixture(scope="module", params=sorted(CHECKPOINTS))
def scored(
    request: pytest.FixtureRequest, shared: Path, real_data: Path, suite: Path,
    tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Evaluation]:  # fmt: skip
    name: str = request.param
    evaluation = score(
        f"cifar:{name}", suite=suite, checkpoint=shared / "data" / "checkpoints" / CHECKPOINTS[name],
        data=real_data, predictions=tmp_path_factory.mktemp(name), batch_size=64, device="cpu")  # fmt: skip
    return name, evaluation


def test_the_error_is_the_published_one_to_the_image(scored: tuple[str, Evaluation]) -> None:
    name, evaluation = scored
    error = evaluation.record.scores["clean_error"]
    assert error.value == {"resnet20": 0.0827, "resnet32": 0.0737}[name]
    assert error.n == 10_000


def test_every_clean_figure_agrees_with_the_reference(scored: tuple[str, Evaluation], shared: Path) -> None:
    name, evaluation = scored
    reference = json.loads((shared / "facts" / "reference_cifar10.json").read_text())[name]["clean"]
    for metric, expected in reference.items():
        cell = "clean_error" if metric == "error" else metric
        assert evaluation.record.scores[cell].value == pytest.approx(expected, abs=1e-4), metric


def test_every_detection_figure_agrees_with_the_reference(
    scored: tuple[str, Evaluation], shared: Path
) -> None:
    name, evaluation = scored
    reference = json.loads((shared / "facts" / "reference_cifar10.json").read_text())[name]
    for detector in ("msp", "maxlogit", "energy"):
        for metric, expected in reference[f"cifar100_{detector}"].items():
            found = evaluation.record.scores[f"{detector}-{metric}"]
            assert found.value == pytest.approx(expected, abs=1e-4), (detector, metric)
            assert (found.n, found.n_out) == (10_000, 10_000)


def test_every_value_lies_in_its_interval(scored: tuple[str, Evaluation]) -> None:
    for name, found in scored[1].record.scores.items():
        assert found.value is not None
        assert found.interval is not None
        if name != "rms_hendrycks":  # its interval is that of the sum over all bins but the last
            assert found.interval.low <= found.value <= found.interval.high, name


def test_cifar_100_is_listed_in_the_order_of_its_labels(real_data: Path) -> None:
    with np.load(real_data / "cifar-100-test.npz") as content:
        assert tuple(content["class_names"]) == load_label_space("cifar-100").classes
