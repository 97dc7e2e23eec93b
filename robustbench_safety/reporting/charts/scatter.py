"""Clean against shifted: a dot a row, with the line of published models where a suite has one."""

from __future__ import annotations

from functools import lru_cache

from markupsafe import Markup

from robustbench_safety.reporting.charts.axes import Axis, range_of
from robustbench_safety.reporting.charts.shapes import Cloud, Point, Quantity, Scatter, amount
from robustbench_safety.reporting.charts.svg import (
    WIDTH,
    dots,
    figure,
    grid,
    number,
    path,
    shortened,
    spoken,
    text,
)

__all__ = ["field_marks", "own_mark", "scatter_axes", "scatter_finding", "shift_scatter"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 346.0, 14.0, 240.0
_HEIGHT = 276.0
#: Width of a bold letter, and of what stands left of a plot.
_LETTER, _TITLE_ROOM = 6.9, _LEFT
#: Rows up to which each dot says by itself whose it is.
_NAMED = 60


def scatter_axes(shape: Scatter, places: tuple[float, float, float, float]) -> tuple[Axis, Axis]:
    """Return both axes over all that is drawn.

    Args:
        shape: What is drawn.
        places: Left, right, top and bottom of the plot.
    """
    left, right, top, bottom = places
    xs, ys = list(shape.field.x_ends), list(shape.field.y_ends)
    if shape.own is not None:
        xs.append(shape.own.x)
        ys.append(shape.own.y)
    if shape.line is not None:
        xs += [one[0] for one in shape.line.curve]
        ys += [end for one in shape.line.curve for end in one[2:]]
    axes = []
    for quantity, values, start, end in ((shape.x, xs, left, right), (shape.y, ys, bottom, top)):
        low, high = range_of(values, quantity.unit, signed=min(values) < 0)
        if shape.stretch != "linear":
            low, high = max(low, 1e-3), min(high, 0.999)
        axes.append(Axis(low=low, high=high, start=start, end=end, stretch=shape.stretch))
    return axes[0], axes[1]


def scatter_finding(shape: Scatter) -> str:
    """Return in words what the scatter shows."""
    n = len(shape.field.points)
    said = [f"{n} ranked row{'s' if n != 1 else ''}."]
    if shape.own is not None:
        x, y = amount(shape.own.x, shape.x.unit), amount(shape.own.y, shape.y.unit)
        said.append(f"This row has {shape.x.title} {x} and {shape.y.title} {y}.")
    if shape.line is not None:
        said.append(f"The line is that of {shape.line.n_models} published models.")
        said.append(shape.above)
    else:
        said.append("This suite has no line of published models. Blue rows lie on the Pareto front.")
    return " ".join(part for part in said if part)


def shift_scatter(prefix: str, shape: Scatter) -> Markup:
    """Return the scatter; the line and its band lie below the dots.

    Args:
        prefix: Stands before every id.
        shape: At least one row, or a line.
    """
    x, y = scatter_axes(shape, (_LEFT, _RIGHT, _TOP, _BOTTOM))
    body = grid(
        x, y, x_title=shape.x.heading, y_title=shape.y.heading, x_unit=shape.x.unit, y_unit=shape.y.unit
    )
    if shape.line is not None:
        curve = shape.line.curve
        lower = [(x.at(clean), y.at(low)) for clean, _, low, _ in curve]
        upper = [(x.at(clean), y.at(high)) for clean, _, _, high in curve]
        body.append(path([*lower, *reversed(upper)], "c-band", closed=True))
        body.append(path([(x.at(clean), y.at(on)) for clean, on, _, _ in curve], "c-trend"))
    body.append(field_marks(shape.field, x, y, shape.x, shape.y))
    if shape.own is not None:
        body += own_mark(shape.own, x, y)
    return figure(
        prefix,
        title=f"{shape.x.title} against {shape.y.title}",
        finding=scatter_finding(shape),
        height=_HEIGHT,
        body=body,
    )


@lru_cache(maxsize=64)
def field_marks(field: Cloud, x: Axis, y: Axis, across: Quantity, up: Quantity) -> str:
    """Return a dot for each row, stronger on the Pareto front; each with its name where they are few."""
    if len(field.points) > _NAMED:
        return "".join(
            dots(((x.at(one.x), y.at(one.y)) for one in field.points if one.front is front), kind)
            for front, kind in ((False, "c-field"), (True, "c-front"))
        )
    return "".join(
        f'<path d="M{number(x.at(one.x))} {number(y.at(one.y))}h0" '
        f'class="{"c-front" if one.front else "c-field"}"><title>{spoken(shortened(one.name, 60))}: '
        f"{spoken(across.title)} {amount(one.x, across.unit)}, {spoken(up.title)} {amount(one.y, up.unit)}"
        "</title></path>"
        for one in field.points
    )


def own_mark(own: Point, x: Axis, y: Axis) -> list[str]:
    """Return the dot of this row with its name, on the side that has room for it, or as much as has room."""
    at_x, at_y = x.at(own.x), y.at(own.y)
    room = max(WIDTH - at_x, at_x - _TITLE_ROOM) - 9
    name = shortened(shortened(own.name), max(int(room / _LETTER), 2))
    right = at_x + 9 + _LETTER * len(name) <= WIDTH
    bottom = max(y.start, y.end)
    return [
        f'<circle cx="{number(at_x)}" cy="{number(at_y)}" r="5" class="c-own"/>',
        text(
            at_x + (9 if right else -9), min(max(at_y - 7, 12), bottom - 4), name, "c-name",
            anchor="" if right else "end",
        ),
    ]  # fmt: skip
