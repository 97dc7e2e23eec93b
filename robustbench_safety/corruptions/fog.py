"""Fog: a bright cloud of random shape in front of the image."""

from __future__ import annotations

import torch

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.pixels import to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["fog", "plasma"]


def fog(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Add a plasma and scale back so that the brightest value of the image is not exceeded.

    ``parameters`` is (strength, decay, side): the plasma's weight, its fall from one halving to the next, and
    the side of the whole plasma, whose upper left corner is used.
    """
    strength, decay, side = parameters
    height, width = images.shape[1:3]
    haze = plasma(int(side), decay, draws)[:, :height, :width].mul_(strength)
    clean = to_unit(images)
    brightest = clean.amax((1, 2, 3), keepdim=True)
    return to_bytes(clean.add_(haze.unsqueeze(-1)).mul_(brightest).div_(brightest + strength))


def plasma(side: int, decay: float, draws: Draws) -> torch.Tensor:
    """Return random clouds by the diamond-square algorithm: float64 [N, side, side], from 0 to 1 in each.

    The grid starts as one corner, 0. As long as its points stand apart, the middle of every square of points
    and then the middles of the squares' edges get the mean of the four points around them plus noise. The
    left and the upper border go on at the right and the lower one.

    Args:
        side: A power of two.
        decay: What the amplitude of the noise, 100 at first, is divided by when the step is halved.
        draws: In the authors' order: for each step the squares, the horizontal edges, the vertical edges.

    Source: Fournier, Fussell and Carpenter, 1982; the authors took it from the script ``diamondsquare.py`` of
    the map generator ``mapgen``.
    """
    step, amplitude = side, 100.0
    clouds: torch.Tensor | None = None
    while step >= 2:
        n, half = side // step, step // 2
        noise = draws.random((3, n, n))
        # A slip of the authors that is kept: the noise is the amplitude times U(-amplitude, amplitude), so
        # it falls with the square of the decay.
        noise = noise.mul_(2 * amplitude).sub_(amplitude).mul_(amplitude)
        if clouds is None:
            clouds = noise.new_zeros((len(noise), side, side))
        corners = clouds[:, ::step, ::step]
        pairs = corners + corners.roll(-1, 1)
        middles = (pairs + pairs.roll(-1, 2)).div_(4).add_(noise[:, 0])
        across = (middles + middles.roll(1, 1)) + (corners + corners.roll(-1, 2))
        down = (middles + middles.roll(1, 2)) + (corners + corners.roll(-1, 1))
        clouds[:, half::step, half::step] = middles
        clouds[:, ::step, half::step] = across.div_(4).add_(noise[:, 1])
        clouds[:, half::step, ::step] = down.div_(4).add_(noise[:, 2])
        step, amplitude = half, amplitude / decay
    if clouds is None:
        raise ValueError(f"a plasma has a side of at least 2, not {side}")
    clouds.sub_(clouds.amin((1, 2), keepdim=True))
    return clouds.div_(clouds.amax((1, 2), keepdim=True))
