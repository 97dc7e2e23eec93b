"""Defocus blur against SciPy's convolution and against kernels worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.blur import defocus_kernel

SETTINGS = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)]


def reference_kernel(radius: float, alias_blur: float) -> NDArray[np.float64]:
    """Repeat OpenCV's two passes with SciPy, rounded to float32 after each, as the authors' kernel is."""
    x, y = np.meshgrid(np.arange(-8, 9), np.arange(-8, 9))
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    taps = np.exp(-(np.array([-1, 0, 1]) ** 2) / (2 * alias_blur**2))
    taps = (taps / taps.sum()).astype(np.float32)
    along_x = ndimage.correlate1d(disk / disk.sum(), taps, axis=1, mode="mirror")
    kernel: NDArray[np.float32] = ndimage.correlate1d(along_x, taps, axis=0, mode="mirror")
    return kernel.astype(np.float64)


@pytest.mark.parametrize("severity", range(1, 6))
def test_defocus_blur_agrees_with_a_convolution_by_scipy(photos: NDArray[np.uint8], severity: int) -> None:
    kernel = reference_kernel(*SETTINGS[severity - 1])[None, :, :, None]
    # mode="mirror" is OpenCV's reflect-101. With a kernel in double precision up to 4 % of the values fall to
    # the other side of a whole level.
    blurred = ndimage.convolve(photos / 255.0, kernel, mode="mirror")
    expected = (np.clip(blurred, 0, 1) * 255).astype(np.uint8)
    difference = np.abs(corrupt(photos, "defocus_blur", severity).astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


@pytest.mark.parametrize(("radius", "alias_blur"), [*SETTINGS, (3, 0.1), (6, 0.5), (10, 0.5), (12, 0.5)])
def test_the_kernel_is_symmetric_in_all_eight_ways(radius: float, alias_blur: float) -> None:
    kernel = defocus_kernel(radius, alias_blur)
    for image in (kernel[::-1], kernel[:, ::-1], kernel.T):
        np.testing.assert_allclose(image, kernel, atol=1e-8)


@pytest.mark.parametrize(("radius", "alias_blur"), SETTINGS)
def test_the_kernel_sums_to_one_in_single_precision(radius: float, alias_blur: float) -> None:
    assert defocus_kernel(radius, alias_blur).sum() == pytest.approx(1, abs=1e-7)


def test_a_disk_of_less_than_a_pixel_is_a_plain_gaussian_kernel() -> None:
    # By hand, sigma 0.5: exp(-1 / 0.5) = 0.135335; taps 0.135335 / 1.270671 = 0.106507 and 0.786986.
    kernel = defocus_kernel(0.4, 0.5)
    taps = [0.106507, 0.786986, 0.106507]
    np.testing.assert_allclose(kernel, np.outer(taps, taps), atol=1e-6)


def test_a_disk_of_one_pixel_is_a_cross() -> None:
    # By hand: five pixels of 0.2; the edge blur of sigma 0.2 moves exp(-12.5) = 3.7e-6 of each to every side.
    kernel = defocus_kernel(1, 0.2)
    cross = np.zeros((5, 5))
    cross[2, 1:4] = cross[1:4, 2] = 0.2
    np.testing.assert_allclose(kernel, cross, atol=4e-6)


@pytest.mark.parametrize("severity", range(1, 6))
def test_defocus_blur_leaves_flat_images_alone(flats: NDArray[np.uint8], severity: int) -> None:
    # The float32 kernels of this variant all sum to a little more than 1, so truncation costs no level.
    np.testing.assert_array_equal(corrupt(flats, "defocus_blur", severity), flats)
