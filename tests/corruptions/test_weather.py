"""Brightness against the colour conversion of the standard library and the arithmetic of scikit-image.

And all weather on images of the published data sets.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from robustbench_safety.corruptions import corrupt
from robustbench_safety.data import load_dataset
from robustbench_safety.data.base import ArrayReader
from tests.corruptions import reference_weather as reference

ADDED = [0.05, 0.10, 0.15, 0.20, 0.30]


def brighter(image: NDArray[np.uint8], added: float) -> NDArray[np.uint8]:
    """One pixel at a time, with colorsys."""
    out = np.empty_like(image)
    for index in np.ndindex(image.shape[:-1]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[index] / 255.0))
        rgb = colorsys.hsv_to_rgb(hue, saturation, min(max(value + added, 0.0), 1.0))
        out[index] = (np.array(rgb) * 255).astype(np.uint8)
    return out


@pytest.mark.parametrize("severity", range(1, 6))
def test_brightness_agrees_with_colorsys(photos: NDArray[np.uint8], severity: int) -> None:
    expected = brighter(photos, ADDED[severity - 1])
    difference = np.abs(corrupt(photos, "brightness", severity).astype(int) - expected)
    # colorsys has another order of operations: where V is clipped to 1 or a whole level is added, some values
    # fall to the other side of it.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def brighter_in_the_order_of_scikit_image(image: NDArray[np.uint8], added: float) -> NDArray[np.uint8]:
    x = image / 255.0
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    v = x.max(axis=-1)
    spread = np.ptp(x, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        s = np.where(spread == 0, 0, spread / v)
        h = np.where(r == v, (g - b) / spread, 0)
        h = np.where(g == v, 2 + (b - r) / spread, h)
        h = np.where(b == v, 4 + (r - g) / spread, h)
        h = np.where(spread == 0, 0, (h / 6) % 1)
    v = np.clip(v + added, 0, 1)
    sector = np.floor(h * 6)
    f = h * 6 - sector
    p, q, t = v * (1 - s), v * (1 - f * s), v * (1 - (1 - f) * s)
    sextants = [(v, t, p), (q, v, p), (p, v, t), (p, q, v), (t, p, v), (v, p, q)]
    choices = np.stack([np.stack(rgb, axis=-1) for rgb in sextants])
    index = sector.astype(int)[None, ..., None] % 6
    rgb: NDArray[np.float64] = np.take_along_axis(choices, index, axis=0)[0]
    return (np.clip(rgb, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("severity", range(1, 6))
def test_brightness_equals_the_arithmetic_of_scikit_image(photos: NDArray[np.uint8], severity: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    images = np.concatenate([photos, colours])
    expected = brighter_in_the_order_of_scikit_image(images, ADDED[severity - 1])
    np.testing.assert_array_equal(corrupt(images, "brightness", severity), expected)


def test_brightness_of_one_colour_is_as_worked_by_hand() -> None:
    # (200, 100, 50): S = 150/200 = 3/4, H = (100 - 50) / 150 = 1/3 of the first sector, V' = 200 + 12.75.
    # red = V' = 212.75; green = V' (1 - (1 - 1/3) 3/4) = V' / 2 = 106.375; blue = V' (1 - 3/4) = 53.1875.
    image = np.full((1, 32, 32, 3), (200, 100, 50), dtype=np.uint8)
    assert corrupt(image, "brightness", 1)[0, 0, 0].tolist() == [212, 106, 53]


def test_brightness_treats_the_six_sectors_of_the_colour_circle_alike() -> None:
    image = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    orders = [(0, 1, 2), (1, 0, 2), (2, 0, 1), (2, 1, 0), (1, 2, 0), (0, 2, 1)]
    for column, order in enumerate(orders):
        image[0, :, column] = np.array([200, 100, 50])[list(order)]
    result = corrupt(image, "brightness", 1)
    for column, order in enumerate(orders):
        assert result[0, 0, column].tolist() == np.array([212, 106, 53])[list(order)].tolist()


def test_brightness_turns_black_into_grey_and_keeps_white() -> None:
    image = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    image[:, 16:] = 255
    result = corrupt(image, "brightness", 5)
    # Black has no hue: 0.3 * 255 = 76.5 in all channels.
    assert (result[:, :16] == 76).all()
    assert (result[:, 16:] == 255).all()


def weather(name: str, textures: Path) -> Callable[..., NDArray[np.uint8]]:
    made: dict[str, Callable[..., NDArray[np.uint8]]] = {
        "snow": partial(reference.snow, blurred=reference.trail),
        "frost": partial(reference.frost, folder=textures),
        "fog": reference.fog,
        "spatter": reference.spatter,
    }
    return made[name]


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["snow", "frost", "fog", "spatter"])
def test_weather_equals_the_transcription_on_images_of_cifar_10(
    real_data: Path, textures: Path, name: str
) -> None:
    dataset = load_dataset("cifar-10", data=real_data)
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert isinstance(reader, ArrayReader)
    indices = np.arange(0, 10_000, 200)
    images = reader.block(indices, reader.stored(indices)).astype(np.uint8)
    made = weather(name, textures)
    difference = reference.differences(images, name, 3, "cifar", made, textures=textures)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["snow", "frost", "fog", "spatter"])
def test_weather_equals_the_transcription_on_photographs_of_imagenet(
    real_data: Path, textures: Path, name: str
) -> None:
    paths = sorted((real_data / "imagenet-sample" / "val").rglob("*.JPEG"))[::100]
    assert len(paths) == 4
    images = np.stack(
        [np.asarray(ImageOps.fit(Image.open(path).convert("RGB"), (224, 224))) for path in paths]
    )
    made = weather(name, textures)
    difference = reference.differences(images, name, 3, "imagenet", made, textures=textures)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3
