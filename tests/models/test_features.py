"""Penultimate features, and the layer that makes the logits of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustbench_safety.errors import ModelError
from robustbench_safety.models import load_model
from robustbench_safety.models.classifier import Classifier
from robustbench_safety.models.digits import build_network
from robustbench_safety.models.features import find_last_layer, penultimate
from robustbench_safety.records import Preprocessing

PIXELS = Preprocessing(
    input_size=(8, 8),
    resize=None,
    crop=None,
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)


def images(n: int = 3) -> torch.Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 7), nn.ReLU(), nn.Linear(7, 4))


def without_bias() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 7), nn.Linear(7, 4, bias=False))


def convolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 7, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(7, 4, 1), nn.Flatten()
    )


class TwoHeads(nn.Module):
    """A network with an auxiliary head that does not make the logits, of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 7))
        self.head, self.other = nn.Linear(7, 4), nn.Linear(7, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        body = self.body(x)
        logits: torch.Tensor = self.head(body)
        self.other(body)
        return logits


class Averaging(TwoHeads):
    """A network whose logits are the mean of two heads, as distilled DeiT's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        body = self.body(x)
        logits: torch.Tensor = (self.head(body) + self.other(body)) / 2
        return logits


def wrapped(make: Callable[[], nn.Module], columns: tuple[int, ...] | None = None) -> Classifier:
    torch.manual_seed(0)
    return Classifier(make(), PIXELS, columns=columns).eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize("make", [linear, without_bias, convolution, TwoHeads])
@pytest.mark.parametrize("columns", [None, (2, 0)])
def test_the_last_layer_makes_the_logits_of_the_features(
    make: Callable[[], nn.Module], columns: tuple[int, ...] | None
) -> None:
    network = wrapped(make, columns)
    layer = find_last_layer(network, images(1))
    assert layer is not None
    features, logits = penultimate(network, layer, images(), name="m")
    assert features.shape == (3, 7)
    assert torch.equal(logits, network(images()))
    assert layer.weight.shape == ((4 if columns is None else 2), 7)
    torch.testing.assert_close(features @ layer.weight.T + layer.bias, logits)


def test_a_network_whose_logits_no_layer_makes_alone_gives_no_features() -> None:
    network = wrapped(Averaging)
    assert find_last_layer(network, images(1)) is None
    with pytest.raises(ModelError, match="m gives no penultimate features; expected a network that ends in"):
        penultimate(network, None, images(), name="m")


def test_watching_leaves_no_hooks_behind() -> None:
    network = wrapped(linear)
    layer = find_last_layer(network, images(1))
    penultimate(network, layer, images(), name="m")
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in network.modules())


def test_a_loaded_model_offers_features_and_says_how_long_they_are(tmp_path: Path) -> None:
    path = tmp_path / "digits.safetensors"
    save_file(build_network(0).state_dict(), path)
    model = load_model("digits:cnn", checkpoint=path)
    x = torch.rand(2, 3, 32, 32)
    features, logits = model.features(x)
    assert model.spec.features == features.shape[1] == 64
    assert model.last_layer is not None
    assert torch.equal(model.last_layer.weight, build_network(0).classifier.weight)
    assert torch.equal(logits, model.network(x))


def test_features_carry_a_gradient_for_detectors_that_need_one(tmp_path: Path) -> None:
    path = tmp_path / "digits.safetensors"
    save_file(build_network(0).state_dict(), path)
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    features, _ = load_model("digits:cnn", checkpoint=path).features(x)
    (gradient,) = torch.autograd.grad(features.sum(), x)
    assert float(gradient.abs().sum()) > 0
