"""Our whole pipeline, from the file to the logits, gives what timm's and torchvision's give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import nn
from torchvision import models

from robustbench_safety.data.pictures import decode_image
from robustbench_safety.data.transforms import Transform
from robustbench_safety.devices import to_pixels
from robustbench_safety.models import Model, load_model

#: Small ones of six families; the test_ networks take 160 px.
TIMM = [
    "test_resnet.r160_in1k",
    "test_vit.r160_in1k",
    "test_convnext.r160_in1k",
    "test_efficientnet.r160_in1k",
    "test_nfnet.r160_in1k",
    "regnetx_002.pycls_in1k",
]
TORCHVISION = [
    "squeezenet1_1/IMAGENET1K_V1",
    "mobilenet_v3_small/IMAGENET1K_V1",
    "regnet_y_400mf/IMAGENET1K_V2",
]
#: Largest difference of a logit, where the logits of a class have deviation 1 over images; in proportion
#: where they have more. Channels last and the order of sums move the fifth digit.
TOLERANCE = 1e-4

Reference = Callable[[Image.Image], torch.Tensor]


def spread(network: nn.Module) -> nn.Module:
    """Give random weights logits that differ from image to image, so that an agreement means something.

    Batch normalisation learns its statistics from noise, and the last layer is scaled: without this, the
    logits of four pictures were seen to differ by 1e-9.
    """
    noise = torch.rand(4, 3, 160, 160, generator=torch.Generator().manual_seed(0)) * 4 - 2
    noise += torch.tensor([-1.0, 0.0, 1.0, 2.0]).view(4, 1, 1, 1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        network.train()(noise)
        deviation = network.eval()(noise).std(dim=0).mean()
        assert deviation > 1e-4
        head = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
        for parameter in head.parameters():
            parameter.div_(deviation)
    return network.requires_grad_(requires_grad=False)


@pytest.fixture(scope="module", params=TIMM)
def of_timm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Model, nn.Module, Reference]:
    name: str = request.param
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = spread(timm.create_model(name, pretrained=False))
    path = tmp_path_factory.mktemp("timm") / "a.pth"
    torch.save(network.state_dict(), path)
    data = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    return load_model(f"timm:{name}", checkpoint=path), network, create_transform(**data, is_training=False)


@pytest.fixture(scope="module", params=TORCHVISION)
def of_torchvision(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Model, nn.Module, Reference]:
    name, _, entry = request.param.partition("/")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = spread(models.get_model(name, weights=None))
    path = tmp_path_factory.mktemp("torchvision") / "a.pth"
    torch.save(network.state_dict(), path)
    transforms: Reference = models.get_model_weights(name)[entry].transforms()
    return load_model(f"torchvision:{request.param}", checkpoint=path), network, transforms


def by_us(model: Model, paths: list[Path]) -> torch.Tensor:
    transform = Transform(model.spec.preprocessing, pre_cropped=False)
    images = np.stack([transform(decode_image(path.read_bytes(), path)) for path in paths])
    with torch.inference_mode():
        logits: torch.Tensor = model.network(to_pixels(torch.from_numpy(images), torch.device("cpu")))
    return logits


def by_them(network: nn.Module, transform: Reference, paths: list[Path]) -> torch.Tensor:
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(transform(image.convert("RGB")))
    with torch.inference_mode():
        logits: torch.Tensor = network(torch.stack(images))
    return logits


def agree(case: tuple[Model, nn.Module, Reference], paths: list[Path]) -> None:
    model, network, transform = case
    expected = by_them(network, transform, paths)
    found = by_us(model, paths)
    deviation = float(expected.std(dim=0).mean())
    assert deviation > 0.05, "the logits hardly depend on the image"
    assert (found - expected).abs().max() < TOLERANCE * max(1.0, deviation)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four smooth random pictures of different shapes, in the formats that data sets come in."""
    draws = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for ending, size in {"JPEG": (500, 375), "png": (333, 500), "jpg": (260, 250), "bmp": (120, 90)}.items():
        coarse = draws.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        paths.append(folder / f"a.{ending}")
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def photographs(shared_data: Path) -> list[Path]:
    """Six photographs of six shapes."""
    shapes: dict[tuple[int, int], Path] = {}
    for path in sorted((shared_data / "imagenet_sample").glob("**/*.JPEG")):
        with Image.open(path) as image:
            shapes.setdefault(image.size, path)
    return list(shapes.values())[:6]


def test_logits_equal_those_of_timms_pipeline(
    of_timm: tuple[Model, nn.Module, Reference], pictures: list[Path]
) -> None:
    agree(of_timm, pictures)


def test_logits_equal_those_of_torchvisions_pipeline(
    of_torchvision: tuple[Model, nn.Module, Reference], pictures: list[Path]
) -> None:
    agree(of_torchvision, pictures)


@pytest.mark.realdata
def test_logits_equal_those_of_timms_pipeline_on_real_photographs(
    of_timm: tuple[Model, nn.Module, Reference], photographs: list[Path]
) -> None:
    agree(of_timm, photographs)


@pytest.mark.realdata
def test_logits_equal_those_of_torchvisions_pipeline_on_real_photographs(
    of_torchvision: tuple[Model, nn.Module, Reference], photographs: list[Path]
) -> None:
    agree(of_torchvision, photographs)
