"""What each chart is drawn of: plain numbers, the same for the page's SVG and for the PNG files.

Values are fractions unless the unit says otherwise; percent is for labels alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

__all__ = [
    "Cloud",
    "HeatGroup",
    "HeatMap",
    "HeatRow",
    "Histogram",
    "Line",
    "Numbers",
    "Pareto",
    "Point",
    "Quantity",
    "Reliability",
    "RiskCoverage",
    "Scatter",
    "Stretch",
    "Strip",
    "amount",
]

Unit = Literal["fraction", "nats", "score"]
#: How an axis is stretched; the two others bring accuracies of published models onto a straight line.
Stretch = Literal["linear", "logit", "probit"]


def amount(value: float, unit: Unit, *, digits: int = 2) -> str:
    """Return a value with its unit as sentences have it: ``12.34 %``, ``0.3727 nats``.

    Example:
        >>> amount(0.12345, "fraction"), amount(0.12345, "fraction", digits=1), amount(0.5, "nats")
        ('12.35 %', '12.3 %', '0.5000 nats')
    """
    if unit == "fraction":
        return f"{100 * value:.{digits}f} %"
    return f"{value:.4f}" + (" nats" if unit == "nats" else "")


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What stands along an axis."""

    title: str
    unit: Unit
    direction: Literal["lower", "higher"]
    """Which way is good."""

    @property
    def heading(self) -> str:
        """Title with its unit and the arrow that says which way is good."""
        unit = {"fraction": " %", "nats": " (nats)", "score": ""}[self.unit]
        return f"{self.title}{unit} {'↓' if self.direction == 'lower' else '↑'}"


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """One corruption."""

    name: str
    values: tuple[float | None, ...]
    """Error at each level, fractions; None where it was not measured."""


@dataclass(frozen=True, kw_only=True)
class HeatGroup:
    """Corruptions of one kind: noise, blur, weather, digital; "" where the names belong to none."""

    name: str
    rows: tuple[HeatRow, ...]


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Error by corruption and severity."""

    cell: str
    dataset: str
    levels: tuple[int, ...]
    groups: tuple[HeatGroup, ...]
    n: int
    """Images of each condition."""
    clean: float | None = None
    """Error without corruption, where the record has it."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Confidence against accuracy."""

    cell: str
    title: str
    bins: tuple[tuple[int, float | None, float | None], ...]
    """(n, mean confidence, accuracy) in equal bins of confidence from 0 to 1."""
    measured: str = ""
    """The calibration error of the same images, in words."""


@dataclass(frozen=True, kw_only=True)
class RiskCoverage:
    """Error among the most confident."""

    cell: str
    title: str
    risks: tuple[float, ...]
    """Error rate among the most confident 1 %, 2 % ... of the images, fractions."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """OOD scores of one detector on known images and on one set of unknown ones."""

    cell: str
    dataset: str
    detector: str
    """"" where nobody says which it is."""
    low: float
    high: float
    inside: tuple[int, ...]
    outside: tuple[int, ...]
    auroc: float | None
    """Fraction; None where the record has none of this set and detector."""

    @property
    def title(self) -> str:
        """Set and detector."""
        return f"{self.dataset}, {self.detector}" if self.detector else self.dataset


@dataclass(frozen=True, kw_only=True, eq=False)
class Numbers:
    """One column of all ranked rows.

    Compared by identity: thousands of pages show the same field, and what was drawn of it once is kept.
    """

    values: tuple[float, ...]

    @cached_property
    def ordered(self) -> tuple[float, ...]:
        """The values, ascending."""
        return tuple(sorted(self.values))


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One column of a row among all rows that are ranked."""

    quantity: Quantity
    field: Numbers
    own: float | None
    low: float | None = None
    high: float | None = None
    rank: str = ""
    """Place as an interval, "" for a row that is not ranked."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One row."""

    name: str
    x: float
    y: float
    front: bool = False
    """On the Pareto front over all headline columns."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """All ranked rows in two columns; compared by identity, as :class:`Numbers` are."""

    points: tuple[Point, ...]

    @cached_property
    def x_ends(self) -> tuple[float, ...]:
        """Lowest and highest x; empty where there is no row."""
        return _ends([point.x for point in self.points])

    @cached_property
    def n_front(self) -> int:
        """Rows on the Pareto front over all headline columns."""
        return sum(point.front for point in self.points)

    @cached_property
    def y_ends(self) -> tuple[float, ...]:
        """Lowest and highest y; empty where there is no row."""
        return _ends([point.y for point in self.points])


def _ends(values: list[float]) -> tuple[float, ...]:
    return (min(values), max(values)) if values else ()


@dataclass(frozen=True, kw_only=True)
class Line:
    """What published models let one expect."""

    curve: tuple[tuple[float, float, float, float], ...]
    """Clean accuracy, accuracy on the line, lower and upper end of its band."""
    n_models: int


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Clean against shifted, a point a row."""

    cell: str
    x: Quantity
    y: Quantity
    stretch: Stretch
    field: Cloud
    own: Point | None
    line: Line | None = None
    above: str = ""
    """How far the row lies above or below the line, in words."""


@dataclass(frozen=True, kw_only=True)
class Pareto:
    """Two headline columns against each other, a point a row."""

    x: Quantity
    y: Quantity
    field: Cloud
    own: Point | None
