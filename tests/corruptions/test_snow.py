"""Snow against ImageMagick, OpenCV and SciPy on the same draws."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.draws import NumpyDraws, TorchDraws
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES
from robustbench_safety.corruptions.snow import snow
from tests.corruptions import reference_weather as reference

Images = NDArray[np.uint8]
CPU = torch.device("cpu")


def by_imagemagick(program: str, levels: Images, radius: float, sigma: float, angle: float) -> Images:
    """One layer as a PNG through ImageMagick, as the authors' code does it."""
    encoded = io.BytesIO()
    Image.fromarray(levels).save(encoded, "PNG")
    trail = f"{radius}x{sigma}{angle:+.17g}"
    command = [program, "png:-", "-motion-blur", trail, "png:-"]
    done = subprocess.run(command, input=encoded.getvalue(), capture_output=True, check=True)
    return np.asarray(Image.open(io.BytesIO(done.stdout)).convert("L"))


@pytest.mark.parametrize(("variant", "severity"), reference.CELLS)
def test_it_equals_the_one_image_transcription_through_imagemagick(
    photos_of: Callable[[int, int], Images], imagemagick: str, variant: str, severity: int
) -> None:
    def made(image: Images, parameters: tuple[float, ...], rng: np.random.Generator) -> Images:
        return reference.snow(image, parameters, rng, partial(by_imagemagick, imagemagick))

    difference = reference.differences(photos_of(SIDES[variant], 2), "snow", severity, variant, made)
    assert difference.max() <= 1
    # Grey is a float32 sum of three colours, and OpenCV's order of the sum is another on some processors.
    assert (difference > 0).mean() < 1e-4


@pytest.mark.parametrize("severity", range(1, 6))
def test_all_but_the_trail_equals_the_transcription_where_imagemagick_is_missing(
    photos_of: Callable[[int, int], Images], severity: int
) -> None:
    def made(image: Images, parameters: tuple[float, ...], rng: np.random.Generator) -> Images:
        return reference.snow(image, parameters, rng, reference.trail)

    difference = reference.differences(photos_of(32, 20), "snow", severity, "cifar", made)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-4


def test_every_flake_is_there_twice_turned_by_half_a_turn() -> None:
    black = np.zeros((8, 32, 32, 3), dtype=np.uint8)
    found = corrupt(black, "snow", 2)
    np.testing.assert_array_equal(found, found[:, ::-1, ::-1])
    assert (found[..., 0] == found[..., 1]).all()
    # A black image is 1 - 0.9 times 0.5 grey before the flakes fall: 12.75 levels.
    assert found.min() == 12
    assert (found.max(axis=(1, 2, 3)) > 30).all()


def test_without_flakes_the_image_is_drawn_towards_white() -> None:
    # (200, 100, 50): grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2, the lighter one 1.5 * 124.2 +
    # 127.5 = 313.8; 0.8 * 200 + 0.2 * 313.8 = 222.76, and 142.76 and 102.76 likewise.
    image = torch.tensor([200, 100, 50], dtype=torch.uint8).expand(1, 32, 32, 3)
    draws = NumpyDraws(lambda: [np.random.default_rng(0)], CPU)
    found = snow(image, (0.0, 0.0, 1, 0.5, 10, 4, 0.8), draws)
    assert found[0, 5, 5].tolist() == [222, 142, 102]


def test_the_draws_of_torch_give_snow_of_the_same_law(photos_of: Callable[[int, int], Images]) -> None:
    images = torch.from_numpy(photos_of(32, 1)).expand(100, -1, -1, -1)
    parameters = SEVERITIES["snow"]["cifar"][3]
    generators = [torch.Generator().manual_seed(i) for i in range(100)]
    with_torch = snow(images, parameters, TorchDraws(lambda: generators, CPU)).double().mean((1, 2, 3))
    draws = NumpyDraws(lambda: [np.random.default_rng(i) for i in range(100)], CPU)
    with_numpy = snow(images, parameters, draws).double().mean((1, 2, 3))
    error = torch.sqrt((with_torch.var() + with_numpy.var()) / 100)
    assert abs(with_torch.mean() - with_numpy.mean()) < 4 * error
