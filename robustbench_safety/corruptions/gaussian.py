"""Gaussian filters as SciPy makes them, on which scikit-image's rest, for a batch and to the last bit.

The last bit matters: a flat region of a picture keeps its grey level or loses one to the truncation, as the
sum of the weights falls on one side of 1 or on the other.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["gaussian_filter"]

Border = Literal["nearest", "reflect"]

#: Reach in pixels beyond which a matrix is faster than shifted copies. It adds in an order of its own, so it
#: is off by about 1e-15; only elastic_transform of large images reaches that far.
_FAR = 32


def gaussian_filter(
    values: torch.Tensor, sigma: float, *, border: Border = "nearest", truncate: float = 4.0
) -> torch.Tensor:
    """Return ``values`` filtered along height and width.

    Args:
        values: Floats [N, H, W] or [N, H, W, C].
        sigma: In pixels.
        border: What lies beyond the edge: "nearest" repeats the last pixel, "reflect" mirrors the image, the
            last pixel included (SciPy's names).
        truncate: The filter ends at this many sigmas, rounded to whole pixels.

    Returns:
        Same shape, dtype and device. In float64 equal to ``scipy.ndimage.gaussian_filter`` to the bit (up to
        a reach of 32 pixels), on every device and for every batch.

    Source: SciPy 1.17, ndimage/_filters.py (weights) and src/ni_filters.c, NI_Correlate1D (order of the sum).
    """
    taps = _taps(sigma, truncate)
    if len(taps) > _FAR + 1:
        return _by_matrices(values, taps, border)
    for axis in (1, 2):
        if len(taps) > 1:
            values = _along(axis, values, taps, border)
    return values


def _taps(sigma: float, truncate: float) -> NDArray[np.float64]:
    """Return the weights of offsets 0, 1, ..., reach."""
    reach = int(truncate * sigma + 0.5)
    weights: NDArray[np.float64] = np.exp(-0.5 / (sigma * sigma) * np.arange(-reach, reach + 1) ** 2)
    weights /= weights.sum()
    return weights[reach:]


def _along(axis: int, values: torch.Tensor, taps: NDArray[np.float64], border: Border) -> torch.Tensor:
    size, reach = values.shape[axis], len(taps) - 1
    padded = values.index_select(axis, _sources(size, reach, border).to(values.device))
    filtered = padded.narrow(axis, reach, size).mul(float(taps[0]))
    pair = torch.empty_like(filtered)
    # SciPy's order: the middle, then pairs from the outermost in. Two operations, so that none is fused.
    for offset in range(reach, 0, -1):
        before, after = padded.narrow(axis, reach - offset, size), padded.narrow(axis, reach + offset, size)
        filtered.add_(torch.add(before, after, out=pair).mul_(float(taps[offset])))
    return filtered


def _by_matrices(values: torch.Tensor, taps: NDArray[np.float64], border: Border) -> torch.Tensor:
    n, height, width = values.shape[:3]
    down = _matrix(height, taps, border).to(values)
    across = down if width == height else _matrix(width, taps, border).to(values)
    filtered = torch.matmul(down, values.reshape(n, height, -1)).view(n, height, width, -1)
    return torch.matmul(across, filtered).view(values.shape)


def _matrix(size: int, taps: NDArray[np.float64], border: Border) -> torch.Tensor:
    """Return the filter of one axis as a float64 matrix [size, size], the border folded in."""
    reach = len(taps) - 1
    sources = _sources(size, reach, border)
    matrix = torch.zeros((size, size), dtype=torch.float64)
    rows = torch.arange(size)
    for offset in range(-reach, reach + 1):
        weight = torch.full((size,), float(taps[abs(offset)]), dtype=torch.float64)
        matrix.index_put_((rows, sources[rows + reach + offset]), weight, accumulate=True)
    return matrix


def _sources(size: int, reach: int, border: Border) -> torch.Tensor:
    """Return which of ``size`` pixels stands at -reach, ..., size + reach - 1."""
    index = torch.arange(-reach, size + reach)
    if border == "nearest":
        return index.clamp(0, size - 1)
    index = index.remainder(2 * size)
    return torch.minimum(index, 2 * size - 1 - index)
