"""Who is better than whom, as far as the intervals tell: ranks with their ties, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError

__all__ = ["RankInterval", "pareto_front", "rank_intervals"]

Floats = NDArray[np.float64]

#: Rows of the comparison of all with all that are held at a time: 2,000 rows take 50 MB.
_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class RankInterval:
    """The ranks that a row may have."""

    best: int
    """1 and the rows that are surely better."""
    worst: int
    """All rows but those that are surely worse."""

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


def rank_intervals(low: Floats, high: Floats) -> list[RankInterval]:
    """Return the ranks that each row may have; lower is better.

    A row is surely better than another where its interval ends before the other's begins. Rows whose
    intervals touch are tied, and share ranks.

    Args:
        low: Lower ends, float [N].
        high: Upper ends, float [N].

    Returns:
        One for each row, 1 to N.

    Raises:
        UndefinedMetricError: An end is not finite, or a lower end above its upper one.

    Conventions:
        The intervals are those of single rows, each with its own coverage (95 % in a record), so two rows
        that are called tied may still differ: pairing them by the same images tells more.

    Source:
        The rank intervals of league tables: Goldstein and Spiegelhalter, JRSS A 159(3), 1996, section 5,
        with the intervals as given.

    Example:
        >>> ranks = rank_intervals(np.array([1.0, 2.0, 9.0]), np.array([3.0, 4.0, 9.5]))
        >>> [str(rank) for rank in ranks]
        ['1–2', '1–2', '3']
    """
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        raise UndefinedMetricError(
            "ranks of intervals that are none", expected="finite ends, the lower one first"
        )
    better = np.searchsorted(np.sort(high), low, side="left")
    worse = len(low) - np.searchsorted(np.sort(low), high, side="right")
    return [
        RankInterval(best=1 + int(above), worst=len(low) - int(below))
        for above, below in zip(better, worse, strict=True)
    ]


def pareto_front(points: Sequence[Sequence[float]] | Floats) -> NDArray[np.bool_]:
    """Tell which rows no other row dominates; lower is better in every column.

    A row dominates another where it is nowhere worse and somewhere better.

    Args:
        points: [N rows, C columns].

    Returns:
        bool [N].

    Conventions:
        The values themselves are compared: a row that is worse by less than its interval is dominated all
        the same. Equal rows do not dominate each other.

    Source:
        Hendrycks et al., PixMix, 2022: is a method better on some axis without being worse on any?

    Example:
        >>> pareto_front([[1.0, 5.0], [2.0, 2.0], [2.0, 3.0]])
        array([ True,  True, False])
    """
    values = np.asarray(points, dtype=np.float64)
    front = np.ones(len(values), dtype=np.bool_)
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK, None, :]
        nowhere_worse, somewhere_better = np.all(values <= block, axis=2), np.any(values < block, axis=2)
        front[start : start + _BLOCK] = ~np.any(nowhere_worse & somewhere_better, axis=1)
    return front
