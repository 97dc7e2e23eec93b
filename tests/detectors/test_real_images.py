"""A real network's features and logits: CIFAR-100 against CIFAR-10, fitted on CIFAR-10 training images."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety.detectors import DETECTORS, DetectorInputs, fit_detector
from robustbench_safety.metrics import auroc
from robustbench_safety.models import Model, load_model

pytestmark = pytest.mark.realdata

#: Images of each set, and of training images.
N, N_FIT = 500, 1000

#: What was measured on them: AUROC to three digits, at the defaults. ``disagreement`` needs an ensemble, and
#: ``mcm`` of a network that is not CLIP is ``msp``; neither is here.
MEASURED = {
    "msp": 0.869,
    "maxlogit": 0.891,
    "energy": 0.891,
    "entropy": 0.873,
    "gen": 0.893,
    "odin": 0.891,  # of images that were not moved
    "kl_matching": 0.784,
    "psi": 0.811,
    "mahalanobis": 0.589,  # weak on penultimate features alone, as is known of it
    "relative_mahalanobis": 0.866,
    "knn": 0.837,
    "vim": 0.854,
    "react": 0.888,
    "ash_p": 0.891,
    "ash_b": 0.840,
    "ash_s": 0.872,
    "scale": 0.754,
}


def cifar_10(folder: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with (folder / "cifar-10-batches-py" / name).open("rb") as file:
        batch = pickle.load(file, encoding="bytes")
    return batch[b"data"].reshape(-1, 3, 32, 32), np.array(batch[b"labels"])


def seen(model: Model, pixels: NDArray[np.uint8]) -> DetectorInputs:
    features, logits = [], []
    for start in range(0, len(pixels), 250):
        images = torch.from_numpy(np.ascontiguousarray(pixels[start : start + 250])).float() / 255
        with torch.no_grad():
            some_features, some_logits = model.features(images)
        features.append(some_features.numpy())
        logits.append(some_logits.numpy())
    return DetectorInputs(features=np.concatenate(features), logits=np.concatenate(logits))


@pytest.fixture(scope="module")
def sets(shared: Path, real_data: Path) -> dict[str, DetectorInputs]:
    checkpoint = shared / "data" / "checkpoints" / "resnet20-12fca82f.th"
    model = load_model("cifar:resnet20", checkpoint=checkpoint)
    assert model.last_layer is not None
    weight, bias = model.last_layer.weight.numpy(), model.last_layer.bias.numpy()
    train, labels = cifar_10(real_data, "data_batch_1")
    test, _ = cifar_10(real_data, "test_batch")
    with np.load(real_data / "cifar-100-test.npz") as content:
        # Sorted by class: every fifth image shows all of them.
        others = content["images"][:: len(content["images"]) // N].transpose(0, 3, 1, 2)
    shown = {"fit": train[:N_FIT], "tune": test[N : 2 * N], "inside": test[:N], "outside": others[:N]}
    given = {name: replace(seen(model, pixels), weight=weight, bias=bias) for name, pixels in shown.items()}
    given["fit"] = replace(given["fit"], labels=labels[:N_FIT])
    return given


def scores(sets: dict[str, DetectorInputs], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    kind = DETECTORS[name].fit
    scorer = fit_detector(name, on=None if kind is None else sets[kind])
    return scorer(sets["inside"]), scorer(sets["outside"])


@pytest.mark.parametrize("name", MEASURED)
def test_the_other_classes_score_as_much_higher_as_was_measured(
    sets: dict[str, DetectorInputs], name: str
) -> None:
    # Other machines and libraries round features differently; the standard error of a figure is 0.012.
    assert auroc(*scores(sets, name)) == pytest.approx(MEASURED[name], abs=0.01)


@pytest.mark.parametrize("name", MEASURED)
def test_images_shuffled_between_the_two_sets_are_told_apart_by_chance(
    sets: dict[str, DetectorInputs], name: str
) -> None:
    mixed = np.random.default_rng(0).permutation(np.concatenate(scores(sets, name)))
    # Of 500 and 500 scores the standard deviation is 0.018.
    assert auroc(mixed[:N], mixed[N:]) == pytest.approx(0.5, abs=0.08)


def test_every_detector_that_a_network_of_its_own_can_have_is_measured() -> None:
    assert set(MEASURED) == set(DETECTORS) - {"disagreement", "mcm"}
