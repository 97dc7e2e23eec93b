"""Small published networks that no family has, through a user's own module and a model file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from robustbench_safety.models import load_model
from tests.models.cifar_test_set import count_right
from tests.models.graphs.exporting import PREPROCESSING

#: As the alpha-beta-CROWN code base defines them.
NETWORKS = """
from torch import nn
from torch.nn.functional import relu


class Block(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1)
        self.shortcut = nn.Sequential(*[nn.Conv2d(n_in, n_out, 1, stride)] * (stride > 1))

    def forward(self, x):
        return relu(self.conv2(relu(self.conv1(x))) + self.shortcut(x))


class ResNet4b(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.layer1 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1))
        self.layer2 = nn.Sequential(Block(32, 32, 2), Block(32, 32, 1))
        self.linear1, self.linear2 = nn.Linear(512, 100), nn.Linear(100, 10)

    def forward(self, images):
        maps = self.layer2(self.layer1(relu(self.conv1(images))))
        return self.linear2(relu(self.linear1(maps.flatten(1))))


def convnet(padding, *widths):
    layers = [nn.Conv2d(3, 16, 4, 2, padding), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, padding), nn.ReLU()]
    layers.append(nn.Flatten())
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def small():
    return convnet(0, 1152, 100, 10)


def wide():
    return convnet(1, 2048, 100, 10)


def marabou():
    return convnet(0, 1152, 128, 64, 10)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the module of the networks in it."""
    (tmp_path / "small_published_nets.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("small_published_nets", None)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("network", "file", "mean", "std", "n_right"),
    [
        ("ResNet4b", "resnet4b", [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616], 7_720),
        ("small", "cifar_conv_small_pgd", [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010], 6_292),
        ("wide", "cifar_wide", [0.485, 0.456, 0.406], [0.225, 0.225, 0.225], 6_162),
        ("marabou", "cifar_marabou_medium", [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], 7_021),
    ],
)
def test_published_weights_give_their_clean_accuracy_to_the_image(
    shared_data: Path,
    folder: Path,
    network: str,
    file: str,
    mean: list[float],
    std: list[float],
    n_right: int,
) -> None:
    path = folder / "m.yaml"
    path.write_text(
        f"model: python:small_published_nets:{network}\n"
        f"checkpoint: {shared_data / 'checkpoints' / file}.pth\n"
        f"label_space: cifar-10\npreprocessing: {PREPROCESSING % (32, 32, mean, std)}\n"
    )
    model = load_model(path, trust_code=True)
    assert model.spec.trusted == ("code",)
    assert count_right(model.network, shared_data) == n_right
