"""Noise on single bytes as a table: for each of 256 grey levels, the law of the level that comes out.

A uniform draw is turned into a level by the inverse of the cumulative law, which is how a normal or a Poisson
draw would be made of it. But the levels are whole, so the inverse is a search among 256 limits, the same
integers on every device, and two (Gaussian) to nine times (Poisson) as fast as drawing and truncating.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions.draws import WORD_BITS

__all__ = ["LEVELS", "Law", "disturbed", "law_of"]

#: Grey levels of a byte.
LEVELS = 256
#: Leading bits of a draw that the guide is looked up by: a lookup of 12 takes twice the time of one of 10.
#: With 11 one draw in twenty lies beyond the guide's level (Gaussian of sigma 0.18 at 224 px).
_GUIDE_BITS = 11
_SHIFT = WORD_BITS - _GUIDE_BITS


class Law(NamedTuple):
    """What becomes of each grey level, on one device."""

    limits: torch.Tensor
    """int32 [256 * 256]: level x becomes more than b where the draw exceeds entry 256 * x + b."""
    guide: torch.Tensor
    """uint8 [256 * 2**11]: the level that the smallest draw with these leading bits gives."""


def law_of(cumulative: NDArray[np.float64], device: torch.device) -> Law:
    """Return the table of a law.

    Args:
        cumulative: Probability that level x becomes b or less, float64 [256 x, 256 b], rising to 1. Kept to
            2**-32, half a draw.
        device: Where the images are.
    """
    # A draw w exceeds the limit with probability 1 - p: of 2**31 draws, p * 2**31 are at most the limit.
    limits = np.rint(cumulative * 2.0**WORD_BITS).astype(np.int64) - 1
    limits[:, -1] = 2**WORD_BITS - 1
    smallest = np.arange(2**_GUIDE_BITS, dtype=np.int64) << _SHIFT
    guide = np.stack([np.searchsorted(row, smallest, side="left") for row in limits])
    return Law(
        torch.from_numpy(limits.astype(np.int32).reshape(-1)).to(device),
        torch.from_numpy(guide.astype(np.uint8).reshape(-1)).to(device),
    )


def disturbed(images: torch.Tensor, words: torch.Tensor, law: Law) -> torch.Tensor:
    """Return what the law makes of each value of uint8 ``images``, given as many draws in [0, 2**31)."""
    clean, drawn = images.reshape(-1), words.reshape(-1)
    entry = clean.to(torch.int32).bitwise_left_shift_(_GUIDE_BITS)
    level = law.guide.index_select(0, entry.bitwise_or_(drawn.bitwise_right_shift(_SHIFT)))
    row = clean.to(torch.int32).bitwise_left_shift_(8)
    beyond = drawn > law.limits.index_select(0, row.bitwise_or(level))
    # Most draws lie within the next limit; for the rest all eight bits of the level are searched.
    left = _where(beyond)
    level[left] = _searched(drawn.index_select(0, left), row.index_select(0, left), law.limits)
    return level.view(images.shape)


def _searched(drawn: torch.Tensor, row: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
    """Return the number of limits below each draw, as uint8, by halving."""
    level = torch.zeros_like(row)
    for step in (128, 64, 32, 16, 8, 4, 2, 1):
        beyond = drawn > limits.index_select(0, row + level + (step - 1))
        level.add_(beyond, alpha=step)
    return level.to(torch.uint8)


def _where(mask: torch.Tensor) -> torch.Tensor:
    """Return the indices of what is true. On a CPU by NumPy, which is five times as fast."""
    return (
        torch.from_numpy(np.flatnonzero(mask.numpy())) if mask.device.type == "cpu" else mask.nonzero()[:, 0]
    )
