"""Every figure that a record has data for, by file name."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure

from robustbench_safety.files import slugify
from robustbench_safety.records import ScoreRecord, Suite
from robustbench_safety.reporting.charts.from_field import Field, paretos, scatters, strips
from robustbench_safety.reporting.charts.from_record import heat_maps, histograms, reliabilities, risk_curves
from robustbench_safety.reporting.charts.shapes import Histogram
from robustbench_safety.reporting.figures.canvas import png_of, style
from robustbench_safety.reporting.figures.of_field import pareto_figure, profile_figure, scatter_figure
from robustbench_safety.reporting.figures.of_record import (
    heat_figure,
    histogram_figure,
    reliability_figure,
    risk_figure,
)
from robustbench_safety.reporting.rows import Row

__all__ = ["figures_of"]


def figures_of(
    record: ScoreRecord, row: Row | None, field: Field | None, suite: Suite | None
) -> dict[str, bytes]:
    """Draw the figures of a record as PNG; the same record makes the same bytes on the same matplotlib.

    Args:
        record: The record.
        row: Its row, where it has one on the board.
        field: The ranked rows of its board; None for the record alone.
        suite: The shipped suite that it was scored on, where it is one.

    Returns:
        By file name.
    """
    with style():
        figures = [*_own(record, suite), *_among_others(record, row, field, suite)]
        return {f"{name}.png": png_of(figure) for name, figure in figures}


def _own(record: ScoreRecord, suite: Suite | None) -> Iterator[tuple[str, Figure]]:
    name = record.display_name
    for heat in heat_maps(record):
        yield f"heat_map_{slugify(heat.cell)}", heat_figure(heat, name)
    for reliability in reliabilities(record):
        yield f"reliability_{slugify(reliability.cell)}", reliability_figure(reliability, name)
    for risk in risk_curves(record):
        yield f"risk_coverage_{slugify(risk.cell)}", risk_figure(risk, name)
    by_detector: dict[str, list[Histogram]] = {}
    for shape in histograms(record, {cell.id: cell for cell in suite.cells} if suite is not None else None):
        by_detector.setdefault(shape.detector, []).append(shape)
    for detector, shapes in by_detector.items():
        yield f"ood_scores_{slugify(detector)}" if detector else "ood_scores", histogram_figure(shapes, name)


def _among_others(
    record: ScoreRecord, row: Row | None, field: Field | None, suite: Suite | None
) -> Iterator[tuple[str, Figure]]:
    name = record.display_name
    if field is not None and any(numbers.values for numbers in field.numbers.values()):
        yield "profile", profile_figure(strips(record, row, field), name)
    for shape in scatters(record, row, field, suite):
        yield f"shift_{slugify(shape.cell)}", scatter_figure(shape, name)
    plots = paretos(record, row, field) if field is not None else []
    if plots:
        yield "pareto", pareto_figure(plots, name)
