"""Numbers by the name of a corruption or sequence, divided by those of the same names, or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, finite

__all__ = ["Levels", "exact_mean", "levels_between", "mean_over_names", "number_between", "same_names"]

Levels: TypeAlias = "FloatArray | Sequence[float]"
"""One number a severity, [S]."""


def exact_mean(values: Iterable[float]) -> float:
    """Return the mean of what is there, rounded once: it does not depend on the order, to the last bit."""
    listed = [float(value) for value in values]
    return math.fsum(listed) / len(listed)


def levels_between(values: Levels, what: str, *, largest: float = 1.0) -> FloatArray:
    """Return ``values`` [S] as float64; refuse it if empty, not finite or outside [0, ``largest``]."""
    array = finite(values, what)
    _in_range(float(array.min()), float(array.max()), what, largest)
    return array


def number_between(value: float, what: str, *, largest: float = 1.0) -> float:
    """Return ``value``; refuse it if it is no number in [0, ``largest``]."""
    number = float(finite(value, what, ndim=0))
    _in_range(number, number, what, largest)
    return number


def same_names(values: Mapping[str, object], baseline: Mapping[str, object], what: str) -> None:
    """Refuse two tables that do not hold the same names: a mean over fewer is another number."""
    missing, unknown = sorted(baseline.keys() - values.keys()), sorted(values.keys() - baseline.keys())
    if missing or unknown:
        found = [f"without {', '.join(missing)}"] * bool(missing)
        found += [f"with {', '.join(unknown)}, unknown to the baseline"] * bool(unknown)
        raise UndefinedMetricError(
            f"{what} and their baseline are not of the same names",
            expected=f"the {len(baseline)} of the baseline",
            found=" and ".join(found),
            fix="measure every one that the baseline names, and no other",
        )


def mean_over_names(
    values: Mapping[str, float], baseline: Mapping[str, float] | None, what: str, *, largest: float
) -> float:
    """Return the mean over the names, of each value divided by the baseline's where there is one."""
    checked = {
        name: number_between(value, f"{what} of {name}", largest=largest) for name, value in values.items()
    }
    if baseline is not None:
        same_names(values, baseline, what)
        for name, value in baseline.items():
            divisor = number_between(value, f"the baseline's {what} of {name}", largest=largest)
            checked[name] /= above_zero(divisor, f"the baseline's {what} of {name}")
    if not checked:
        raise UndefinedMetricError(f"{what} are empty", expected="at least one name", found="none")
    return exact_mean(checked.values())


def above_zero(divisor: float, what: str) -> float:
    """Return ``divisor``; refuse to divide by nothing or less."""
    if divisor <= 0:
        raise UndefinedMetricError(
            f"{what} cannot be divided by", expected="a number above 0", found=f"{divisor:g}"
        )
    return divisor


def _in_range(low: float, high: float, what: str, largest: float) -> None:
    if low < 0 or high > largest:
        raise UndefinedMetricError(
            f"{what} is outside [0, {largest:g}]",
            expected="fractions" if largest == 1 else f"numbers from 0 to {largest:g}",
            found=f"values from {low:g} to {high:g}",
            fix="divide a percentage by 100" if largest == 1 else "",
        )
