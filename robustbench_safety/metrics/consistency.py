"""Consistency: how often the answer changes along a clip whose content does not."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.checks import IntArray, class_indices

__all__ = ["flip_rate", "flips_per_clip"]


def flip_rate(predicted: NDArray[np.integer], *, compare: Literal["previous", "first"]) -> float:
    """Measure how often the predicted class differs from that of the frame compared with. Lower is better.

    ``(1/V) sum_v (1/(F-1)) sum_{f=1..F-1} [predicted_vf != predicted_v,ref]`` where ``ref`` is ``f-1`` or 0.

    Args:
        predicted: Predicted class of each frame, int [V sequences, F frames], F at least 2.
        compare: ``previous`` compares each frame with the one before (motion, geometry, weather);
            ``first`` with the clean first frame (noise, whose frames are independent draws).

    Returns:
        Fraction in [0, 1]; 0 is a constant answer.

    Raises:
        UndefinedMetricError: There is no clip, or fewer than two frames.
        UsageError: ``compare`` is neither of the two rules.

    Conventions:
        The paper divides by AlexNet's flip rate and averages over perturbations (mFR); CIFAR-P tables
        average the undivided rate, and PixMix and IPMix call that mFR too. This is the undivided rate
        of one perturbation. Labels play no part: a constant wrong answer is consistent.

    Source:
        Hendrycks and Dietterich, Benchmarking Neural Network Robustness, section 4.2 (flip probability),
        ICLR 2019; rule by perturbation as in their ``test.py``.

    Example:
        >>> clip = np.array([[1, 1, 2, 2]])
        >>> round(flip_rate(clip, compare="previous"), 4)  # one change in three steps
        0.3333
        >>> round(flip_rate(clip, compare="first"), 4)  # two of three frames differ from the first
        0.6667
    """
    flips = flips_per_clip(predicted, compare=compare)
    n_steps = flips.size * (np.shape(predicted)[1] - 1)
    return float(flips.sum() / n_steps)


def flips_per_clip(predicted: NDArray[np.integer], *, compare: Literal["previous", "first"]) -> IntArray:
    """Count the flips of each clip, the unit of the bootstrap of :func:`flip_rate`. Lower is better.

    Args:
        predicted: Predicted class of each frame, int [V sequences, F frames], F at least 2.
        compare: ``previous`` or ``first``, as in :func:`flip_rate`.

    Returns:
        int64 [V], each in 0..F-1.

    Raises:
        UndefinedMetricError: There is no clip, or fewer than two frames.
        UsageError: ``compare`` is neither of the two rules.

    Conventions:
        Divided by F-1 it is the flip rate of a clip.

    Source:
        As :func:`flip_rate`.

    Example:
        >>> flips_per_clip(np.array([[1, 1, 2, 2], [3, 0, 3, 0]]), compare="previous")
        array([1, 3])
    """
    if compare not in ("previous", "first"):
        raise UsageError("compare cannot be used", expected="'previous' or 'first'", found=repr(compare))
    frames = class_indices(predicted, "predicted", ndim=2)
    if frames.shape[1] < 2:
        raise UndefinedMetricError(
            "predicted has no frame to compare",
            expected="at least 2 frames a clip",
            found=str(frames.shape[1]),
        )
    reference = frames[:, :-1] if compare == "previous" else frames[:, :1]
    return np.asarray(np.sum(frames[:, 1:] != reference, axis=1, dtype=np.int64))
