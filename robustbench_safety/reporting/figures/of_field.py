"""Figures of one record among the others: profile, clean against shifted, Pareto plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from robustbench_safety.reporting.charts.axes import Axis, stretched
from robustbench_safety.reporting.charts.pareto import front_of, pareto_axes
from robustbench_safety.reporting.charts.profile import strip_axis
from robustbench_safety.reporting.charts.scatter import scatter_axes
from robustbench_safety.reporting.charts.shapes import Cloud, Pareto, Point, Scatter, Strip, Unit, amount
from robustbench_safety.reporting.charts.svg import tick_label
from robustbench_safety.reporting.figures.canvas import FIELD, FRONT, OTHER, SOFT, bare, drawable

__all__ = ["pareto_figure", "profile_figure", "scatter_figure"]

_TREND = "#0b7a68"
#: Left, right, top and bottom, in the units of the pages' charts: for their ranges and their round numbers.
_PLACES = (0.0, 300.0, 0.0, 220.0)
_COLUMNS = 2


def profile_figure(strips: Sequence[Strip], name: str) -> Figure:
    """Draw each headline column among all ranked rows, right better."""
    figure = Figure(figsize=(6.4, 0.9 + 0.8 * len(strips)), layout="constrained")
    for i, strip in enumerate(strips):
        axes = figure.add_subplot(len(strips), 1, i + 1)
        bare(axes)
        axes.set_yticks([])
        axes.set_ylim(-1, 1)
        axes.axhline(0, color=SOFT, linewidth=0.8, zorder=0)
        said = "not measured"
        axis = strip_axis(strip, *_PLACES[:2])
        if axis is not None:
            _lay(axes, x=axis, unit=strip.quantity.unit)
            values = strip.field.values
            axes.plot(values, [0.0] * len(values), "o", color=FIELD, alpha=0.5, markersize=6, mew=0)
        if strip.own is not None:
            said = amount(strip.own, strip.quantity.unit) + (f", rank {strip.rank}" if strip.rank else "")
            if strip.low is not None and strip.high is not None:
                axes.plot([strip.low, strip.high], [0, 0], color=OTHER, alpha=0.6, linewidth=3)
            axes.plot(strip.own, 0, "o", color=OTHER, markersize=8, markeredgecolor="white")
        axes.set_title(strip.quantity.title, fontsize=9.5)
        axes.set_title(said, fontsize=9.5, fontweight="normal", loc="right")
    title = f"{drawable(name)}\nThe headline columns among all ranked rows; right is better"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def scatter_figure(shape: Scatter, name: str) -> Figure:
    """Draw clean against shifted, with the line of published models and its band where there is one."""
    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    x, y = scatter_axes(shape, _PLACES)

    def at(value: float) -> float:
        return stretched(value, shape.stretch)

    if shape.line is not None:
        clean = [at(one[0]) for one in shape.line.curve]
        low, high = ([at(one[place]) for one in shape.line.curve] for place in (2, 3))
        axes.fill_between(clean, low, high, color=_TREND, alpha=0.16, linewidth=0)
        label = f"{shape.line.n_models} published models"
        axes.plot(clean, [at(one[1]) for one in shape.line.curve], color=_TREND, linewidth=1.5, label=label)
        axes.legend(loc="upper left")
    _lay(axes, x=x, unit=shape.x.unit)
    _lay(axes, y=y, unit=shape.y.unit)
    _mark(axes, shape.field, shape.own, at)
    axes.set(xlabel=shape.x.heading, ylabel=shape.y.heading)
    above = f"\n{shape.above}" if shape.above else ""
    axes.set_title(f"{drawable(name)}\n{shape.x.title} against {shape.y.title}{above}", fontsize=10)
    return figure


def pareto_figure(shapes: Sequence[Pareto], name: str) -> Figure:
    """Draw the first headline column against each of the next, up and right better."""
    across = min(len(shapes), _COLUMNS)
    down = -(-len(shapes) // across)
    figure = Figure(figsize=(4.4 * across, 0.7 + 3.4 * down), layout="constrained")
    for i, shape in enumerate(shapes):
        axes = figure.add_subplot(down, across, i + 1)
        x, y = pareto_axes(shape, _PLACES)
        front = front_of(shape.field, shape.x, shape.y)
        if len(front) > 1:
            # From the best along x down to the next: first to its x, then to its y.
            xs = [place for one in front for place in (one.x, one.x)][1:]
            ys = [place for one in front for place in (one.y, one.y)][:-1]
            axes.plot(xs, ys, color=FRONT, linewidth=1.2, linestyle=(0, (4, 3)))
        _lay(axes, x=x, unit=shape.x.unit)
        _lay(axes, y=y, unit=shape.y.unit)
        _mark(axes, shape.field, shape.own)
        axes.set(xlabel=shape.x.heading, ylabel=shape.y.heading)
    title = (
        f"{drawable(name)}\nPareto plots: up and right is better; blue rows are on the front of all columns"
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def _same(value: float) -> float:
    return value


def _mark(axes: Axes, field: Cloud, own: Point | None, at: Callable[[float], float] = _same) -> None:
    """Draw the rows, those on the Pareto front stronger, and this row with its name."""
    for front, colour, alpha in ((False, FIELD, 0.5), (True, FRONT, 0.85)):
        here = [one for one in field.points if one.front is front]
        xs, ys = [at(one.x) for one in here], [at(one.y) for one in here]
        axes.plot(xs, ys, "o", color=colour, alpha=alpha, markersize=6, mew=0)
    if own is not None:
        x, y = at(own.x), at(own.y)
        axes.plot(x, y, "o", color=OTHER, markersize=8, markeredgecolor="white")
        # Towards the middle of the plot, where there is room for the name.
        across, up = axes.transAxes.inverted().transform(axes.transData.transform((x, y)))
        right, below = across < 0.5, up > 0.5
        axes.annotate(
            drawable(own.name, 26), (x, y), xytext=(8 if right else -8, -4 if below else 4),
            textcoords="offset points", ha="left" if right else "right", va="top" if below else "bottom",
            fontsize=9, fontweight="bold",
        )  # fmt: skip


def _lay(axes: Axes, *, unit: Unit, x: Axis | None = None, y: Axis | None = None) -> None:
    """Set range, direction and round numbers of one side, as the page's chart has them."""
    axis = x or y
    if axis is None:
        return
    low, high = (stretched(end, axis.stretch) for end in (axis.low, axis.high))
    # Upwards on a page is towards 0: there the end of a rising axis lies before its start.
    rising = axis.start < axis.end if x is not None else axis.start > axis.end
    ticks = [stretched(value, axis.stretch) for value in axis.ticks()]
    labels = [tick_label(value, unit) for value in axis.ticks()]
    ends = (low, high) if rising else (high, low)
    if x is not None:
        axes.set_xlim(*ends)
        axes.set_xticks(ticks, labels)
    else:
        axes.set_ylim(*ends)
        axes.set_yticks(ticks, labels)
