"""Spatter against OpenCV and scikit-image on the same draws."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.draws import NumpyDraws, TorchDraws
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES
from robustbench_safety.corruptions.spatter import spatter
from robustbench_safety.errors import MissingDependencyError
from tests.corruptions import reference_weather as reference

Images = NDArray[np.uint8]
CPU = torch.device("cpu")


def draws_of(n: int) -> NumpyDraws:
    return NumpyDraws(lambda: [np.random.default_rng(i) for i in range(n)], CPU)


@pytest.mark.parametrize(("variant", "severity"), reference.CELLS)
def test_it_equals_the_one_image_transcription_on_the_same_draws(
    photos_of: Callable[[int, int], Images], variant: str, severity: int
) -> None:
    photos = photos_of(SIDES[variant], 20 if variant == "cifar" else 2)
    difference = reference.differences(photos, "spatter", severity, variant, reference.spatter)
    assert difference.max() <= 1
    # scikit-image rounds the mud to float32 between its two passes: 1 value in 70,000 falls to another side.
    assert (difference > 0).mean() < 1e-4


def test_water_adds_light_and_mud_covers() -> None:
    grey = np.full((20, 32, 32, 3), 100, dtype=np.uint8)
    water, mud = corrupt(grey, "spatter", 3), corrupt(grey, "spatter", 5)
    # Truncation in float32 may cost a clean value one level.
    assert water.min() >= 99
    assert (water[..., 1] == water[..., 2]).all(), "turquoise has as much green as blue"
    brown = mud.min(axis=-1) < 99
    assert brown.any(axis=(1, 2)).all()
    # Where there is mud its share is 0.8 or more.
    assert (mud[brown] <= np.array([63, 42, 20]) + 0.2 * 100).all()


def test_the_brightest_drop_of_every_image_has_the_stated_intensity() -> None:
    black = np.zeros((20, 32, 32, 3), dtype=np.uint8)
    found = corrupt(black, "spatter", 1)
    highest = found.max(axis=(1, 2))
    np.testing.assert_allclose(highest, np.tile([175 * 0.5, 238 * 0.5, 238 * 0.5], (20, 1)), atol=1)


def test_an_image_without_any_drop_stays_as_it_is() -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(24).view(2, 32, 32, 3)
    dry = spatter(images, (0.0, 0.01, 1.0, 0.9, 0.5, 0), draws_of(2))
    assert (images.int() - dry.int()).max() <= 1  # the way to float32 and back


def test_liquid_of_256_levels_begins_again_at_zero() -> None:
    parameters = (1.01, 0.2, 1.0, 0.5, 0.5, 0)
    image = np.full((32, 32, 3), 100, dtype=np.uint8)
    expected = reference.spatter(image, parameters, np.random.default_rng(0))
    found = spatter(torch.from_numpy(image[None]), parameters, draws_of(1))
    np.testing.assert_array_equal(found[0].numpy(), expected)


@pytest.mark.parametrize("severity", [1, 5])
def test_the_draws_of_torch_give_spatter_of_the_same_law(severity: int) -> None:
    images = torch.full((200, 32, 32, 3), 100, dtype=torch.uint8)
    parameters = SEVERITIES["spatter"]["cifar"][severity - 1]
    draws = TorchDraws(lambda: [torch.Generator().manual_seed(i) for i in range(200)], CPU)
    with_torch = spatter(images, parameters, draws).double().mean((1, 2, 3))
    with_numpy = spatter(images, parameters, draws_of(200)).double().mean((1, 2, 3))
    error = torch.sqrt((with_torch.var() + with_numpy.var()) / 200)
    assert abs(with_torch.mean() - with_numpy.mean()) < 4 * error


def test_without_opencv_it_is_refused_with_the_command_that_installs_it(
    photos_of: Callable[[int, int], Images], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def import_module(name: str, package: str | None = None) -> object:
        if name == "cv2":
            raise ModuleNotFoundError(name="cv2")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)
    for severity in range(1, 6):
        with pytest.raises(MissingDependencyError, match="uv pip install 'robustbench-safety"):
            corrupt(photos_of(32, 1), "spatter", severity)
    corrupt(photos_of(32, 1), "fog", 1)
