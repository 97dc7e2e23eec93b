"""Axes: from a value to its place, and the round numbers written along them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

from robustbench_safety.reporting.charts.shapes import Quantity, Stretch, Unit

__all__ = ["Axis", "axis_over", "range_of", "stretched", "ticks_between"]

#: An axis is no narrower than this share: points that differ by rounding alone do not fill it.
_NARROWEST = 0.02
#: Beyond this nothing is told apart: a record may have any finite number, and the largest have no finite sum.
_FURTHEST = 1e30
#: Share of the range left free on either side.
_MARGIN = 0.06
#: Ticks of a stretched axis, in percent, from which those inside the range are taken.
_STRETCHED = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.9)
#: Nearest to 0 and 1 that a stretched axis goes.
_END = 1e-4


def stretched(value: float, stretch: Stretch) -> float:
    """Return the place of an accuracy on a stretched axis, in the axis's own unit.

    Args:
        value: Fraction; on a stretched axis 0 and 1 are drawn at its ends.
        stretch: ``linear``, ``logit`` or ``probit``.

    Example:
        >>> stretched(0.5, "logit"), round(stretched(0.9, "logit"), 4), round(stretched(0.975, "probit"), 2)
        (0.0, 2.1972, 1.96)
    """
    if stretch == "linear":
        return value
    inside = min(max(value, _END), 1 - _END)
    if stretch == "logit":
        return math.log(inside / (1 - inside))
    return NormalDist().inv_cdf(inside)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Values between ``low`` and ``high``, laid from ``start`` to ``end`` in the picture's units."""

    low: float
    high: float
    start: float
    end: float
    stretch: Stretch = "linear"

    def at(self, value: float) -> float:
        """Return where a value lies; outside the range it is laid on the nearer end."""
        low, high = self._ends
        share = (stretched(value, self.stretch) - low) / (high - low)
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return stretched(self.low, self.stretch), stretched(self.high, self.stretch)

    def ticks(self, most: int = 6) -> tuple[float, ...]:
        """Return round values inside the range, at most ``most`` on a linear axis."""
        if self.stretch == "linear":
            return ticks_between(self.low, self.high, most=most)
        inside = [percent / 100 for percent in _STRETCHED if self.low <= percent / 100 <= self.high]
        # Labels that would touch are left out, from the crowded ends of the axis inwards.
        kept: list[float] = []
        for value in sorted(inside, key=lambda share: abs(share - 0.5)):
            if all(abs(self.at(value) - self.at(other)) >= _APART for other in kept):
                kept.append(value)
        return tuple(sorted(kept))


#: Least distance of two labels of a stretched axis, in the picture's units.
_APART = 26.0


def ticks_between(low: float, high: float, *, most: int = 6) -> tuple[float, ...]:
    """Return the multiples of 1, 2 or 5 times a power of ten in [low, high], at most ``most`` of them.

    Example:
        >>> ticks_between(0.0, 1.0), ticks_between(0.31, 0.39, most=4)
        ((0.0, 0.2, 0.4, 0.6, 0.8, 1.0), (0.32, 0.34, 0.36, 0.38))
    """
    span = high - low
    power = math.floor(math.log10(span)) - 1
    for step in (factor * 10.0**exponent for exponent in range(power, power + 4) for factor in (1, 2, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return tuple(round(i * step, 10) for i in range(first, last + 1))
    return ()


def range_of(values: Iterable[float], unit: Unit, *, signed: bool = False) -> tuple[float, float]:
    """Return the range of an axis over values, with a margin; fractions stay within 0 and 1.

    Args:
        values: One at least.
        unit: Of the values.
        signed: Whether values below 0 and above 1 are in order: differences and ratios.

    Example:
        >>> range_of([0.25, 0.75], "fraction")
        (0.22, 0.78)
    """
    known = [min(max(value, -_FURTHEST), _FURTHEST) for value in values]
    low, high = min(known), max(known)
    span = max(high - low, _NARROWEST if unit == "fraction" else _NARROWEST * max(abs(high), _NARROWEST))
    middle = (low + high) / 2
    low, high = middle - span * (0.5 + _MARGIN), middle + span * (0.5 + _MARGIN)
    if unit == "fraction" and not signed:
        low = max(low, 0.0)
        high = min(high, 1.0) if max(known) <= 1 else high
    elif min(known) >= 0:
        low = max(low, 0.0)
    return round(low, 10), round(high, 10)


def axis_over(
    quantity: Quantity, values: Sequence[float], *, start: float, end: float, stretch: Stretch = "linear"
) -> Axis:
    """Return the axis of a quantity on which ``end`` is the better side."""
    low, high = range_of(values, quantity.unit, signed=min(values) < 0)
    if stretch != "linear":
        low, high = max(low, _END), min(high, 1 - _END)
    if quantity.direction == "lower":
        start, end = end, start
    return Axis(low=low, high=high, start=start, end=end, stretch=stretch)
