"""Glass blur's exchange of pixels, on whole index maps. The pixels are compared in test_blur."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions.draws import NumpyDraws
from robustbench_safety.corruptions.glass import glass_blur

Images = NDArray[np.uint8]

#: Sigma of a Gaussian of one tap: the blurs before and after do nothing.
NO_BLUR = 0.01


def exchanged(image: Images, distance: int, passes: int, rng: np.random.Generator) -> Images:
    """Copy pixel after pixel, on a grid of numbers and not with views."""
    result = image.copy()
    side = len(image)
    for _ in range(passes):
        for h in range(side - distance, distance, -1):
            for w in range(side - distance, distance, -1):
                dx, dy = rng.integers(-distance, distance, size=2)
                result[h, w] = result[h + dy, w + dx].copy()
    return result


def found_for(images: Images, distance: int, passes: int, seed: int) -> Images:
    draws = NumpyDraws(
        lambda: [np.random.default_rng(seed + index) for index in range(len(images))], torch.device("cpu")
    )
    return glass_blur(torch.from_numpy(images), (NO_BLUR, distance, passes), draws).numpy()


@pytest.mark.parametrize("passes", [1, 2, 3])
@pytest.mark.parametrize("distance", [1, 2, 3, 4, 5])
def test_exchanging_all_at_once_equals_one_after_the_other(distance: int, passes: int) -> None:
    # Every pixel has a colour of its own, so that a wrong source shows.
    numbers = np.arange(3 * 32 * 32, dtype=np.uint32)
    images = (
        np.stack([numbers & 255, numbers >> 8, numbers % 251], axis=-1).astype(np.uint8).reshape(3, 32, 32, 3)
    )
    found = found_for(images, distance, passes, seed=5)
    for index in range(3):
        expected = exchanged(images[index], distance, passes, np.random.default_rng(5 + index))
        np.testing.assert_array_equal(found[index], expected)


def test_pixels_are_copied_and_not_swapped(photos_of: Callable[[int, int], Images]) -> None:
    images = photos_of(32, 4)
    found = found_for(images, 1, 1, seed=0)
    for before, after in zip(images, found, strict=True):
        colours = {tuple(pixel) for pixel in after.reshape(-1, 3).tolist()}
        assert colours < {tuple(pixel) for pixel in before.reshape(-1, 3).tolist()}


@pytest.mark.parametrize("distance", [1, 2, 4])
def test_the_border_that_the_authors_leave_out_stays(
    photos_of: Callable[[int, int], Images], distance: int
) -> None:
    images = photos_of(32, 2)
    kept = found_for(images, distance, 3, seed=1) == images
    assert kept[:, : distance + 1].all()
    assert kept[:, :, : distance + 1].all()
    assert kept[:, 33 - distance :].all()
    assert kept[:, :, 33 - distance :].all()
    assert not kept[:, distance + 1].all()
    assert not kept[:, 32 - distance].all()
