"""Blur: every value becomes a weighted mean of its neighbourhood."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.pixels import to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["defocus_blur", "defocus_kernel"]


def defocus_blur(images: torch.Tensor, parameters: Parameters, _draws: Draws) -> torch.Tensor:
    """Filter every channel with a disk; ``parameters`` is (radius, alias_blur), both in pixels.

    The border is mirrored without repeating the edge (OpenCV's reflect-101).
    """
    kernel = defocus_kernel(*parameters)
    n, height, width, channels = images.shape
    reach = kernel.shape[0] // 2
    padded = to_unit(_mirror(images, reach)).flatten(2)
    # One shifted copy of the batch for each tap: with the 3 by 3 or 5 by 5 taps of 32 pixels eight times
    # faster than conv2d in float64. Rows are kept flat, so that a shift by a column is one by 3 values.
    blurred = torch.zeros((n, height, width * channels), dtype=padded.dtype, device=padded.device)
    term = torch.empty_like(blurred)
    for row, column in np.argwhere(kernel > 0).tolist():
        start = column * channels
        shifted = padded[:, row : row + height, start : start + width * channels]
        blurred.add_(torch.mul(shifted, float(kernel[row, column]), out=term))
    return to_bytes(blurred).view(images.shape)


def defocus_kernel(radius: float, alias_blur: float) -> NDArray[np.float64]:
    """Return the disk, blurred at its edge, cut to the square that it fills: float64 [side, side].

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
    return disk[filled, filled].astype(np.float64)


def _gaussian_taps(size: int, sigma: float) -> NDArray[np.float32]:
    """OpenCV's ``getGaussianKernel``: exp(-x^2 / 2 sigma^2) at whole x, made to sum to 1, then float32."""
    offsets = np.arange(size) - size // 2
    taps: NDArray[np.float64] = np.exp(-(offsets**2) / (2 * sigma**2))
    taps /= taps.sum()
    return taps.astype(np.float32)


def _filter_rows(values: NDArray[np.float32], taps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Correlate every row of ``values`` with ``taps``, border reflect-101, in float32."""
    reach, width = len(taps) // 2, values.shape[1]
    padded = np.pad(values, ((0, 0), (reach, reach)), mode="reflect")
    filtered = np.zeros_like(values)
    for offset, tap in enumerate(taps):
        filtered += tap * padded[:, offset : offset + width]
    return filtered


def _mirror(images: torch.Tensor, reach: int) -> torch.Tensor:
    """Return ``images`` [N, H, W, C] grown by ``reach`` pixels on each side, reflect-101."""
    for axis in (1, 2):
        side = images.shape[axis]
        index = torch.arange(-reach, side + reach, device=images.device).abs()
        images = images.index_select(axis, (side - 1) - ((side - 1) - index).abs())
    return images
