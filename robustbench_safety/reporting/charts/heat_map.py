"""Corruption by severity: an HTML table with coloured cells, which reads aloud as a table does."""

from __future__ import annotations

import math

from markupsafe import Markup

from robustbench_safety.reporting.charts.shapes import HeatMap, HeatRow
from robustbench_safety.reporting.charts.svg import spoken

__all__ = ["N_SHADES", "heat_table", "row_mean", "shade", "worst_cell"]

#: Steps of the colour scale: of 5 points each, from 0 to 100 %, the same in every table.
N_SHADES = 20


def shade(error: float) -> int:
    """Return the step of the colour scale that an error falls on.

    Example:
        >>> shade(0.0), shade(0.049), shade(0.05), shade(1.0)
        (0, 0, 1, 19)
    """
    # The tiny addition keeps 0.15, which lies a little below 3 x 0.05, on its own step.
    return min(max(math.floor(error * N_SHADES + 1e-9), 0), N_SHADES - 1)


def row_mean(row: HeatRow) -> float | None:
    """Return the plain mean over the levels, None where one is missing."""
    known = [value for value in row.values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(row.values) else None


def worst_cell(heat: HeatMap) -> tuple[str, int, float] | None:
    """Return corruption, level and error where the error is highest."""
    cells = [
        (value, -place, row.name, level)
        for place, row in enumerate(row for group in heat.groups for row in group.rows)
        for level, value in zip(heat.levels, row.values, strict=True)
        if value is not None
    ]
    if not cells:
        return None
    value, _, name, level = max(cells, key=lambda cell: (cell[0], cell[1]))
    return name, level, value


def heat_table(prefix: str, heat: HeatMap) -> Markup:
    """Return the table, the error in percent printed in each cell.

    Args:
        prefix: Stands before every id.
        heat: Errors as fractions.
    """
    named = any(group.name for group in heat.groups)
    head = "".join(f'<th scope="col">{level}</th>' for level in heat.levels)
    body = []
    for group in heat.groups:
        rows = "".join(_row(row) for row in group.rows)
        if named:
            span, title = len(heat.levels) + 2, spoken(group.name or "others")
            rows = f'<tr><th scope="rowgroup" colspan="{span}">{title}</th></tr>{rows}'
        body.append(f"<tbody>{rows}</tbody>")
    return Markup(  # noqa: S704  # every text in it is escaped
        f'<table class="heat" id="{spoken(prefix)}"><caption>{spoken(_caption(heat))}</caption>'
        f'<thead><tr><th scope="col">corruption</th>{head}<th scope="col">mean</th></tr></thead>'
        f"{''.join(body)}</table>"
    )


def _row(row: HeatRow) -> str:
    cells = "".join(_cell(value) for value in row.values)
    mean = row_mean(row)
    last = f'<td class="heat-mean">{_percent(mean)}</td>' if mean is not None else "<td>–</td>"
    return f'<tr><th scope="row">{spoken(row.name.replace("_", " "))}</th>{cells}{last}</tr>'


def _cell(value: float | None) -> str:
    if value is None:
        return '<td class="heat-none">–</td>'
    return f'<td class="s{shade(value)}">{_percent(value)}</td>'


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _caption(heat: HeatMap) -> str:
    words = f"Error in percent on {heat.dataset} by corruption and severity, {heat.n:,} images a cell."
    if heat.clean is not None:
        words += f" Without corruption it is {_percent(heat.clean)}."
    worst = worst_cell(heat)
    if worst is not None:
        name, level, value = worst
        words += f" Highest: {name.replace('_', ' ')} at severity {level}, {_percent(value)}."
    return words
