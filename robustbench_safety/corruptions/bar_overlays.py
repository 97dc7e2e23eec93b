"""Corruptions of C-bar that lay something on the picture: grey lines, a marble of gradient noise.

All functions take images uint8 [N, S, S, 3], the level of 0 to 10 as only parameter and draws, and return
uint8 of the same shape on the same device.

Source: as ``bar.py``; for Perlin's noise the authors' ``augmentations/utils/noise.py``.
"""

from __future__ import annotations

import math

import torch

from robustbench_safety.corruptions.bar_planes import truncated
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["lines", "perlin_noise"]

#: Gradients of the noise, and the length of the table that orders them.
_GRADIENTS = 256
#: Octaves of 1, 2, 4, 8 and 16 times the frequency.
_OCTAVES = 5


def lines(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Draw grey lines across the picture, roughly in one direction; ``parameters`` is (level,)."""
    (level,) = parameters
    side = images.shape[1]
    count = int(level / 10 * side)
    uniform = draws.random((2 + 3 * count,))
    angle, variation = uniform[:, :1] * (2 * math.pi), 0.1 + 0.9 * uniform[:, 1:2]
    down, across, turn = uniform[:, 2:].view(-1, count, 3).unbind(2)
    turn = angle + 2 * math.pi * variation * (turn - 0.5)
    far, wide = torch.cos(turn) * side, torch.sin(turn) * side
    # Converting truncates towards 0, as int() does.
    starts = torch.stack((side * down - far, side * across - wide)).long()
    ends = torch.stack((side * down + far, side * across + wide)).long()
    values = images.double()
    for cover in _smooth_lines(starts, ends, side).unbind(1):
        share = cover.unsqueeze(-1)
        values = torch.trunc((1 - share) * values + share * 128)
    return values.to(torch.uint8)


def _smooth_lines(starts: torch.Tensor, ends: torch.Tensor, side: int) -> torch.Tensor:
    """Return how much of each pixel a line covers, 0 to 1: float64 [N, L, side, side].

    Zingl's algorithm, all lines at once: a walk of one pixel a step along the line's longer axis, with the
    distance from the line in ``error``; the two pixels beside it are drawn before it goes on. Later values
    replace earlier ones.

    Args:
        starts: int64 [(row, column), N, L]; at most 2 * side + 1 rows or columns from the end.
        ends: int64 [(row, column), N, L].
        side: Of the picture; what lies outside is not drawn.

    Source: scikit-image, draw/_draw.pyx, _line_aa; Zingl, A Rasterizing Algorithm for Drawing Curves (2012).
    """
    row, col = starts
    last_row, last_col = ends
    tall, broad = (last_row - row).abs(), (last_col - col).abs()
    step_row, step_col = (torch.where(end > at, 1, -1) for end, at in ((last_row, row), (last_col, col)))
    length = (tall**2 + broad**2).double().sqrt()
    length = torch.where(length == 0, 1.0, length)
    error = broad - tall
    # The pixel after the last takes what lies outside.
    planes = torch.zeros((*row.shape, side * side + 1), dtype=torch.float64, device=row.device)

    def draw(at_row: torch.Tensor, at_col: torch.Tensor, distance: torch.Tensor, when: torch.Tensor) -> None:
        when = when & (at_row >= 0) & (at_row < side) & (at_col >= 0) & (at_col < side)
        index = torch.where(when, at_row * side + at_col, side * side)
        planes.scatter_(2, index.unsqueeze(2), (1 - distance.abs() / length).unsqueeze(2))

    going = torch.ones_like(row, dtype=torch.bool)
    for _ in range(2 * side + 2):
        draw(row, col, error - broad + tall, going)
        aside = 2 * error >= -broad
        going = going & ~(aside & (col == last_col))
        aside = aside & going
        draw(row + step_row, col, error + tall, aside & (error + tall < length))
        down = 2 * error <= tall
        going = going & ~(down & (row == last_row))
        down = down & going
        draw(row, col + step_col, broad - error, down & (broad - error < length))
        error = error - torch.where(aside, tall, 0) + torch.where(down, broad, 0)
        col = torch.where(aside, col + step_col, col)
        row = torch.where(down, row + step_row, row)
    return planes[..., :-1].view(*row.shape, side, side)


def perlin_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Blend with Perlin's turbulence, from grey to white; ``parameters`` is (level,).

    A slip of the authors: the table that orders the gradients is shuffled by swaps with any of its entries,
    not with one of those still to come, after which some orders are likelier than others.
    """
    (level,) = parameters
    gradients = draws.integers(0, 512, (_GRADIENTS, 2)).double() / 256 - 1
    # Where the authors divide 0 by 0, in one picture of a thousand, there is no gradient.
    norm = gradients.norm(dim=2, keepdim=True)
    gradients = gradients / torch.where(norm == 0, 1.0, norm)
    table = _shuffled(draws.integers(0, _GRADIENTS, (_GRADIENTS,)))
    side = images.shape[1]
    at = torch.arange(side, dtype=torch.float64, device=images.device) * (7 / side)
    noise = torch.zeros(images.shape[:3], dtype=torch.float64, device=images.device)
    for octave in range(_OCTAVES):
        noise += _gradient_noise(at * 2**octave, table, gradients).abs() / 2**octave
    share = 0.05 * level
    return truncated((1 - share) * images + 255 * share * (0.5 * noise + 0.5).clamp(0, 1).unsqueeze(-1))


def _shuffled(partners: torch.Tensor) -> torch.Tensor:
    """Return a table [N, 256] whose entries, from the last on, changed places with ``partners`` [N, 256]."""
    table = torch.arange(_GRADIENTS, device=partners.device).repeat(len(partners), 1)
    for done, entry in enumerate(range(_GRADIENTS - 1, -1, -1)):
        partner = partners[:, done : done + 1]
        own, other = table[:, entry : entry + 1].clone(), table.gather(1, partner)
        table[:, entry : entry + 1] = other
        table.scatter_(1, partner, own)
    return table


def _gradient_noise(at: torch.Tensor, table: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Return Perlin's noise, about -1 to 1: float64 [N, S, S].

    Args:
        at: float64 [S]; from 0, rising, where the rows and the columns lie on the grid of gradients.
        table: int64 [N, 256].
        gradients: float64 [N, 256, (down, across)].
    """
    n, cell = len(table), at.floor().long()
    grid = torch.arange(int(cell[-1]) + 2, device=at.device) % _GRADIENTS
    rows = table.index_select(1, grid)
    hashed = table.gather(1, ((rows.unsqueeze(2) + grid) % _GRADIENTS).flatten(1))
    points = gradients.gather(1, hashed.unsqueeze(2).expand(-1, -1, 2)).view(n, len(grid), len(grid), 2)
    within = at - cell

    def slope(down: int, across: int) -> torch.Tensor:
        found = points.index_select(1, cell + down).index_select(2, cell + across)
        return (within - down)[:, None] * found[..., 0] + (within - across) * found[..., 1]

    smooth = within**2 * (3 - 2 * within)

    def edge(across: int) -> torch.Tensor:
        above = slope(0, across)
        return above + smooth[:, None] * (slope(1, across) - above)

    left, right = edge(0), edge(1)
    return 1.5 * (left + smooth * (right - left))
