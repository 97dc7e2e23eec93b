"""How the value of each output node is distributed over samples: three forms of a density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray

__all__ = ["DENSITIES", "Density", "NodeDensities"]

Density = Literal["histogram", "kde", "normal"]

#: Bins between a node's smallest and largest value; of the kernel density, fine enough to be smooth.
_BINS, _FINE = 50, 1024
#: Kernel widths that a kernel density reaches beyond the values.
_REACH = 4.0
#: A spread below this share of a node's whole range is taken as this: a density needs some width.
_NARROWEST = 1e-3
#: Values from which on a spread can be told.
_FEWEST = 2


class NodeDensities(Protocol):
    """Densities of K nodes."""

    def log_density(self, values: FloatArray) -> FloatArray:
        """Return the logarithm of each node's density at its own value, [N, K] of [N, K]; always finite."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Binned:
    """Densities that are constant within bins."""

    low: FloatArray
    """Left edge of the first bin, [K]."""
    high: FloatArray
    """Right edge of the last bin, which holds it, [K]."""
    logs: FloatArray
    """Logarithm of the density in each bin, [K, B]."""
    outside: FloatArray
    """That beyond the bins, [K]."""

    def log_density(self, values: FloatArray) -> FloatArray:
        """Return the logarithm of each node's density at its own value, [N, K]."""
        inside = (values >= self.low) & (values <= self.high)
        place = (np.where(inside, values, self.low) - self.low) / (self.high - self.low)
        n_bins = self.logs.shape[1]
        bins = np.minimum((place * n_bins).astype(np.int64), n_bins - 1)
        return np.where(inside, self.logs[np.arange(values.shape[1]), bins], self.outside)


@dataclass(frozen=True, kw_only=True)
class _Normal:
    """Normal densities."""

    mean: FloatArray
    std: FloatArray

    def log_density(self, values: FloatArray) -> FloatArray:
        """Return the logarithm of each node's density at its own value, [N, K]."""
        deviation = (values - self.mean) / self.std
        return np.asarray(-0.5 * deviation**2 - np.log(self.std) - 0.5 * np.log(2 * np.pi))


def _histogram(values: FloatArray, counted: NDArray[np.bool_], which: str) -> NodeDensities:
    """Count 50 equal bins over a node's whole range; each holds one sample more, and so does the outside.

    In units of a bin, the same for right and for wrong: divided by its width, equal counts would differ by
    rounding, and that would decide how images are ordered.
    """
    low, high = _range(values)
    logs, outside = np.empty((values.shape[1], _BINS)), np.empty(values.shape[1])
    for k, own in enumerate(_columns(values, counted, which)):
        counts, _ = np.histogram(own, bins=_BINS, range=(low[k], high[k]))
        whole = len(own) + _BINS
        logs[k], outside[k] = np.log((counts + 1) / whole), -np.log(whole)
    return _Binned(low=low, high=high, logs=logs, outside=outside)


def _kernel(values: FloatArray, counted: NDArray[np.bool_], which: str) -> NodeDensities:
    """Smooth 1,024 fine bins by a Gaussian of Scott's width; what is far from all samples is as the edge."""
    low, high = _range(values)
    lows, highs = np.empty_like(low), np.empty_like(low)
    logs, outside = np.empty((values.shape[1], _FINE)), np.empty_like(low)
    for k, own in enumerate(_columns(values, counted, which)):
        bandwidth = max(float(own.std(ddof=1)), _NARROWEST * (high[k] - low[k])) * len(own) ** -0.2
        lows[k], highs[k] = own.min() - _REACH * bandwidth, own.max() + _REACH * bandwidth
        width = (highs[k] - lows[k]) / _FINE
        counts, _ = np.histogram(own, bins=_FINE, range=(lows[k], highs[k]))
        smooth = gaussian_filter1d(counts / (len(own) * width), bandwidth / width, mode="constant")
        # One sample's kernel at its reach: no value between or beyond the samples has less.
        floor = np.exp(-0.5 * _REACH**2) / (len(own) * bandwidth * np.sqrt(2 * np.pi))
        logs[k], outside[k] = np.log(np.maximum(smooth, floor)), np.log(floor)
    return _Binned(low=lows, high=highs, logs=logs, outside=outside)


def _normal(values: FloatArray, counted: NDArray[np.bool_], which: str) -> NodeDensities:
    """Take mean and standard deviation."""
    low, high = _range(values)
    columns = _columns(values, counted, which)
    std = np.array([own.std(ddof=1) for own in columns])
    return _Normal(
        mean=np.array([own.mean() for own in columns]), std=np.maximum(std, _NARROWEST * (high - low))
    )


#: Given values [N, K], which of them count [N, K] and what these are called in an error.
DENSITIES: dict[Density, Callable[[FloatArray, NDArray[np.bool_], str], NodeDensities]] = {
    "histogram": _histogram,
    "kde": _kernel,
    "normal": _normal,
}


def _range(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return each node's smallest and largest value, over all samples."""
    low, high = values.min(axis=0), values.max(axis=0)
    if not (high > low).all():
        raise UndefinedMetricError(
            "an output node says nothing",
            expected="values that differ between samples",
            found=f"one value of node {int((high - low).argmin())}",
        )
    return low, high


def _columns(values: FloatArray, counted: NDArray[np.bool_], which: str) -> list[FloatArray]:
    """Return of each node the values that count."""
    n = counted.sum(axis=0)
    if n.min() < _FEWEST:
        raise UndefinedMetricError(
            f"too few samples to tell how node {int(n.argmin())} is distributed {which}",
            expected=f"{_FEWEST} or more",
            found=str(int(n.min())),
            fix="fit on more images",
        )
    return [values[counted[:, k], k] for k in range(values.shape[1])]
