"""Consistency: how much the answer changes along a clip whose content does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.by_name import mean_over_names
from robustbench_safety.metrics.checks import FloatArray, IntArray, class_indices

__all__ = [
    "flip_rate",
    "flips_per_clip",
    "mean_flip_rate",
    "mean_top5_distance",
    "top5_distance",
    "top5_distances_per_clip",
    "zipf_distance",
]

Rule: TypeAlias = Literal["previous", "first"]

#: Ranks that the top-5 distance tells apart; every rank below them counts as the sixth.
_TOP = 5
#: Distance where all five leave: they stood 5, 4, 3, 2 and 1 above the sixth rank.
_FARTHEST = 15
#: Ranks held at a time: some six arrays of 8 bytes each, 200 MB.
_AT_A_TIME = 4_000_000


def flip_rate(predicted: NDArray[np.integer], *, compare: Rule) -> float:
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


def flips_per_clip(predicted: NDArray[np.integer], *, compare: Rule) -> IntArray:
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
    now, reference = _compared(class_indices(predicted, "predicted", ndim=2), "predicted", compare)
    return np.asarray(np.sum(now != reference, axis=1, dtype=np.int64))


def mean_flip_rate(rates: Mapping[str, float], *, baseline: Mapping[str, float] | None) -> float:
    """Measure the flip rate over sequences, each as a multiple of a reference network's. Lower is better.

    ``(1/P) sum_p rate_p / baseline_p``: mFR; without a baseline the plain mean.

    Args:
        rates: By sequence: :func:`flip_rate`, a fraction.
        baseline: By the same sequences: the reference network's. None for the plain mean.

    Returns:
        Ratio of at least 0, without an upper end; without a baseline a fraction in [0, 1].

    Raises:
        UndefinedMetricError: There is no sequence, names differ, there is a NaN, a rate is outside [0, 1], or
            the baseline never flips on a sequence.

    Conventions:
        ImageNet-P tables divide by AlexNet; CIFAR-P tables do not, and PixMix and IPMix call the plain mean
        mFR too. Which ten sequences are meant differs: the paper's have snow, the authors' CIFAR-P script has
        spatter. Papers print 100 times this.

    Source:
        Hendrycks and Dietterich, Benchmarking Neural Network Robustness, section 4.2 (mFR), ICLR 2019.

    Example:
        >>> rates = {"snow": 0.25, "tilt": 0.125}
        >>> mean_flip_rate(rates, baseline={"snow": 0.5, "tilt": 0.125})  # 1/2 and 1
        0.75
        >>> mean_flip_rate(rates, baseline=None)
        0.1875
    """
    return mean_over_names(rates, baseline, "flip rates", largest=1.0)


def top5_distance(ranked: NDArray[np.integer], *, compare: Rule) -> float:
    """Measure how far the five best classes move in the ranking of the frame compared with. Lower is better.

    ``(1/V) sum_v (1/(F-1)) sum_{f=1..F-1} d(v,f)``, ``d = sum_{i=1..5} |min(i-1, 5) - min(s(i)-1, 5)|``,
    where ``s(i)`` is the rank in frame f of the class ranked i in the reference frame, f-1 or 0.

    Args:
        ranked: Classes of each frame from the best down, int [V sequences, F frames, at least 5], from 0; F
            at least 2. The first five count: a class that is not among them is as far away as the sixth.
        compare: ``previous`` or ``first``, as in :func:`flip_rate`.

    Returns:
        Distance from 0, the five best in their order throughout, to 15, five others every time.

    Raises:
        UndefinedMetricError: There is no clip, fewer than two frames or than five classes, or a class stands
            twice among the five of a frame.
        UsageError: ``compare`` is neither of the two rules.

    Conventions:
        Not symmetric: the five are those of the reference frame. Ties of logits are broken where ``ranked``
        is made (lower class index first), not here. This is the undivided distance of one sequence; the
        paper divides by AlexNet's and averages (mT5D).

    Source:
        Hendrycks and Dietterich, Benchmarking Neural Network Robustness, section 4.2 (top-5 distance),
        ICLR 2019; rule by sequence as in their ``test.py``.

    Example:
        >>> clip = np.array([[[0, 1, 2, 3, 4], [1, 0, 2, 3, 4], [1, 0, 2, 3, 9]]])
        >>> top5_distance(clip, compare="previous")  # two change places: 2; the fifth leaves: 1
        1.5
    """
    distances = _top5_distances(ranked, compare)
    return int(distances.sum()) / distances.size


def top5_distances_per_clip(ranked: NDArray[np.integer], *, compare: Rule) -> FloatArray:
    """Measure the top-5 distance of each clip, the unit of the bootstrap. Lower is better.

    Args:
        ranked: Classes of each frame from the best down, int [V sequences, F frames, at least 5], as in
            :func:`top5_distance`.
        compare: ``previous`` or ``first``, as in :func:`flip_rate`.

    Returns:
        float64 [V]: the mean over the frames of each clip, from 0 to 15.

    Raises:
        UndefinedMetricError: There is no clip, fewer than two frames or than five classes, or a class stands
            twice among the five of a frame.
        UsageError: ``compare`` is neither of the two rules.

    Conventions:
        As :func:`top5_distance`, which is the mean of these.

    Source:
        As :func:`top5_distance`.

    Example:
        >>> best = [0, 1, 2, 3, 4]
        >>> top5_distances_per_clip(np.array([[best, best], [best, [5, 6, 7, 8, 9]]]), compare="first")
        array([ 0., 15.])
    """
    distances = _top5_distances(ranked, compare)
    return np.asarray(distances.sum(axis=1) / distances.shape[1], dtype=np.float64)


def mean_top5_distance(distances: Mapping[str, float], *, baseline: Mapping[str, float] | None) -> float:
    """Measure the top-5 distance over sequences, each a multiple of a reference network's. Lower is better.

    ``(1/P) sum_p distance_p / baseline_p``: mT5D; without a baseline the plain mean.

    Args:
        distances: By sequence: :func:`top5_distance`, 0 to 15.
        baseline: By the same sequences: the reference network's. None for the plain mean.

    Returns:
        Ratio of at least 0, without an upper end; without a baseline a distance in [0, 15].

    Raises:
        UndefinedMetricError: There is no sequence, names differ, there is a NaN, a distance is outside
            [0, 15], or the baseline's is 0 on a sequence.

    Conventions:
        Papers print 100 times the ratio. The plain mean is a distance, not a fraction: no percentage.

    Source:
        Hendrycks and Dietterich, Benchmarking Neural Network Robustness, section 4.2 (mT5D), ICLR 2019.

    Example:
        >>> mean_top5_distance({"snow": 3.0, "tilt": 1.0}, baseline={"snow": 6.0, "tilt": 4.0})  # 1/2, 1/4
        0.375
    """
    return mean_over_names(distances, baseline, "top-5 distances", largest=_FARTHEST)


def zipf_distance(ranked: NDArray[np.integer], *, compare: Rule) -> float:
    """Measure how far all classes move in the ranking, the best ones weighing most. Lower is better.

    ``(1/V) sum_v (1/(F-1)) sum_{f=1..F-1} sum_{i=1..K} |1/i - 1/s(i)| / i``, where ``s(i)`` is the rank in
    frame f of the class ranked i in the reference frame, f-1 or 0.

    Args:
        ranked: Every class of each frame from the best down, int [V sequences, F frames, K classes], each of
            0..K-1 once; F at least 2.
        compare: ``previous`` or ``first``, as in :func:`flip_rate`.

    Returns:
        Distance from 0, one ranking throughout, to an end that grows with K: 0.75 of 2, 1.843 of 1000.

    Raises:
        UndefinedMetricError: There is no clip, fewer than two frames, or a frame does not rank every class
            once.
        UsageError: ``compare`` is neither of the two rules.

    Conventions:
        Needs the whole ranking: of a summary that keeps the best few classes alone it has no value. Not
        symmetric, as :func:`top5_distance`.

    Source:
        Hendrycks and Dietterich, Benchmarking Neural Network Robustness, section 4.2, ICLR 2019; as in their
        ``test.py``, where it stands beside the top-5 distance.

    Example:
        >>> zipf_distance(np.array([[[0, 1], [1, 0]]]), compare="first")  # |1 - 1/2|/1 + |1/2 - 1|/2
        0.75
    """
    everything = class_indices(ranked, "ranked", ndim=3)
    n_clips, n_frames, n_classes = everything.shape
    _compared(everything, "ranked", compare)
    inverse = 1.0 / np.arange(1, n_classes + 1)
    sums: list[float] = []
    step = max(1, _AT_A_TIME // (n_frames * n_classes))
    for start in range(0, n_clips, step):
        part = everything[start : start + step]
        if not np.array_equal(np.sort(part, axis=2), np.broadcast_to(np.arange(n_classes), part.shape)):
            raise UndefinedMetricError(
                "ranked does not rank every class",
                expected=f"each of 0 to {n_classes - 1} once in every frame",
                found="a frame that leaves one out",
                fix="rank the full logits",
            )
        now, reference = _compared(np.argsort(part, axis=2), "ranked", compare)
        # By class: where it stands in the reference frame, and where now.
        moved = np.abs(inverse[reference] - inverse[now]) * inverse[reference]
        sums.extend(moved.reshape(len(part), -1).sum(axis=1).tolist())
    return float(math.fsum(sums) / (n_clips * (n_frames - 1)))


def _top5_distances(ranked: NDArray[np.integer], compare: Rule) -> IntArray:
    """Return the distance of every frame but the first of each clip: int64 [V, F-1]."""
    everything = class_indices(ranked, "ranked", ndim=3)
    if everything.shape[2] < _TOP:
        raise UndefinedMetricError(
            "ranked has too few classes for a top-5 distance",
            expected=f"the {_TOP} best of each frame",
            found=str(everything.shape[2]),
        )
    best = everything[:, :, :_TOP]
    ordered = np.sort(best, axis=2)
    if repeated := int((ordered[:, :, 1:] == ordered[:, :, :-1]).any(axis=2).sum()):
        raise UndefinedMetricError(
            "ranked names a class twice in a frame",
            expected=f"{_TOP} different classes, from the best down",
            found=f"{repeated} frames with fewer",
        )
    now, reference = _compared(best, "ranked", compare)
    # Each class of the reference is taken to have left, 5 - i ranks; one found at p has moved |i - p|.
    distances = np.full(now.shape[:2], _FARTHEST, dtype=np.int64)
    for i in range(_TOP):
        for p in range(_TOP):
            distances -= (_TOP - i - abs(i - p)) * (reference[:, :, i] == now[:, :, p])
    return distances


def _compared(frames: IntArray, name: str, compare: Rule) -> tuple[IntArray, IntArray]:
    """Return every frame but the first, and those compared with: [V, F-1 ...] and [V, F-1 or 1 ...]."""
    if compare not in ("previous", "first"):
        raise UsageError("compare cannot be used", expected="'previous' or 'first'", found=repr(compare))
    if frames.shape[1] < 2:
        raise UndefinedMetricError(
            f"{name} has no frame to compare",
            expected="at least 2 frames a clip",
            found=str(frames.shape[1]),
        )
    return frames[:, 1:], frames[:, :-1] if compare == "previous" else frames[:, :1]
