"""Against numbers that were made with the authors' code (protocols 2.4), and against our own past."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.corruptions import GENERATOR_VERSION, corrupt, sequence

# Mean and standard deviation for severities 1 to 5 of the image of that side: the authors' functions with
# NumPy 2.4.6, scikit-image 0.26.0, OpenCV 5.0.0 and Pillow 13.0.0.
GOLDEN = {
    ("defocus_blur", 224): [
        (125.862, 73.444), (125.863, 73.194), (125.863, 72.708), (127.538, 73.170), (127.268, 72.507)
    ],
    ("zoom_blur", 224): [
        (125.663, 71.438), (125.575, 70.552), (125.597, 69.645), (125.573, 68.932), (125.431, 67.947)
    ],
    ("brightness", 224): [
        (141.449, 78.261), (152.800, 79.626), (160.969, 79.856), (167.459, 79.985), (172.767, 80.494)
    ],
    ("contrast", 224): [
        (125.964, 29.705), (125.931, 22.284), (125.947, 14.875), (125.917, 7.479), (125.923, 3.818)
    ],
    ("pixelate", 224): [
        (126.791, 73.941), (126.857, 74.214), (126.599, 74.014), (126.579, 73.724), (126.762, 74.200)
    ],
    ("jpeg_compression", 224): [
        (126.461, 73.929), (126.728, 73.880), (126.575, 73.927), (126.439, 74.033), (126.501, 73.892)
    ],
    ("gaussian_blur", 224): [
        (125.960, 73.737), (125.957, 73.254), (125.952, 72.788), (125.949, 72.351), (125.957, 71.478)
    ],
    ("saturate", 224): [
        (162.621, 59.728), (173.051, 60.755), (102.557, 88.114), (100.696, 89.334), (100.696, 89.334)
    ],
    ("defocus_blur", 64): [
        (126.490, 73.596), (126.494, 73.475), (126.479, 73.120), (126.480, 72.386), (125.948, 72.018)
    ],
    ("zoom_blur", 64): [
        (124.993, 72.345), (125.036, 71.166), (125.034, 70.312), (124.983, 69.259), (124.940, 68.292)
    ],
    ("brightness", 64): [
        (141.524, 78.719), (152.700, 80.455), (160.413, 80.997), (166.144, 81.227), (170.705, 81.619)
    ],
    ("contrast", 64): [
        (126.281, 29.782), (126.219, 22.330), (126.260, 14.892), (126.219, 7.453), (126.167, 3.746)
    ],
    ("pixelate", 64): [
        (126.688, 73.683), (126.698, 73.659), (126.698, 74.232), (126.708, 74.016), (126.708, 74.412)
    ],
    ("jpeg_compression", 64): [
        (126.574, 73.496), (126.681, 73.061), (126.880, 73.430), (126.672, 73.386), (126.109, 73.342)
    ],
    ("gaussian_blur", 64): [
        (126.344, 73.785), (126.365, 73.278), (126.417, 72.930), (126.385, 72.562), (126.339, 72.195)
    ],
    ("saturate", 64): [
        (165.057, 58.568), (176.105, 59.700), (102.179, 89.429), (101.288, 90.041), (101.288, 90.041)
    ],
    ("defocus_blur", 32): [
        (125.708, 74.792), (125.708, 74.132), (125.708, 73.635), (125.708, 73.342), (125.708, 72.692)
    ],
    ("zoom_blur", 32): [
        (123.143, 72.462), (123.435, 71.284), (123.087, 70.353), (123.241, 69.351), (122.979, 68.261)
    ],
    ("brightness", 32): [
        (133.546, 77.722), (140.633, 79.500), (146.612, 80.582), (151.701, 81.298), (159.347, 81.923)
    ],
    ("contrast", 32): [
        (125.729, 56.509), (125.812, 37.663), (125.615, 30.161), (125.552, 22.598), (125.531, 11.350)
    ],
    ("pixelate", 32): [
        (126.021, 74.620), (126.021, 74.978), (126.021, 73.801), (126.062, 75.126), (126.083, 74.957)
    ],
    ("jpeg_compression", 32): [
        (125.853, 73.299), (126.093, 73.309), (126.158, 72.938), (125.886, 72.804), (126.437, 72.880)
    ],
    ("gaussian_blur", 32): [
        (125.562, 74.761), (125.583, 73.644), (125.562, 73.296), (125.583, 72.984), (125.542, 72.431)
    ],
    ("saturate", 32): [
        (164.826, 59.298), (175.998, 60.477), (107.748, 86.099), (101.484, 90.087), (101.275, 90.244)
    ],
}  # fmt: skip

VARIANTS = {224: "imagenet", 64: "tiny", 32: "cifar"}

# JPEG decoders round differently from version to version of their library; nothing else here does.
TOLERANCE = {"jpeg_compression": 0.2}

# CRC32 of the golden image at severity 3 or as a sequence, seed 0. JPEG and pixelate are left out: they are
# Pillow's. A generator version is never given two sets of pixels.
PINNED = {
    "2": {
        "gaussian_noise": 0x93352FD2,
        "shot_noise": 0x04EB9C41,
        "impulse_noise": 0xD9069E3B,
        "speckle_noise": 0xBBC4B4B3,
        "defocus_blur": 0x8B4AD68B,
        "brightness": 0x7E09DC3A,
        "contrast": 0x500D1718,
        "sequence gaussian_noise": 0x9D7CF84C,
        "sequence brightness": 0x84AF4F06,
        "sequence translate": 0xED5034C4,
        "sequence rotate": 0x275392E9,
        "sequence shot_noise": 0x8C49C367,
        "sequence zoom_blur": 0x337A9BF7,
        "sequence tilt": 0x6519810E,
        "sequence scale": 0xD60DB217,
        "sequence speckle_noise": 0xE47E58BA,
        "sequence gaussian_blur": 0x6AD652CF,
        "sequence shear": 0x486F5193,
    },
}


@pytest.mark.parametrize(
    ("side", "crc", "mean"), [(224, 0x0974D022, 126.4077), (64, 0xFFA5A4E9, None), (32, 0x011F8512, 126.0208)]
)
def test_the_image_of_the_golden_values_is_the_right_one(
    golden_image_of: Callable[[int], NDArray[np.uint8]], side: int, crc: int, mean: float | None
) -> None:
    image = golden_image_of(side)
    assert zlib.crc32(image.tobytes()) == crc
    assert mean is None or image.mean() == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize(("name", "side"), GOLDEN)
def test_mean_and_deviation_are_those_of_the_authors_code(
    golden_image_of: Callable[[int], NDArray[np.uint8]], name: str, side: int, severity: int
) -> None:
    result = corrupt(golden_image_of(side), name, severity, variant=VARIANTS[side])
    mean, deviation = GOLDEN[name, side][severity - 1]
    tolerance = TOLERANCE.get(name, 0.02)
    assert result.mean() == pytest.approx(mean, abs=tolerance)
    assert result.std() == pytest.approx(deviation, abs=tolerance)


def test_no_pixel_moves_without_a_new_generator_version(golden_image: NDArray[np.uint8]) -> None:
    made = {
        key: sequence(golden_image, key.split()[1]) if " " in key else corrupt(golden_image, key, 3)
        for key in PINNED[GENERATOR_VERSION]
    }
    found = {key: zlib.crc32(images.tobytes()) for key, images in made.items()}
    assert found == PINNED[GENERATOR_VERSION]
