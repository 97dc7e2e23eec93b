"""Contrast, pixelate and JPEG against one-image transcriptions and cases worked by hand."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES

Images = NDArray[np.uint8]

SMALL_SIDES = {
    "imagenet": [134, 112, 89, 67, 56],
    "inception": [149, 119, 89, 74, 59],
    "tiny": [57, 51, 44, 38, 32],
    "cifar": [30, 28, 27, 24, 20],
}
severities = pytest.mark.parametrize("severity", range(1, 6))
variants = pytest.mark.parametrize("variant", SIDES)


@pytest.fixture
def pictures(photos_of: Callable[[int, int], Images], variant: str) -> Images:
    side = SIDES[variant]
    return photos_of(side, 20 if side == 32 else 2)


@severities
@variants
def test_contrast_equals_the_one_image_transcription(pictures: Images, variant: str, severity: int) -> None:
    (factor,) = SEVERITIES["contrast"][variant][severity - 1]
    for image, found in zip(pictures, corrupt(pictures, "contrast", severity, variant=variant), strict=True):
        x = image / 255.0
        means = np.mean(x, axis=(0, 1), keepdims=True)
        expected = np.clip((x - means) * factor + means, 0, 1) * 255
        np.testing.assert_array_equal(found, expected.astype(np.uint8))


def test_contrast_of_two_levels_is_as_worked_by_hand() -> None:
    # Half 10, half 201: mean 105.5. Half the distance: 57.75 and 153.25, truncated. The mean is the
    # channel's own: a flat channel stays as it is, up to a level of truncation.
    image = np.full((1, 32, 32, 3), 10, dtype=np.uint8)
    image[:, 16:] = 201
    image[..., 2] = 90
    result = corrupt(image, "contrast", 2)
    assert result[0, 0, 0, :2].tolist() == [57, 57]
    assert result[0, 31, 0, :2].tolist() == [153, 153]
    assert set(np.unique(result[..., 2])) <= {89, 90}


@severities
@variants
def test_pixelate_is_two_box_resizes_by_pillow(pictures: Images, variant: str, severity: int) -> None:
    side, small_side = SIDES[variant], SMALL_SIDES[variant][severity - 1]
    for image, found in zip(pictures, corrupt(pictures, "pixelate", severity, variant=variant), strict=True):
        small = Image.fromarray(image).resize((small_side, small_side), Image.Resampling.BOX)
        expected = np.asarray(small.resize((side, side), Image.Resampling.BOX))
        np.testing.assert_array_equal(found, expected)


@severities
def test_pixelate_leaves_no_more_rows_than_the_small_picture_has(
    photos: NDArray[np.uint8], severity: int
) -> None:
    result = corrupt(photos[:1], "pixelate", severity)[0]
    new_rows = 1 + (result[1:] != result[:-1]).any(axis=(1, 2)).sum()
    assert new_rows <= SMALL_SIDES["cifar"][severity - 1]


@severities
@variants
def test_jpeg_compression_saves_at_its_quality_and_loads_again(
    pictures: Images, variant: str, severity: int
) -> None:
    (quality,) = SEVERITIES["jpeg_compression"][variant][severity - 1]
    corrupted = corrupt(pictures, "jpeg_compression", severity, variant=variant)
    for image, found in zip(pictures, corrupted, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, format="JPEG", quality=int(quality))
        np.testing.assert_array_equal(found, np.asarray(Image.open(file).convert("RGB")))


def test_jpeg_compression_loses_more_at_every_severity(photos: NDArray[np.uint8]) -> None:
    losses = [
        np.square(corrupt(photos, "jpeg_compression", severity).astype(float) - photos).mean()
        for severity in range(1, 6)
    ]
    assert losses == sorted(losses)
    assert losses[0] > 0
