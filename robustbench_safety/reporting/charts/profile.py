"""Profile: each headline column of a row among all ranked rows, drawn so that right is better."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache

from markupsafe import Markup

from robustbench_safety.reporting.charts.axes import Axis, axis_over
from robustbench_safety.reporting.charts.shapes import Numbers, Strip, amount
from robustbench_safety.reporting.charts.svg import WIDTH, dots, figure, number, text, tick_label

__all__ = ["better_than", "profile_finding", "profile_strips", "strip_axis"]

_LEFT, _RIGHT = 14.0, WIDTH - 14.0
#: Height of a strip, and where its axis lies in it.
_STRIP, _AXIS = 58.0, 32.0


def strip_axis(strip: Strip, start: float, end: float) -> Axis | None:
    """Return the axis of a strip, ``end`` its better side; None where it has no value at all."""
    ends = (*strip.field.ordered[:1], *strip.field.ordered[-1:], strip.own, strip.low, strip.high)
    values = [value for value in ends if value is not None]
    return axis_over(strip.quantity, values, start=start, end=end) if values else None


def better_than(strip: Strip) -> tuple[int, int]:
    """Return how many rows of the field this row is better than, and how many rows there are beside it.

    A row with a rank is one of the field itself.
    """
    if strip.own is None:
        return 0, 0
    known, own = strip.field.ordered, strip.own
    below, up_to = bisect_left(known, own), bisect_right(known, own)
    beaten = below if strip.quantity.direction == "higher" else len(known) - up_to
    return beaten, len(known) - bool(strip.rank)


def profile_finding(strips: Sequence[Strip]) -> str:
    """Return in words what the profile shows."""
    said = []
    for strip in strips:
        if strip.own is None:
            said.append(f"{strip.quantity.title}: not measured")
            continue
        beaten, n = better_than(strip)
        value = amount(strip.own, strip.quantity.unit)
        rows = f"other ranked rows, rank {strip.rank}" if strip.rank else "ranked rows"
        said.append(f"{strip.quantity.title} {value}, better than {beaten} of {n} {rows}")
    return "; ".join(said) + "."


def profile_strips(prefix: str, strips: Sequence[Strip]) -> Markup:
    """Return one strip a column: a dot for each ranked row, this row's value with its interval.

    Args:
        prefix: Stands before every id.
        strips: In the order of the columns.
    """
    body: list[str] = []
    for i, strip in enumerate(strips):
        body += _strip(strip, i * _STRIP)
    bottom = len(strips) * _STRIP
    body.append(text(_RIGHT, bottom + 8, "better →", "c-label", anchor="end"))
    return figure(
        prefix,
        title="Profile of the headline columns against the field",
        finding=profile_finding(strips),
        height=bottom + 16,
        body=body,
    )


def _strip(strip: Strip, top: float) -> list[str]:
    line = top + _AXIS
    body = [text(_LEFT, top + 15, strip.quantity.title, "c-name")]
    axis = strip_axis(strip, _LEFT, _RIGHT)
    if strip.own is None or axis is None:
        body.append(text(_RIGHT, top + 15, "not measured", "c-label", anchor="end"))
    else:
        value = amount(strip.own, strip.quantity.unit)
        said = f"{value}, rank {strip.rank}" if strip.rank else value
        body.append(text(_RIGHT, top + 15, said, "c-value", anchor="end"))
    body.append(f'<path d="M{number(_LEFT)} {number(line)}H{number(_RIGHT)}" class="c-axis"/>')
    if axis is None:
        return body
    body.append(_field(strip.field, axis, line))
    if strip.own is not None:
        if strip.low is not None and strip.high is not None:
            ends = sorted((axis.at(strip.low), axis.at(strip.high)))
            body.append(f'<path d="M{number(ends[0])} {number(line)}H{number(ends[1])}" class="c-interval"/>')
        body.append(f'<circle cx="{number(axis.at(strip.own))}" cy="{number(line)}" r="4.5" class="c-own"/>')
    for tick in axis.ticks(5):
        at = axis.at(tick)
        anchor = "middle" if _LEFT + 8 < at < _RIGHT - 8 else ("end" if at > WIDTH / 2 else "")
        body.append(text(at, line + 17, tick_label(tick, strip.quantity.unit), "c-tick", anchor=anchor))
    return body


@lru_cache(maxsize=64)
def _field(field: Numbers, axis: Axis, line: float) -> str:
    return dots(((axis.at(value), line) for value in field.values), "c-field")
