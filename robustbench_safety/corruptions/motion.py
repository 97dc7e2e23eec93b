"""Motion blur as ImageMagick makes it: every pixel becomes a weighted mean of the pixels on a short line.

Source: ImageMagick 6.9.11-60 with 16 bits a value, as Debian has it: MotionBlurImageChannel and
GetMotionBlurKernel in magick/effect.c. The authors call it through Wand on a PNG.
"""

from __future__ import annotations

import math
from collections import defaultdict

import torch

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["motion_blur", "motion_blur_layer"]

#: ImageMagick rounds to 16 bits and its PNG writer (SetImageDepth in coders/png.c) truncates these to 8: the
#: level is q // 257 with q = floor(257 * mean + 0.5), hence floor(mean + 0.5 / 257). Older versions round
#: both times; which the authors had is not known.
_HALF_QUANTUM = 0.5 / 257

#: (rows down, columns right), weight.
_Line = tuple[tuple[tuple[int, int], float], ...]


def motion_blur(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Blur along a line within 45 degrees of level; ``parameters`` is (radius, sigma) in pixels."""
    radius, sigma = parameters
    angles = draws.random((1,)).squeeze(1).mul_(90.0).sub_(45.0)
    return motion_blur_layer(images.float(), radius, sigma, angles).to(torch.uint8)


def motion_blur_layer(
    levels: torch.Tensor, radius: float, sigma: float, angles: torch.Tensor
) -> torch.Tensor:
    """Return ``levels`` blurred along lines of the given angles.

    The line starts at the pixel and runs one way: an angle of 0 takes from the right, one of 90 from below.
    Beyond the border the nearest pixel goes on.

    Args:
        levels: Float [N, H, W] or [N, H, W, C], whole grey levels from 0 to 255.
        radius: The line has 2 * radius + 1 points, not counted from the middle but all to one side.
        sigma: Decay of the weights along the line, in pixels.
        angles: [N], degrees, clockwise from "to the right".

    Returns:
        Same shape, dtype and device; whole grey levels.
    """
    same_line: dict[_Line, list[int]] = defaultdict(list)
    for index, angle in enumerate(angles.tolist()):
        same_line[_line(radius, sigma, angle)].append(index)
    blurred = torch.empty_like(levels, memory_format=torch.contiguous_format)
    for line, which in same_line.items():
        chosen = torch.tensor(which, device=levels.device)
        blurred[chosen] = _along(levels[chosen], line)
    return blurred.add_(_HALF_QUANTUM).floor_()


def _line(radius: float, sigma: float, angle: float) -> _Line:
    """Return the points of a line with their weights; the pixel itself is the first."""
    width = 2 * math.ceil(radius) + 1
    weights = [math.exp(-(step**2) / (2 * sigma**2)) for step in range(width)]
    total = math.fsum(weights)
    sine, cosine = width * math.sin(math.radians(angle)), width * math.cos(math.radians(angle))
    length = math.hypot(sine, cosine)
    line: dict[tuple[int, int], float] = defaultdict(float)
    for step, weight in enumerate(weights):
        # Rounded, halves down. Near 45 degrees several steps fall on one pixel.
        point = math.ceil(step * sine / length - 0.5), math.ceil(step * cosine / length - 0.5)
        line[point] += weight / total
    # What 255 times such a weight adds is far too little to show.
    return tuple((point, weight) for point, weight in line.items() if weight > 1e-7)


def _along(levels: torch.Tensor, line: _Line) -> torch.Tensor:
    """Return the weighted mean of ``levels`` [M, H, W(, C)] over the points of ``line``."""
    m, height, width = levels.shape[:3]
    down, right = [point[0] for point, _ in line], [point[1] for point, _ in line]
    for axis, reach in ((1, down), (2, right)):
        index = torch.arange(min(reach), levels.shape[axis] + max(reach), device=levels.device)
        levels = levels.index_select(axis, index.clamp_(0, levels.shape[axis] - 1))
    pixel = levels[0, 0, 0].numel()
    row = levels.shape[2] * pixel
    flat = levels.reshape(m, -1)
    # Rows stay whole, border and all, so that a shift is one offset into memory; the border is cut last.
    blurred = torch.zeros((m, height * row), dtype=levels.dtype, device=levels.device)
    n_values = (height - 1) * row + width * pixel
    sums = blurred[:, :n_values]
    for (rows_down, columns_right), weight in line:
        start = (rows_down - min(down)) * row + (columns_right - min(right)) * pixel
        sums.add_(flat[:, start : start + n_values], alpha=weight)
    return blurred.view(m, height, *levels.shape[2:])[:, :, :width]
