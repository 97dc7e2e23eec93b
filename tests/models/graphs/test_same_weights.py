"""The same weights as .pth, safetensors, ONNX, .pt2 and TorchScript: one fingerprint, top-1, near logits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustbench_safety.models import Model, load_model
from robustbench_safety.models.cifar_nets.resnet import CifarResNet
from tests.long_checks import LONG
from tests.models.cifar_test_set import cifar_test_set, logits_of
from tests.models.graphs.exporting import export_onnx, export_program, model_file, trace_script

#: Largest difference of a logit from that of the same weights as .pth. ResNet-20 on the 10,000 images of the
#: CIFAR-10 test set, logits of -18.8 to 46.0: 2.3e-5 as ONNX, 1.7e-5 as .pt2 and TorchScript,top-1 equal.
TOLERANCE = 1e-4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

CONVNET = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, groups=2),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(64, 10),
    )
"""


@dataclass(frozen=True, kw_only=True)
class Forms:
    """One network in all forms; the first is the .pth."""

    models: dict[str, Model]
    fused: Model
    """As ONNX with the exporter's own optimisation, which puts batch normalisation into convolutions."""


def all_forms(folder: Path, network: nn.Module, from_weights: str, *, pth: Path | None = None) -> Forms:
    """Write a network down in every form and load each.

    Args:
        folder: Where to.
        network: In evaluation mode.
        from_weights: The model that takes a checkpoint of it.
        pth: The published one; where there is none, one is written, and more forms.
    """
    published = pth is not None
    if pth is None:
        pth = folder / "net.pth"
        torch.save(network.state_dict(), pth)
    save_file(network.state_dict(), folder / "net.safetensors")
    export_onnx(network, folder / "net.onnx", external_data=True)
    export_onnx(network, folder / "fused.onnx", optimize=True)
    export_program(network, folder / "net.pt2")
    if not published:
        export_program(network, folder / "eight.pt2", batch=8)
        trace_script(network, folder / "net.pt")

    def load(model: str, checkpoint: Path | None = None) -> Model:
        file = model_file(folder, model, size=32, mean=MEAN, std=STD)
        return load_model(file, checkpoint=checkpoint, trust_code=True)

    models = {
        "pth": load(from_weights, pth),
        "safetensors": load(from_weights, folder / "net.safetensors"),
        "onnx": load("onnx:net.onnx"),
        "pt2": load("export:net.pt2"),
    }
    if not published:
        models["pt2 of eight"] = load("export:eight.pt2")
        models["torchscript"] = load("export:net.pt")
    return Forms(models=models, fused=load("onnx:fused.onnx"))


def check(forms: Forms, images: torch.Tensor) -> None:
    """Check that all forms agree on uint8 images."""
    first = forms.models["pth"]
    expected = logits_of(first.network, images)
    for name, model in [*forms.models.items(), ("onnx, fused", forms.fused)]:
        logits = logits_of(model.network, images)
        assert torch.equal(logits.argmax(1), expected.argmax(1)), name
        difference = float((logits - expected).abs().max())
        assert difference <= TOLERANCE, f"{name}: {difference:.2e}"
    assert {model.spec.weights_digest for model in forms.models.values()} == {first.spec.weights_digest}
    assert {model.spec.parameters for model in forms.models.values()} == {first.spec.parameters}
    # Its tensors are others, and so is its fingerprint.
    assert forms.fused.spec.weights_digest != first.spec.weights_digest


@pytest.fixture
def convnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[nn.Module]:
    """A small seeded network, made by a module in the current folder."""
    (tmp_path / "same_weights_net.py").write_text(CONVNET)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(CONVNET, scope)  # noqa: S102  # the text above
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = scope["make"]()  # type: ignore[operator]
        network[1].running_mean.uniform_(-1, 1)
        network[1].running_var.uniform_(0.5, 2)
    yield network.eval()
    sys.modules.pop("same_weights_net", None)


def test_a_small_network_is_the_same_in_every_form(convnet: nn.Module, tmp_path: Path) -> None:
    forms = all_forms(tmp_path, convnet, "python:same_weights_net:make")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (67, 3, 32, 32), generator=generator).to(torch.uint8)
    check(forms, images)


@pytest.mark.realdata
@pytest.mark.timeout(900)
def test_a_published_resnet20_is_the_same_in_every_form(shared_data: Path, tmp_path: Path) -> None:
    published = shared_data / "checkpoints" / "resnet20-12fca82f.th"
    network = CifarResNet(depth=20, n_classes=10).eval()
    stored = torch.load(published, map_location="cpu", weights_only=True)["state_dict"]
    network.load_state_dict(
        {key.removeprefix("module."): value for key, value in stored.items()}, strict=False
    )
    forms = all_forms(tmp_path, network, "cifar:resnet20", pth=published)
    # In five forms the whole set takes a slow core two minutes.
    images = cifar_test_set(shared_data)[0]
    check(forms, images if LONG else images[:1000])
