"""Perturbation sequences against Pillow, the standard library and transcriptions on the same draws."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.corruptions import sequence
from robustbench_safety.streams import random_stream
from tests.corruptions.reference import Inverted


@pytest.mark.parametrize(("difficulty", "sigma"), [(1, 0.02), (2, 0.04), (3, 0.06)])
def test_gaussian_noise_is_the_clean_image_plus_fresh_noise_in_every_later_frame(
    photos: NDArray[np.uint8], difficulty: int, sigma: float
) -> None:
    found = sequence(photos, "gaussian_noise", difficulty=difficulty, seed=3)
    for index, image in enumerate(photos):
        rng = Inverted(random_stream(3, "sequence", "gaussian_noise", difficulty, f"{index:05d}"))
        np.testing.assert_array_equal(found[index, 0], image)
        for frame in found[index, 1:]:
            noise = rng.normal(size=image.shape, scale=sigma)
            expected = np.clip(image / 255.0 + noise, 0, 1) * 255
            np.testing.assert_array_equal(frame, expected.astype(np.uint8))


def test_gaussian_noise_does_not_build_up_from_frame_to_frame() -> None:
    grey = np.full((1, 32, 32, 3), 128, dtype=np.uint8)
    deviations = sequence(grey, "gaussian_noise")[0, 1:].std(axis=(1, 2, 3))
    np.testing.assert_allclose(deviations, 0.02 * 255, rtol=0.08)


def test_brightness_agrees_with_colorsys(photos: NDArray[np.uint8]) -> None:
    image = photos[0]
    found = sequence(photos, "brightness")[0]
    differences = []
    for frame in range(31):
        for index in np.ndindex(32, 32):
            hue, saturation, value = colorsys.rgb_to_hsv(*(image[index] / 255.0))
            value = min(max(value + (frame - 15) * 0.015, 0.0), 1.0)
            expected = (np.array(colorsys.hsv_to_rgb(hue, saturation, value)) * 255).astype(np.uint8)
            differences.append(np.abs(found[frame][index].astype(int) - expected))
    # The middle frame adds nothing, so every value there is a whole level and may fall to either side.
    assert np.max(differences) <= 1
    assert np.mean(np.array(differences) > 0) < 0.01


def test_brightness_of_grey_is_as_worked_by_hand() -> None:
    # 100 - 15 * 0.015 * 255 = 42.625; 100 + 0.015 * 255 = 103.825; 100 + 15 * 0.015 * 255 = 157.375.
    frames = sequence(np.full((1, 32, 32, 3), 100, dtype=np.uint8), "brightness")[0, :, 0, 0, 0]
    assert frames[[0, 16, 30]].tolist() == [42, 103, 157]
    assert (np.diff(frames.astype(int)) > 0).all()


def test_translate_is_a_shift_by_pillow_with_black_coming_in(photos: NDArray[np.uint8]) -> None:
    for image, frames in zip(photos, sequence(photos, "translate"), strict=True):
        for index, frame in enumerate(frames):
            matrix = (1, 0, -(index - 7), 0, 1, 0)
            expected = Image.fromarray(image).transform((32, 32), Image.Transform.AFFINE, matrix)
            np.testing.assert_array_equal(frame, np.asarray(expected))


def test_translate_passes_through_the_clean_image_at_frame_seven(photos: NDArray[np.uint8]) -> None:
    frames = sequence(photos, "translate")
    np.testing.assert_array_equal(frames[:, 7], photos)
    assert not frames[:, 15, :, :8].any()
    np.testing.assert_array_equal(frames[:, 15, :, 8:], photos[:, :, :24])
    np.testing.assert_array_equal(frames[:, 0, :, :25], photos[:, :, 7:])


def test_rotate_passes_through_the_clean_image_at_frame_fifteen(photos: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(sequence(photos, "rotate")[:, 15], photos)


def test_rotate_turns_clockwise() -> None:
    # The fixed point is (16, 16), right of and below the middle: a bright spot 12 pixels straight above it
    # moves right by 12 sin(a) and down.
    image = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    image[0, 3:6, 15:18] = 255
    for index, frame in enumerate(sequence(image, "rotate")[0, ..., 0].astype(np.float64)):
        angle = math.radians(index - 15)
        y, x = np.mgrid[:32, :32]
        assert (frame * x).sum() / frame.sum() == pytest.approx(16 + 12 * math.sin(angle), abs=0.1)
        assert (frame * y).sum() / frame.sum() == pytest.approx(16 - 12 * math.cos(angle), abs=0.1)


def test_rotate_fills_the_corners_with_black(flats: NDArray[np.uint8]) -> None:
    frames = sequence(flats[200:201], "rotate")[0]
    assert set(np.unique(frames)) == {0, 200}
    assert not frames[0, 0, 0].any()
    assert not frames[30, 0, 0].any()
