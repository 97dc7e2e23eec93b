"""Pareto plot: two headline columns against each other, up and right better in both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from markupsafe import Markup

from robustbench_safety.reporting.charts.axes import Axis, axis_over
from robustbench_safety.reporting.charts.scatter import field_marks, own_mark
from robustbench_safety.reporting.charts.shapes import Cloud, Pareto, Point, Quantity, amount
from robustbench_safety.reporting.charts.svg import figure, grid, path, text

__all__ = ["front_of", "pareto_axes", "pareto_finding", "pareto_plot", "staircase", "where_on_front"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 346.0, 14.0, 214.0
_HEIGHT = 250.0


@lru_cache(maxsize=64)
def front_of(field: Cloud, x: Quantity, y: Quantity) -> tuple[Point, ...]:
    """Return the rows that no other row is better than in both columns, best first along the x axis.

    Of rows that are equal in both columns the first is taken: it stands for all of them.
    """
    x_sign = 1 if x.direction == "higher" else -1
    y_sign = 1 if y.direction == "higher" else -1
    front: list[Point] = []
    for point in sorted(field.points, key=lambda one: (-x_sign * one.x, -y_sign * one.y, one.name)):
        if not front or y_sign * point.y > y_sign * front[-1].y:
            front.append(point)
    return tuple(front)


def pareto_axes(shape: Pareto, places: tuple[float, float, float, float]) -> tuple[Axis, Axis]:
    """Return both axes, right and up better.

    Args:
        shape: What is drawn.
        places: Left, right, top and bottom of the plot.
    """
    left, right, top, bottom = places
    own = [shape.own] if shape.own is not None else []
    x = axis_over(shape.x, [*shape.field.x_ends, *(one.x for one in own)], start=left, end=right)
    y = axis_over(shape.y, [*shape.field.y_ends, *(one.y for one in own)], start=bottom, end=top)
    return x, y


def staircase(front: Sequence[Point], x: Axis, y: Axis) -> list[tuple[float, float]]:
    """Return the corners of the line under which every row lies, from the right to the left [P, 2]."""
    corners: list[tuple[float, float]] = []
    for i, point in enumerate(front):
        at = (x.at(point.x), y.at(point.y))
        if i:
            corners.append((at[0], corners[-1][1]))
        corners.append(at)
    return corners


def pareto_finding(shape: Pareto) -> str:
    """Return in words what the plot shows."""
    n_pair = len(front_of(shape.field, shape.x, shape.y))
    said = (
        f"Of {len(shape.field.points)} ranked rows {n_pair} lie on the front of these two columns, and "
        f"{shape.field.n_front} on that of all headline columns."
    )
    return f"{said} {where_on_front(shape)}".strip()


def where_on_front(shape: Pareto) -> str:
    """Return whether this row lies on the front of the two columns, "" where it lacks one of them."""
    own = shape.own
    if own is None:
        return ""
    x, y = amount(own.x, shape.x.unit), amount(own.y, shape.y.unit)
    x_sign = 1 if shape.x.direction == "higher" else -1
    y_sign = 1 if shape.y.direction == "higher" else -1
    # The front alone is asked: what beats a row is beaten by a row of the front, or lies on it.
    beaten = any(
        x_sign * (one.x - own.x) >= 0 and y_sign * (one.y - own.y) >= 0 and (one.x, one.y) != (own.x, own.y)
        for one in front_of(shape.field, shape.x, shape.y)
    )
    where = "not on the front" if beaten else "on the front"
    return f"This row has {shape.x.title} {x} and {shape.y.title} {y}: {where} of these two."


def pareto_plot(prefix: str, shape: Pareto) -> Markup:
    """Return the plot with the front of its two columns as a line.

    Args:
        prefix: Stands before every id.
        shape: One row at least.
    """
    x, y = pareto_axes(shape, (_LEFT, _RIGHT, _TOP, _BOTTOM))
    body = grid(
        x, y, x_title=shape.x.heading, y_title=shape.y.heading, x_unit=shape.x.unit, y_unit=shape.y.unit
    )
    front = front_of(shape.field, shape.x, shape.y)
    if front:
        body.append(path(staircase(front, x, y), "c-stairs"))
    body.append(field_marks(shape.field, x, y, shape.x, shape.y))
    if shape.own is not None:
        body += own_mark(shape.own, x, y)
    body.append(text(_RIGHT, _HEIGHT - 6, "better ↗", "c-label", anchor="end"))
    return figure(
        prefix,
        title=f"{shape.x.title} against {shape.y.title}",
        finding=pareto_finding(shape),
        height=_HEIGHT,
        body=body,
    )
