"""Corruptions of C-bar by cubic splines: a blur round the middle, and colours of different sizes.

All functions take images uint8 [N, S, S, 3], the level of 0 to 10 as only parameter and draws, and return
uint8 of the same shape on the same device. The splines are SciPy's (``ndimage``, mode "constant"): linear in
the pixels, so one matrix serves a batch.

Source: as ``bar.py``; SciPy 1.17, ndimage/_interpolation.py and src/ni_interpolation.c.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions.bar_planes import truncated
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["circular_motion_blur", "transverse_chromatic_abberation"]

#: A product of matrices adds in an order that the size of the batch decides, off by about 1e-13 of a grey
#: level. Whole levels, as in flat regions, and halves must not fall on different sides of a step for it.
_SLACK = 1e-6
#: Turned copies of which the blur is made.
_COPIES = 21


def circular_motion_blur(images: torch.Tensor, parameters: Parameters, _draws: Draws) -> torch.Tensor:
    """Take the mean of the picture turned by up to 1.5 times the level in degrees; (level,)."""
    (level,) = parameters
    n, side = images.shape[:2]
    blur = torch.from_numpy(_turning(side, 1.5 * level)).to(images.device)
    planes = images.permute(0, 3, 1, 2).reshape(-1, side * side).double()
    blurred = planes.matmul(blur.T).view(n, 3, side, side)
    return truncated(blurred.permute(0, 2, 3, 1) + _SLACK)


def transverse_chromatic_abberation(
    images: torch.Tensor, parameters: Parameters, draws: Draws
) -> torch.Tensor:
    """Enlarge one colour, and another half as much, in an order that is drawn; ``parameters`` is (level,).

    A slip of the authors, name included: the picture is taken for the spline's coefficients, which blurs all
    three colours. And where the enlarged side is odd, the part that is kept lies half a pixel off its middle.
    """
    (level,) = parameters
    side, largest = images.shape[1], 0.05 * level
    zooms = np.stack([_zoom(side, 1 + share * largest) for share in (0, 0.5, 1)])
    order = draws.random((3,)).argsort(1)
    across = torch.from_numpy(zooms).to(images.device)[order]
    zoomed = across @ images.permute(0, 3, 1, 2).double() @ across.mT
    return truncated(zoomed.permute(0, 2, 3, 1) + (0.5 + _SLACK))


def _turning(side: int, most: float) -> NDArray[np.float64]:
    """Return the blur by turns of -``most`` to ``most`` degrees as a matrix [side * side, side * side]."""
    size, middle = side * side, (side - 1) / 2
    down, across = np.mgrid[:side, :side].reshape(2, -1) - middle
    target = np.broadcast_to(np.arange(size)[:, None, None] * size, (size, 4, 4))
    matrix, total = np.zeros(size * size), 0.0
    for copy in range(_COPIES):
        place = 2 * copy / (_COPIES - 1) - 1
        factor, turn = math.exp(-2 * place**2), math.radians(place * most)
        total += factor
        rows, row_weights = _taps(middle + math.cos(turn) * down + math.sin(turn) * across, side)
        columns, column_weights = _taps(middle - math.sin(turn) * down + math.cos(turn) * across, side)
        index = target + rows[:, :, None] * side + columns[:, None, :]
        weights = factor * row_weights[:, :, None] * column_weights[:, None, :]
        matrix += np.bincount(index.ravel(), weights.ravel(), minlength=size * size)
    # Pixels to coefficients, along rows and along columns.
    filtering = np.linalg.inv(_spline(np.arange(side, dtype=np.float64), side))
    planes = (matrix / total).reshape(size, side, side)
    return (filtering.T @ planes @ filtering).reshape(size, size)


def _zoom(side: int, scale: float) -> NDArray[np.float64]:
    """Return the middle ``side`` rows of ``side`` rows enlarged by ``scale``, as a matrix [side, side]."""
    enlarged = round(side * scale)
    edge = (enlarged - side) // 2
    at = np.arange(edge, edge + side, dtype=np.float64) * ((side - 1) / (enlarged - 1))
    return _spline(at, side)


def _spline(at: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the values at positions ``at`` [P] of a spline of ``size`` coefficients: matrix [P, size]."""
    index, weights = _taps(at, size)
    matrix = np.zeros((len(at), size))
    np.add.at(matrix, (np.arange(len(at))[:, None], index), weights)
    return matrix


def _taps(at: NDArray[np.float64], size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the four coefficients around each position and their weights, 0 outside: [P, 4] each.

    Beyond the edge the coefficients are mirrored at the last one.
    """
    first = np.floor(at).astype(np.int64)
    t = at - first
    weights = np.stack(
        (
            (1 - t) ** 3 / 6,
            (t * t * (t - 2) * 3 + 4) / 6,
            ((1 - t) ** 2 * (-1 - t) * 3 + 4) / 6,
            t**3 / 6,
        ),
        axis=-1,
    )
    index = np.abs(first[:, None] + np.arange(-1, 3))
    index = size - 1 - np.abs(size - 1 - index)
    inside = (at >= 0) & (at <= size - 1)
    return np.where(inside[:, None], index, 0), weights * inside[:, None]
