"""Risk-coverage curve: the error among the most confident images, by how many of them are answered."""

from __future__ import annotations

from markupsafe import Markup

from robustbench_safety.reporting.charts.axes import Axis
from robustbench_safety.reporting.charts.shapes import RiskCoverage
from robustbench_safety.reporting.charts.svg import figure, grid, number, path, text

__all__ = ["marked_coverages", "risk_axis_top", "risk_coverage_curve", "risk_finding"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 348.0, 14.0, 236.0
_HEIGHT = 272.0
#: Coverages whose risk is written at the curve, fractions.
_MARKED = (0.5, 0.8, 1.0)
#: An axis of errors reaches at least so far.
_LEAST_TOP = 0.02


def marked_coverages(shape: RiskCoverage) -> list[tuple[float, float]]:
    """Return (coverage, risk) of the places that are written out, fractions."""
    n = len(shape.risks)
    return [(share, shape.risks[max(round(share * n), 1) - 1]) for share in _MARKED if n]


def risk_axis_top(shape: RiskCoverage) -> float:
    """Return how far the axis of risks reaches."""
    return min(max(1.18 * max(shape.risks, default=0.0), _LEAST_TOP), 1.0)


def risk_finding(shape: RiskCoverage) -> str:
    """Return in words what the curve shows."""
    if not shape.risks:
        return "There is no point."
    half, most, everything = (risk for _, risk in marked_coverages(shape))
    return (
        f"The error is {100 * everything:.1f} % when every image is answered, {100 * most:.1f} % among the "
        f"most confident 80 %, and {100 * half:.1f} % among the most confident half."
    )


def risk_coverage_curve(prefix: str, shape: RiskCoverage) -> Markup:
    """Return the curve; lower is better everywhere.

    Args:
        prefix: Stands before every id.
        shape: Risks at even steps of the coverage, fractions.
    """
    x = Axis(low=0, high=1, start=_LEFT, end=_RIGHT)
    y = Axis(low=0, high=risk_axis_top(shape), start=_BOTTOM, end=_TOP)
    body = grid(
        x, y, x_title="coverage % (most confident first)", y_title="error %",
        x_unit="fraction", y_unit="fraction",
    )  # fmt: skip
    n = len(shape.risks)
    points = [(x.at((i + 1) / n), y.at(risk)) for i, risk in enumerate(shape.risks)]
    if points:
        body.append(path([(points[0][0], _BOTTOM), *points, (points[-1][0], _BOTTOM)], "c-area", closed=True))
        body.append(path(points, "c-line"))
    for share, risk in marked_coverages(shape):
        at_x, at_y = x.at(share), y.at(risk)
        body.append(f'<circle cx="{number(at_x)}" cy="{number(at_y)}" r="3" class="c-own"/>')
        body.append(text(at_x - 5, max(at_y - 7, _TOP - 3), f"{100 * risk:.1f}", "c-value", anchor="end"))
    return figure(
        prefix,
        title=f"Risk-coverage curve, {shape.title}",
        finding=risk_finding(shape),
        height=_HEIGHT,
        body=body,
    )
