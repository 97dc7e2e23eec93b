"""Corruptions of C-bar that move pixels: ripples, pinched and twirled squares, a picture under moving water.

All functions take images uint8 [N, S, S, 3], the level of 0 to 10 as only parameter and draws, and return
uint8 of the same shape on the same device.

Source: as ``bar.py``.
"""

from __future__ import annotations

import math

import torch

from robustbench_safety.corruptions.bar_planes import bilinear, column, places, truncated
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.gaussian import gaussian_filter
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["caustic_refraction", "pinch_and_twirl", "ripple"]

#: 2 pi, and a place where the light has no visible seam, as the authors wrote them.
_PERIOD, _FAR_AWAY = 6.28318530718, 250.0
#: How much slower light is in the water.
_ETA = 4.0


def ripple(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Shift rows and columns by a sine each; ``parameters`` is (level,)."""
    (level,) = parameters
    side = images.shape[1]
    uniform = draws.random((4,))
    lengths = (0.1 + 0.2 * uniform[:, :2]) * side
    phases = uniform[:, 2:] * (2 * math.pi)
    amplitude = level * 0.0025 * side

    def moved(at: torch.Tensor, axis: int) -> torch.Tensor:
        turns = 2 * math.pi * at / column(lengths[:, axis]) + column(phases[:, axis])
        return (at + amplitude * torch.sin(turns)).expand(-1, side, side)

    rows, columns = places(images)
    return truncated(bilinear(images, moved(rows, 0), moved(columns, 1)))


def pinch_and_twirl(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Turn and stretch a disc in each square of a grid, 3 by 3 of them or 5 at 224 pixels; (level,).

    The squares follow one another, column by column: at its lower and right edge one blends with pixels of
    its neighbours, which are changed by then or not. The pixels that the grid leaves over stay as they are.
    """
    (level,) = parameters
    side = images.shape[1]
    count = 5 if side == 224 else 3
    square = side // count
    backwards = draws.integers(0, 2, (count, count))
    steps = torch.arange(square, dtype=torch.float64, device=images.device) - square / 2
    shifts = torch.stack(
        [_twirled(steps, level * math.pi / 20 * sign, 0.04 * level + 0.1) for sign in (1, -1)]
    )
    pictures = images.float()
    for across in range(count):
        for down in range(count):
            shift = shifts[backwards[:, across, down]]
            top, left = down * square, across * square
            cell = bilinear(pictures, shift[..., 0] + (top + square / 2), shift[..., 1] + (left + square / 2))
            pictures[:, top : top + square, left : left + square] = cell.float()
    return truncated(pictures)


def _twirled(steps: torch.Tensor, angle: float, amount: float) -> torch.Tensor:
    """Return where each pixel of a square comes from: (down, across) of its middle, float64 [P, P, 2].

    Args:
        steps: float64 [P]; from the middle, in pixels.
        angle: Of the turn at the middle, in radians.
        amount: Exponent of the stretch.
    """
    radius = len(steps) / 2
    down, across = torch.meshgrid(steps, steps, indexing="ij")
    distance = torch.hypot(down, across)
    share = distance / radius
    stretch = torch.sin(0.5 * math.pi * share) ** -amount
    turn = angle * (1 - share) ** 2
    far, wide = down * stretch, across * stretch
    moved = torch.stack(
        (far * torch.cos(turn) - wide * torch.sin(turn), far * torch.sin(turn) + wide * torch.cos(turn)),
        dim=-1,
    )
    still = (distance > radius) | (distance < 0.0005)
    return torch.where(still.unsqueeze(-1), torch.stack((down, across), dim=-1), moved)


def caustic_refraction(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Show the picture through water that the light falls into; ``parameters`` is (level,).

    Slips of the authors: outside the picture there is no light, so that its edge is a steep slope of the
    water; and a slope of less than about 2.6 degrees does not refract at all.
    """
    (level,) = parameters
    side = images.shape[1]
    time, size = draws.random((2,)).unbind(1)
    light = gaussian_filter(
        _caustics(images, column(0.5 + 1.5 * time), column((0.75 + 0.5 * size) * side)), 1.0, border="reflect"
    )
    framed = torch.nn.functional.pad(light, (1, 1, 1, 1))
    above, below = framed[:, :-2, 1:-1], framed[:, 2:, 1:-1]
    before, after = framed[:, 1:-1, :-2], framed[:, 1:-1, 2:]
    steep, aside = below - above, after - before
    slope = torch.hypot(steep, aside)
    angle = torch.atan(slope)
    # In the plane of the ray and the surface's normal the ray turns by the difference of the two angles.
    bend = torch.sin(angle - torch.asin(torch.sin(angle) / _ETA)) * (level * 0.05 * side)
    bend = torch.where(torch.cos(angle) >= 1 - 1e-3, 0.0, bend) / slope.clamp(min=1e-12)

    def moved(at: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        return at + torch.round(bend * part, decimals=3)

    rows, columns = places(images)
    seen = bilinear(images, moved(rows, steep), moved(columns, aside))
    return truncated(seen + (255 * 0.2 * level) * (before - after + steep).unsqueeze(-1))


def _caustics(images: torch.Tensor, time: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Return the light that waves throw on the ground, 0 to 1: float64 [N, S, S].

    Args:
        images: Whose size it has.
        time: [N, 1, 1].
        size: Of the pattern, which repeats, in pixels: [N, 1, 1].
    """
    rows, columns = places(images)
    y, x = (torch.remainder(at / size, 1) * _PERIOD - _FAR_AWAY for at in (rows, columns))
    at_y, at_x = y, x
    total = torch.ones_like(y + x)
    for wave in range(5):
        t = time * (1 - 3.5 / (wave + 1))
        at_y, at_x = (
            y + torch.cos(t - at_y) + torch.sin(t + at_x),
            x + torch.sin(t - at_x) + torch.cos(t + at_y),
        )
        total = total + 200 / torch.hypot(y / torch.sin(at_y + t), x / torch.cos(at_x + t))
    return (1.17 - (total / 5) ** 1.4).abs().pow(8).clamp(0, 1)
