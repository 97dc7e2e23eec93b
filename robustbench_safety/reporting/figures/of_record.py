"""Figures of one record by itself: heat map, reliability, risk and coverage, OOD scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from robustbench_safety.reporting.charts.heat_map import N_SHADES, row_mean, shade
from robustbench_safety.reporting.charts.risk_coverage import marked_coverages, risk_axis_top
from robustbench_safety.reporting.charts.score_histogram import shares
from robustbench_safety.reporting.charts.shapes import HeatMap, Histogram, Reliability, RiskCoverage
from robustbench_safety.reporting.figures.canvas import ACCENT, FIELD, INK, OTHER, SOFT, bare, drawable

__all__ = ["heat_figure", "histogram_figure", "reliability_figure", "risk_figure"]

#: The ramp of the pages' heat map, pale to deep.
_RAMP = ("#fdf8ee", "#f8dfb0", "#efb56d", "#d9813b", "#b04e22", "#7a2a17", "#4a140f")
#: Step of the ramp from which white letters are read better than black ones.
_WHITE_FROM = 12
_COLUMNS = 3


def heat_figure(heat: HeatMap, name: str) -> Figure:
    """Draw error by corruption and severity, the error in percent in each cell."""
    rows = [(group.name, row) for group in heat.groups for row in group.rows]
    figure = Figure(figsize=(2.6 + 0.75 * len(heat.levels), 1.5 + 0.32 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    steps = np.array(
        [[np.nan if value is None else shade(value) for value in row.values] for _, row in rows], dtype=float
    )
    ramp = LinearSegmentedColormap.from_list("error", _RAMP, N=N_SHADES)
    axes.imshow(np.ma.masked_invalid(steps), cmap=ramp, vmin=0, vmax=N_SHADES - 1, aspect="auto")
    for i, (_, row) in enumerate(rows):
        for j, value in enumerate(row.values):
            said = "–" if value is None else f"{100 * value:.1f}"
            white = value is not None and shade(value) >= _WHITE_FROM
            axes.text(j, i, said, ha="center", va="center", fontsize=9, color="white" if white else "black")
        mean = row_mean(row)
        if mean is not None:
            axes.text(
                len(heat.levels) - 0.1, i, f"{100 * mean:.1f}", ha="center", va="center", fontsize=9,
                fontweight="bold",
            )  # fmt: skip
    axes.text(len(heat.levels) - 0.1, -0.72, "mean", ha="center", va="bottom", fontsize=9, color=SOFT)
    axes.set_xlim(-0.5, len(heat.levels) + 0.35)
    axes.set_xticks(range(len(heat.levels)), [str(level) for level in heat.levels])
    axes.set_yticks(range(len(rows)), [drawable(row.name.replace("_", " ")) for _, row in rows])
    axes.xaxis.tick_top()
    bare(axes)
    for i in range(1, len(rows)):
        if rows[i][0] != rows[i - 1][0]:
            axes.axhline(i - 0.5, color="white", linewidth=5)
    axes.set_title(f"{drawable(name)}\n{drawable(heat.dataset)}: error % by severity", pad=14)
    return figure


def reliability_figure(shape: Reliability, name: str) -> Figure:
    """Draw accuracy in bins of confidence, its gap to the mean confidence, and the number of images."""
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    n, width = len(shape.bins), 1 / len(shape.bins)
    for i, (count, confidence, accuracy) in enumerate(shape.bins):
        middle = 100 * (i + 0.5) * width
        counts.bar(middle, count, 100 * width * 0.92, color=FIELD, alpha=0.6)
        if confidence is None or accuracy is None:
            continue
        low, high = sorted((confidence, accuracy))
        axes.bar(middle, 100 * low, 100 * width * 0.92, color=ACCENT, alpha=0.5)
        axes.bar(middle, 100 * (high - low), 100 * width * 0.92, bottom=100 * low, color=OTHER, alpha=0.6)
        half = 50 * width * 0.92
        axes.hlines(100 * accuracy, middle - half, middle + half, color=ACCENT, linewidth=2)
    axes.plot([0, 100], [0, 100], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 100), ylim=(0, 100), ylabel="accuracy %")
    axes.legend(
        handles=[
            Patch(color=ACCENT, alpha=0.6, label="accuracy"),
            Patch(color=OTHER, alpha=0.6, label="gap"),
        ],
        loc="upper left",
    )
    counts.set(xlabel=f"confidence % ({n} bins)", ylabel="images")
    counts.set_yticks([0, max((count for count, _, _ in shape.bins), default=1)])
    measured = f"\n{shape.measured}" if shape.measured else ""
    axes.set_title(f"{drawable(name)}\nReliability, {drawable(shape.title)}{measured}")
    return figure


def risk_figure(shape: RiskCoverage, name: str) -> Figure:
    """Draw the error among the most confident, by how many of them are answered."""
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    n = len(shape.risks)
    coverage = [100 * (i + 1) / n for i in range(n)]
    risks = [100 * risk for risk in shape.risks]
    axes.fill_between(coverage, risks, color=ACCENT, alpha=0.12, linewidth=0)
    axes.plot(coverage, risks, color=ACCENT, linewidth=2)
    for share, risk in marked_coverages(shape):
        axes.plot(100 * share, 100 * risk, "o", color=OTHER, markersize=5)
        axes.annotate(
            f"{100 * risk:.1f}", (100 * share, 100 * risk), xytext=(-6, 6), textcoords="offset points",
            ha="right",
        )  # fmt: skip
    axes.set(xlim=(0, 101), ylim=(0, 100 * risk_axis_top(shape)))
    axes.set(xlabel="coverage % (most confident first)", ylabel="error %")
    axes.set_title(f"{drawable(name)}\nRisk and coverage, {drawable(shape.title)}")
    return figure


def histogram_figure(shapes: Sequence[Histogram], name: str) -> Figure:
    """Draw the scores of one detector on every set, known and unknown images as shares of their own."""
    across = min(len(shapes), _COLUMNS)
    down = -(-len(shapes) // across)
    figure = Figure(figsize=(3.4 * across, 0.9 + 2.2 * down), layout="constrained")
    for i, shape in enumerate(shapes):
        axes = figure.add_subplot(down, across, i + 1)
        # A record keeps ten decimals, so scores that are nearly equal have a range without a width.
        high = shape.high if shape.high > shape.low else shape.low + 1
        edges = np.linspace(shape.low, high, len(shape.inside) + 1)
        for counts, colour in ((shape.inside, ACCENT), (shape.outside, OTHER)):
            axes.stairs([100 * share for share in shares(counts)], edges, fill=True, color=colour, alpha=0.38)
            axes.stairs([100 * share for share in shares(counts)], edges, color=colour, linewidth=1)
        said = "" if shape.auroc is None else f"\nAUROC {100 * shape.auroc:.2f} %"
        axes.set_title(f"{drawable(shape.dataset, 32)}{said}", fontsize=9, fontweight="normal")
        axes.grid(visible=False)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(shape.low, high)
    detector = f", {shapes[0].detector}" if shapes[0].detector else ""
    figure.suptitle(
        f"{drawable(name)}\nOOD scores{drawable(detector)}", x=0.01, ha="left", fontsize=11, fontweight="bold"
    )
    figure.supxlabel("OOD score (higher is less known)", fontsize=9, color=INK)
    marks = (("known", ACCENT), ("unknown", OTHER))
    handles = [Patch(color=colour, alpha=0.5, label=label) for label, colour in marks]
    figure.legend(handles=handles, loc="upper right", ncols=2)
    return figure
