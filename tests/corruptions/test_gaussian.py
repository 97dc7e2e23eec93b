"""The Gaussian filter against SciPy's and scikit-image's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from robustbench_safety.corruptions.gaussian import Border, gaussian_filter
from tests.corruptions.reference_blur import gaussian

Images = NDArray[np.uint8]


@pytest.mark.parametrize("border", ["nearest", "reflect"])
@pytest.mark.parametrize(("sigma", "truncate"), [(0.05, 4), (0.4, 4), (1, 4), (2.5, 3), (6, 4), (9.5, 3)])
@pytest.mark.parametrize("shape", [(32, 32), (41, 27)])
def test_the_filter_equals_scipys_to_the_bit(
    shape: tuple[int, int], sigma: float, truncate: float, border: Border
) -> None:
    values = np.random.default_rng(0).random((3, *shape))
    found = gaussian_filter(torch.from_numpy(values), sigma, border=border, truncate=truncate).numpy()
    for one, before in zip(found, values, strict=True):
        expected = ndimage.gaussian_filter(before, sigma, mode=border, truncate=truncate)
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("border", ["nearest", "reflect"])
def test_a_filter_that_reaches_beyond_the_image_agrees_with_scipys(border: Border) -> None:
    # Severity 1 of elastic transform at 224 pixels: sigma 171, so the mirror image of a mirror image counts.
    values = np.random.default_rng(0).random((2, 60, 50))
    found = gaussian_filter(torch.from_numpy(values), 170.8, border=border, truncate=3).numpy()
    for one, before in zip(found, values, strict=True):
        expected = ndimage.gaussian_filter(before, 170.8, mode=border, truncate=3)
        np.testing.assert_allclose(one, expected, rtol=1e-13)


def test_colours_are_filtered_apart_as_scikit_image_does(photos_of: Callable[[int, int], Images]) -> None:
    values = photos_of(64, 3) / 255.0
    found = gaussian_filter(torch.from_numpy(values), 1.25).numpy()
    for one, before in zip(found, values, strict=True):
        np.testing.assert_array_equal(one, gaussian(before, sigma=1.25, channel_axis=-1))


def test_single_precision_stays_single() -> None:
    values = np.random.default_rng(0).random((2, 20, 20))
    found = gaussian_filter(torch.from_numpy(values).float(), 1.0)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, gaussian_filter(torch.from_numpy(values), 1.0), rtol=0, atol=1e-6)


def test_a_point_spreads_as_worked_by_hand() -> None:
    # sigma 0.5, reach int(4 * 0.5 + 0.5) = 2: weights exp(-2 x^2) = 1, 0.135335, 0.000335, sum 1.271341.
    values = torch.zeros((1, 7, 7), dtype=torch.float64)
    values[0, 3, 3] = 1.271341**2
    row = gaussian_filter(values, 0.5)[0, 3, 1:6].tolist()
    assert row == pytest.approx([0.000335, 0.135335, 1, 0.135335, 0.000335], abs=1e-5)
