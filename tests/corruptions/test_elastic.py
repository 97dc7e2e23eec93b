"""Elastic transform against OpenCV and SciPy on the same draws, its parts against cases worked by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.elastic import elastic_transform
from robustbench_safety.corruptions.severities import SEVERITIES, SIDES
from robustbench_safety.streams import random_stream
from tests.corruptions import reference

Images = NDArray[np.uint8]
NAME = "elastic_transform"


class Fixed:
    """Draws that are what the test says."""

    def __init__(self, uniform: torch.Tensor) -> None:
        self.uniform = uniform

    def random(self, shape: tuple[int, ...]) -> torch.Tensor:
        assert self.uniform.shape[1:] == shape
        return self.uniform.clone()


def still(side: int) -> torch.Tensor:
    """Draws in the middle of their range, which move nothing."""
    return torch.full((1, 6 + 2 * side * side), 0.5, dtype=torch.float64)


def differences(pictures: Images, variant: str, severity: int, **options: object) -> NDArray[np.int64]:
    found = corrupt(pictures, NAME, severity, seed=3, variant=variant)
    parameters = SEVERITIES[NAME][variant][severity - 1]
    expected = [
        reference.elastic(
            image,
            parameters,
            random_stream(3, "corruption", NAME, severity, f"{index:05d}"),
            **options,  # type: ignore[arg-type,unused-ignore]
        )
        for index, image in enumerate(pictures)
    ]
    return np.abs(found.astype(np.int64) - np.stack(expected))


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize(("variant", "side"), SIDES.items())
def test_it_equals_the_one_image_transcription_on_the_same_draws(
    photos_of: Callable[[int, int], Images], variant: str, side: int, severity: int
) -> None:
    difference = differences(photos_of(side, 20 if side == 32 else 1), variant, severity)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.015


@pytest.mark.parametrize(("variant", "severity"), [("imagenet", 3), ("imagenet", 5), ("cifar", 5)])
def test_opencv_as_installed_agrees_but_for_its_rounding_of_places(
    photos_of: Callable[[int, int], Images], variant: str, severity: int
) -> None:
    # Version 5 no longer rounds places to a 32nd of a pixel: seen 0.13 % of the values more than a level off.
    pictures = photos_of(SIDES[variant], 4)
    difference = differences(pictures, variant, severity, warp=reference.warp_as_installed)
    assert (difference > 1).mean() < 0.005


def test_draws_in_the_middle_of_their_range_move_nothing(photos: Images) -> None:
    image = torch.from_numpy(photos[:1])
    found = elastic_transform(image, (3.0, 1.0, 2.0), Fixed(still(32)))  # type: ignore[arg-type,unused-ignore]
    # In float32 level / 255 * 255 can fall just below the level, which truncation takes for the one below.
    assert (image.int() - found).min() >= 0
    assert (image.int() - found).max() <= 1


def test_three_corners_moved_alike_move_the_picture_as_worked_by_hand(photos: Images) -> None:
    # Jitter 2 and draws of (1, 0.5): every corner goes 2 pixels right and none down, and so does all.
    uniform = still(32)
    uniform[:, [0, 2, 4]] = 1.0
    image = torch.from_numpy(photos[:1])
    found = elastic_transform(image, (0.0, 0.0, 2.0), Fixed(uniform))  # type: ignore[arg-type,unused-ignore]
    moved = photos[:1, :, :-2].astype(int) - found.numpy()[:, :, 2:]
    assert set(np.unique(moved)) <= {0, 1}
    # What comes in is the mirror image, the outermost column not repeated: columns 2 and 1.
    mirrored = photos[:1, :, [2, 1]].astype(int) - found.numpy()[:, :, :2]
    assert set(np.unique(mirrored)) <= {0, 1}


@pytest.mark.parametrize("sigma", [0.3, 2.44, 19.52, 170.8])
def test_smoothing_is_that_of_scipy_even_where_the_kernel_is_wider_than_the_picture(sigma: float) -> None:
    from robustbench_safety.corruptions.elastic import _smooth

    fields = np.random.default_rng(0).uniform(-1, 1, (2, 2, 40, 30))
    found = _smooth(torch.from_numpy(fields), sigma).numpy()
    expected = [
        ndimage.gaussian_filter(field, sigma, mode="reflect", truncate=3)
        for field in fields.reshape(4, 40, 30)
    ]
    np.testing.assert_allclose(found.reshape(4, 40, 30), expected, atol=1e-6)


def test_the_base_of_imagenet_is_the_slip_244() -> None:
    assert SEVERITIES[NAME]["imagenet"][0] == pytest.approx((244 * 2, 244 * 0.7, 244 * 0.1))
