"""Which images are attacked, where not all are: drawn by seed and id, whatever the batch size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.streams import stream_key

__all__ = ["drawn_images"]


def drawn_images(
    indices: NDArray[np.int64], sample_ids: Sequence[str], n: int | None, *, seed: int, purpose: str
) -> NDArray[np.int64]:
    """Return ``n`` of the ``indices`` in their order: those whose id, hashed with the seed, comes first.

    Whether an image is drawn depends on no batch and no order, and a smaller sample is part of a larger one.

    Args:
        indices: Samples to draw from: int64 [N].
        sample_ids: Of every sample that an index may name.
        n: How many; None, or at least N, for all.
        seed: Of the suite.
        purpose: What they are drawn for: another purpose draws others.

    Returns:
        int64 [min(n, N)].

    Example:
        >>> import numpy as np
        >>> ids = [f"{i:05d}" for i in range(6)]
        >>> few, more = (drawn_images(np.arange(6), ids, n, seed=0, purpose="x").tolist() for n in (2, 4))
        >>> set(few) < set(more), few == sorted(few)
        (True, True)
    """
    if n is None or n >= len(indices):
        return indices
    keys = [stream_key(seed, purpose, sample_ids[i]) for i in indices]
    order = sorted(range(len(indices)), key=lambda place: keys[place])
    drawn: NDArray[np.int64] = indices[np.sort(np.array(order[:n]))]
    return drawn
