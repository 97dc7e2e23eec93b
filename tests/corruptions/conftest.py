"""Small images for the tests of corruptions: real ones and the one of the golden values."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

Images = NDArray[np.uint8]


@pytest.fixture(scope="session")
def textures(shared: Path) -> Path:
    """Return the folder of the pictures that frost is made of; without them the test is skipped."""
    return shared / "data" / "samples" / "frost"


@pytest.fixture(scope="session")
def imagemagick() -> str:
    """Return the command of ImageMagick 6 with 16 bits, which the definition was read from."""
    for name in ("/usr/bin/convert", "convert", "convert-im6.q16"):
        if (command := shutil.which(name)) is None:
            continue
        answer = subprocess.run([command, "-version"], capture_output=True, text=True, check=False).stdout
        if "ImageMagick 6" in answer and "Q16" in answer and "Q16-HDRI" not in answer:
            return command
    pytest.skip("ImageMagick 6 is not installed: apt-get install imagemagick")


@pytest.fixture(autouse=True)
def _data_root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make the user's own data root unseen, and let frost find its pictures where a test is about frost."""
    monkeypatch.setenv("RBS_DATA", str(tmp_path))
    arguments = getattr(request.node, "callspec", None)
    if arguments is not None and arguments.params.get("name") == "frost":
        (tmp_path / "frost-textures").symlink_to(request.getfixturevalue("textures"))


@pytest.fixture(scope="session")
def photos_of() -> Callable[[int, int], Images]:
    """Return a function of a side and a number n: n crops from two photographs, uint8 [n, side, side, 3]."""
    pictures = load_sample_images().images

    def crops(side: int, n: int) -> Images:
        rng = np.random.default_rng(0)
        found = []
        for index in range(n):
            picture = pictures[index * len(pictures) // n]
            top, left = rng.integers(0, picture.shape[0] - side), rng.integers(0, picture.shape[1] - side)
            found.append(picture[top : top + side, left : left + side])
        return np.stack(found).astype(np.uint8)

    return crops


@pytest.fixture(scope="session")
def photos(photos_of: Callable[[int, int], Images]) -> Images:
    """Twenty crops of 32 by 32 pixels from two photographs: uint8 [20, 32, 32, 3]."""
    return photos_of(32, 20)


@pytest.fixture(scope="session")
def flats() -> Images:
    """Every grey level as a flat image, where truncation bites: uint8 [256, 32, 32, 3]."""
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    return np.repeat(np.broadcast_to(levels, (256, 32, 32, 1)), 3, axis=3)


@pytest.fixture(scope="session")
def golden_image_of() -> Callable[[int], Images]:
    """Return the test image of the golden values (protocols 2.4) by its side: uint8 [1, side, side, 3]."""

    def image(side: int) -> Images:
        y, x = np.mgrid[:side, :side]
        channels = (x * 255 // (side - 1), y * 255 // (side - 1), ((x ^ y) * (256 // side)) & 255)
        return np.stack(channels, axis=-1).astype(np.uint8)[None]

    return image


@pytest.fixture(scope="session")
def golden_image(golden_image_of: Callable[[int], Images]) -> Images:
    """Return the test image of the golden values, side 32: uint8 [1, 32, 32, 3]."""
    return golden_image_of(32)
