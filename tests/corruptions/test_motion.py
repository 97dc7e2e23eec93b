"""Motion blur against ImageMagick itself, where there is one, and by cases worked by hand."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.corruptions.motion import motion_blur_layer
from robustbench_safety.corruptions.severities import SEVERITIES
from tests.corruptions import reference_blur as reference

Images = NDArray[np.uint8]

MOTIONS = sorted({row for rows in SEVERITIES["motion_blur"].values() for row in rows})
SNOWS = sorted({row[4:6] for rows in SEVERITIES["snow"].values() for row in rows})
ANGLES = [-45.0, -44.3, -20.123, 0.0, 3.3, 30.0, 45.0, -90.0, -135.0, -100.7]


def blurred(image: Images, radius: float, sigma: float, angle: float) -> Images:
    levels = torch.from_numpy(image[None]).float()
    angles = torch.tensor([angle], dtype=torch.float64)
    return motion_blur_layer(levels, radius, sigma, angles)[0].numpy().astype(np.uint8)


def share_off(found: Images, expected: Images) -> float:
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    return float((difference > 0).mean())


@pytest.mark.parametrize(("radius", "sigma"), [*MOTIONS[::3], *SNOWS[::2]])
def test_images_equal_those_of_imagemagick(
    photos_of: Callable[[int, int], Images], imagemagick: str, tmp_path: Path, radius: float, sigma: float
) -> None:
    for index, angle in enumerate(ANGLES[::3]):
        image = photos_of(64, 4)[index]
        found = blurred(image, radius, sigma, angle)
        assert share_off(found, by_imagemagick(imagemagick, image, radius, sigma, angle, tmp_path)) < 0.001


@pytest.mark.parametrize(("radius", "sigma"), SNOWS[::2])
def test_a_grey_layer_equals_that_of_imagemagick(
    imagemagick: str, tmp_path: Path, radius: float, sigma: float
) -> None:
    rng = np.random.default_rng(0)
    layer = np.clip(rng.normal(0.3, 0.3, (64, 64)) * 255, 0, 255).astype(np.uint8)
    layer[layer < 128] = 0
    for angle in ANGLES[-3:]:
        expected = by_imagemagick(imagemagick, layer, radius, sigma, angle, tmp_path)
        assert share_off(blurred(layer, radius, sigma, angle), expected) < 0.001


def by_imagemagick(
    command: str, image: Images, radius: float, sigma: float, angle: float, folder: Path
) -> Images:
    Image.fromarray(image).save(folder / "in.png")
    setting = f"{radius}x{sigma}{angle:+.9f}"
    subprocess.run([command, folder / "in.png", "-motion-blur", setting, folder / "out.png"], check=True)
    with Image.open(folder / "out.png") as picture:
        return np.asarray(picture.convert("RGB" if image.ndim == 3 else "L"))


@pytest.mark.parametrize("angle", ANGLES)
def test_every_angle_equals_the_transcription(photos_of: Callable[[int, int], Images], angle: float) -> None:
    image = photos_of(64, 1)[0]
    expected = reference.along_line(image, 12, 3, angle=angle)
    assert share_off(blurred(image, 12, 3, angle), expected) < 0.001


def test_a_point_leaves_a_trail_to_the_left_as_worked_by_hand() -> None:
    # Radius 1, sigma 1: weights 1, exp(-1/2), exp(-2) = 1, 0.606531, 0.135335, sum 1.741866. A pixel takes
    # from itself and from the right: a point of 200 shows at its place and to the left, 114.8, 69.6 and 15.5.
    image = np.zeros((5, 9), dtype=np.uint8)
    image[2, 4] = 200
    assert blurred(image, 1, 1, 0.0)[2].tolist() == [0, 0, 15, 69, 114, 0, 0, 0, 0]
    # At 90 degrees it takes from below, at -90 from above.
    assert blurred(image, 1, 1, 90.0)[:, 4].tolist() == [15, 69, 114, 0, 0]
    assert blurred(image, 1, 1, -90.0)[:, 4].tolist() == [0, 0, 114, 69, 15]


def test_the_last_pixel_goes_on_beyond_the_border() -> None:
    image = np.zeros((4, 6), dtype=np.uint8)
    image[:, 5] = 200
    assert blurred(image, 10, 3, 0.0)[0, 5] == 200


def test_grey_levels_stay_in_flat_images(flats: Images) -> None:
    levels = torch.from_numpy(flats[:, :12, :12]).float()
    angles = torch.linspace(-135, 45, 16, dtype=torch.float64).repeat(16)
    assert torch.equal(motion_blur_layer(levels, 15, 8, angles), levels)


def test_images_of_one_angle_are_blurred_as_each_alone(photos: Images) -> None:
    levels = torch.from_numpy(photos).float()
    angles = torch.tensor([20.0, -20.0], dtype=torch.float64).repeat(10)
    together = motion_blur_layer(levels, 6, 2, angles)
    alone = [motion_blur_layer(levels[i : i + 1], 6, 2, angles[i : i + 1]) for i in range(20)]
    assert torch.equal(together, torch.cat(alone))
