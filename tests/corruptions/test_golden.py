"""Against numbers that were made with the authors' code (protocols 2.4), and against our own past."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.corruptions import GENERATOR_VERSION, corrupt, sequence

# Mean and standard deviation for severities 1 to 5: the authors' functions with NumPy 2.4.6, scikit-image
# 0.26.0, OpenCV 5.0.0 and Pillow 13.0.0.
GOLDEN = {
    "defocus_blur": [(125.708, s) for s in (74.792, 74.132, 73.635, 73.342, 72.692)],
    "brightness": [
        (133.546, 77.722), (140.633, 79.500), (146.612, 80.582), (151.701, 81.298), (159.347, 81.923)
    ],
    "contrast": [
        (125.729, 56.509), (125.812, 37.663), (125.615, 30.161), (125.552, 22.598), (125.531, 11.350)
    ],
    "pixelate": [
        (126.021, 74.620), (126.021, 74.978), (126.021, 73.801), (126.062, 75.126), (126.083, 74.957)
    ],
    "jpeg_compression": [
        (125.853, 73.299), (126.093, 73.309), (126.158, 72.938), (125.886, 72.804), (126.437, 72.880)
    ],
}  # fmt: skip

# JPEG decoders round differently from version to version of their library; nothing else here does.
TOLERANCE = {"jpeg_compression": 0.2}

# CRC32 of the golden image at severity 3 or as a sequence, seed 0. JPEG and pixelate are left out: they are
# Pillow's. A generator version is never given two sets of pixels.
PINNED = {
    "1": {
        "gaussian_noise": 0x307D9600,
        "shot_noise": 0xC473A93D,
        "impulse_noise": 0x12571353,
        "defocus_blur": 0x8B4AD68B,
        "brightness": 0x7E09DC3A,
        "contrast": 0x500D1718,
        "sequence gaussian_noise": 0x30B8476D,
        "sequence brightness": 0x84AF4F06,
        "sequence translate": 0xED5034C4,
        "sequence rotate": 0x5FDA929C,
    },
}


def test_the_image_of_the_golden_values_is_the_right_one(golden_image: NDArray[np.uint8]) -> None:
    assert zlib.crc32(golden_image.tobytes()) == 0x011F8512
    assert golden_image.mean() == pytest.approx(126.0208, abs=1e-4)


@pytest.mark.parametrize(("name", "severity"), [(name, s) for name in GOLDEN for s in range(1, 6)])
def test_mean_and_deviation_are_those_of_the_authors_code(
    golden_image: NDArray[np.uint8], name: str, severity: int
) -> None:
    result = corrupt(golden_image, name, severity)
    mean, deviation = GOLDEN[name][severity - 1]
    tolerance = TOLERANCE.get(name, 0.02)
    assert result.mean() == pytest.approx(mean, abs=tolerance)
    assert result.std() == pytest.approx(deviation, abs=tolerance)


def test_no_pixel_moves_without_a_new_generator_version(golden_image: NDArray[np.uint8]) -> None:
    names = ["gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "brightness", "contrast"]
    found = {name: zlib.crc32(corrupt(golden_image, name, 3).tobytes()) for name in names}
    clips = [key for key in PINNED[GENERATOR_VERSION] if key.startswith("sequence ")]
    found |= {key: zlib.crc32(sequence(golden_image, key.split()[1]).tobytes()) for key in clips}
    assert found == PINNED[GENERATOR_VERSION]
