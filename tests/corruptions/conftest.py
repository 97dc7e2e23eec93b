"""Small images for the tests of corruptions: real ones and the one of the golden values."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images


@pytest.fixture(scope="session")
def photos() -> NDArray[np.uint8]:
    """Twenty crops of 32 by 32 pixels from two photographs: uint8 [20, 32, 32, 3]."""
    rng = np.random.default_rng(0)
    crops = []
    for picture in load_sample_images().images:
        for _ in range(10):
            top, left = rng.integers(0, picture.shape[0] - 32), rng.integers(0, picture.shape[1] - 32)
            crops.append(picture[top : top + 32, left : left + 32])
    return np.stack(crops).astype(np.uint8)


@pytest.fixture(scope="session")
def flats() -> NDArray[np.uint8]:
    """Every grey level as a flat image, where truncation bites: uint8 [256, 32, 32, 3]."""
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    return np.repeat(np.broadcast_to(levels, (256, 32, 32, 1)), 3, axis=3)


@pytest.fixture(scope="session")
def golden_image() -> NDArray[np.uint8]:
    """Return the test image of the golden values (protocols 2.4), side 32: uint8 [1, 32, 32, 3]."""
    y, x = np.mgrid[:32, :32]
    channels = (x * 255 // 31, y * 255 // 31, ((x ^ y) * (256 // 32)) & 255)
    return np.stack(channels, axis=-1).astype(np.uint8)[None]
