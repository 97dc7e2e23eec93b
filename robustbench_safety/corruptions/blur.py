"""Blur: every value becomes a weighted mean of its neighbourhood."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.gaussian import gaussian_filter
from robustbench_safety.corruptions.pixels import to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["defocus_blur", "defocus_kernel", "gaussian_blur"]


#: Side of a kernel up to which shifted copies are used, and of an image from which a Fourier transform is:
#: it wins from about 25 taps at 224 pixels (1.6 ms for any kernel, 0.08 ms a tap) and not at all at 64.
_SMALL_KERNEL, _LARGE_IMAGE = 7, 128


def gaussian_blur(images: torch.Tensor, parameters: Parameters, _draws: Draws) -> torch.Tensor:
    """Filter every channel with a Gaussian; ``parameters`` is (sigma,) in pixels."""
    (sigma,) = parameters
    return to_bytes(gaussian_filter(to_unit(images), sigma))


def defocus_blur(images: torch.Tensor, parameters: Parameters, _draws: Draws) -> torch.Tensor:
    """Filter every channel with a disk; ``parameters`` is (radius, alias_blur), both in pixels.

    The border is mirrored without repeating the edge (OpenCV's reflect-101).
    """
    radius, alias_blur = parameters
    kernel = defocus_kernel(radius, alias_blur)
    if len(kernel) <= _SMALL_KERNEL or images.shape[1] < _LARGE_IMAGE:
        padded = to_unit(_mirror(images, len(kernel) // 2))
        return to_bytes(_shifted_sum(padded, kernel)).view(images.shape)
    return _by_fourier(images, radius, alias_blur, reach=len(kernel) // 2)


def _shifted_sum(padded: torch.Tensor, kernel: NDArray[np.float64]) -> torch.Tensor:
    """Correlate ``padded`` [N, H + side - 1, W + side - 1, C] with ``kernel``: [N, H, W * C]."""
    n, padded_height, padded_width, channels = padded.shape
    side = kernel.shape[0]
    height, width = padded_height - side + 1, padded_width - side + 1
    rows = padded.flatten(2)
    # One shifted copy of the batch for each tap: with the 3 by 3 or 5 by 5 taps of 32 pixels eight times
    # faster than conv2d in float64. Rows are kept flat, so that a shift by a column is one by 3 values.
    blurred = torch.zeros((n, height, width * channels), dtype=padded.dtype, device=padded.device)
    term = torch.empty_like(blurred)
    for row, column in np.argwhere(kernel > 0).tolist():
        start = column * channels
        shifted = rows[:, row : row + height, start : start + width * channels]
        blurred.add_(torch.mul(shifted, float(kernel[row, column]), out=term))
    return blurred


def _by_fourier(images: torch.Tensor, radius: float, alias_blur: float, *, reach: int) -> torch.Tensor:
    """Return ``images`` [N, H, W, C] filtered by a kernel of side 2 * reach + 1, the way OpenCV does it.

    In float64: off by 1e-13 levels, where the sum of the kernel may differ from 1 by 6e-9. In float32, twice
    as fast, chance would decide the level of flat regions.
    """
    _, height, width, _ = images.shape
    size = _fast_size(height + 2 * reach), _fast_size(width + 2 * reach)
    planes = images.permute(0, 3, 1, 2).contiguous().double()
    margins = (reach, size[1] - width - reach, reach, size[0] - height - reach)
    spectrum = torch.fft.rfft2(functional.pad(planes, margins, mode="reflect"))
    spectrum.mul_(_kernel_spectrum(radius, alias_blur, size).to(images.device))
    blurred: torch.Tensor = torch.fft.irfft2(spectrum, s=size)
    # What wraps round lies behind the part that is kept.
    levels = blurred[:, :, :height, :width].clamp_(0.0, 255.0).permute(0, 2, 3, 1)
    return torch.empty_like(images, memory_format=torch.contiguous_format).copy_(levels)


@lru_cache(maxsize=16)
def _kernel_spectrum(radius: float, alias_blur: float, size: tuple[int, int]) -> torch.Tensor:
    """Return what a spectrum is multiplied by to correlate with the kernel, on the CPU.

    Kept, because it takes a fifth of the time of an image of 224 pixels.
    """
    kernel = torch.tensor(defocus_kernel(radius, alias_blur))
    spectrum: torch.Tensor = torch.fft.rfft2(kernel, s=size)
    return spectrum.conj().resolve_conj()


def _fast_size(at_least: int) -> int:
    """Return the next even size without a prime factor above 5: odd ones take a third longer."""
    size = at_least + at_least % 2
    while 30**10 % size:
        size += 2
    return size


@lru_cache(maxsize=32)
def defocus_kernel(radius: float, alias_blur: float) -> NDArray[np.float64]:
    """Return the disk, blurred at its edge, cut to the square that it fills: float64 [side, side], read-only.

    Slips of the authors that are kept, because the published files hold them:

    - The disk lies on whole pixels, so one of radius below 1 is a single pixel: severities 1 to 3 of CIFAR-C
      are plain 3 by 3 Gaussian blurs.
    - It is made in float32. The sum differs from 1 by up to 4e-8, which decides whether a flat region keeps
      its grey level or loses one to the truncation.
    """
    reach, size = (8, 3) if radius <= 8 else (int(radius), 5)
    grid = np.arange(-reach, reach + 1)
    disk = (grid[:, None] ** 2 + grid[None, :] ** 2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    taps = _gaussian_taps(size, alias_blur)
    disk = _filter_rows(_filter_rows(disk, taps).T, taps).T
    support = int(np.abs(grid[(disk > 0).any(axis=0)]).max())
    filled = slice(reach - support, reach + support + 1)
    kernel: NDArray[np.float64] = disk[filled, filled].astype(np.float64)
    kernel.flags.writeable = False
    return kernel


def _gaussian_taps(size: int, sigma: float) -> NDArray[np.float32]:
    """OpenCV's ``getGaussianKernel``: exp(-x^2 / 2 sigma^2) at whole x, made to sum to 1, then float32."""
    offsets = np.arange(size) - size // 2
    taps: NDArray[np.float64] = np.exp(-(offsets**2) / (2 * sigma**2))
    taps /= taps.sum()
    return taps.astype(np.float32)


def _filter_rows(values: NDArray[np.float32], taps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Correlate every row of ``values`` with ``taps``, border reflect-101, in float32 as OpenCV adds.

    The middle first, then pairs from the inside out, each product added unrounded (fused). Another
    order moves the last bits, and the kernel of radius 6 then sums to more than 1 and not to less.
    """
    reach, width = len(taps) // 2, values.shape[1]
    padded = np.pad(values, ((0, 0), (reach, reach)), mode="reflect")
    filtered: NDArray[np.float32] = taps[reach] * values
    for offset in range(1, reach + 1):
        before = padded[:, reach - offset : reach - offset + width]
        after = padded[:, reach + offset : reach + offset + width]
        product = (before + after).astype(np.float64) * float(taps[reach + offset])
        filtered = (product + filtered).astype(np.float32)
    return filtered


def _mirror(images: torch.Tensor, reach: int) -> torch.Tensor:
    """Return ``images`` [N, H, W, C] grown by ``reach`` pixels on each side, reflect-101."""
    for axis in (1, 2):
        side = images.shape[axis]
        index = torch.arange(-reach, side + reach, device=images.device).abs()
        images = images.index_select(axis, (side - 1) - ((side - 1) - index).abs())
    return images
