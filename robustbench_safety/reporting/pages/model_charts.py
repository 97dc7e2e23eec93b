"""The charts of one record, each with what is written above it, and what is said where one is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from robustbench_safety.records import ScoreRecord, Suite
from robustbench_safety.reporting.charts.from_field import Field, paretos, scatters, strips
from robustbench_safety.reporting.charts.from_record import (
    heat_maps,
    histograms,
    is_scaled,
    reliabilities,
    risk_curves,
)
from robustbench_safety.reporting.charts.heat_map import heat_table
from robustbench_safety.reporting.charts.pareto import pareto_plot, where_on_front
from robustbench_safety.reporting.charts.profile import profile_finding, profile_strips
from robustbench_safety.reporting.charts.reliability import reliability_diagram, reliability_finding
from robustbench_safety.reporting.charts.risk_coverage import risk_coverage_curve, risk_finding
from robustbench_safety.reporting.charts.scatter import scatter_finding, shift_scatter
from robustbench_safety.reporting.charts.score_histogram import score_histogram
from robustbench_safety.reporting.rows import Row

__all__ = ["Chart", "Charts", "charts_of"]

#: Detectors whose histograms are open from the start; a suite may have twenty, each on six sets.
_OPEN_HISTOGRAMS = 9
#: Charts of confidence that are open: of three sets, of which a suite of natural shift has seven.
_OPEN_CONFIDENCE = 6


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One picture and the words above it."""

    title: str
    words: str
    picture: Markup


@dataclass(frozen=True, kw_only=True)
class Charts:
    """All charts of a page."""

    field: tuple[Chart, ...]
    """Of the row among the others."""
    paretos: tuple[Chart, ...]
    heat: tuple[Markup, ...]
    confidence: tuple[Chart, ...]
    """Reliability and risk."""
    more_confidence: tuple[Chart, ...]
    scaled: tuple[Chart, ...]
    """The same after temperature scaling."""
    unknown: tuple[Chart, ...]
    more_unknown: tuple[Chart, ...]
    missing: tuple[str, ...]
    """Why a chart that one might look for is not there, a sentence each."""


def charts_of(
    record: ScoreRecord, row: Row | None, field: Field | None, suite: Suite | None, *, why_alone: str
) -> Charts:
    """Draw everything that a record has data for.

    Args:
        record: The record.
        row: Its row, where it has one on the board.
        field: The ranked rows of its board; None where there is no board.
        suite: The shipped suite that it was scored on, where it is one.
        why_alone: Why there is no field, as the end of a sentence.
    """
    shapes = histograms(record, {cell.id: cell for cell in suite.cells} if suite is not None else None)
    drawn = [
        Chart(title=shape.title, words="", picture=score_histogram(f"ood{i}", shape))
        for i, shape in enumerate(shapes)
    ]
    heat = tuple(heat_table(f"heat{i}", shape) for i, shape in enumerate(heat_maps(record)))
    confidence, scaled = (_confidence(record, scaled=after) for after in (False, True))
    return Charts(
        field=_among_others(record, row, field, suite),
        paretos=_paretos(record, row, field),
        heat=heat,
        confidence=confidence[:_OPEN_CONFIDENCE],
        more_confidence=confidence[_OPEN_CONFIDENCE:],
        scaled=scaled,
        unknown=tuple(drawn[:_OPEN_HISTOGRAMS]),
        more_unknown=tuple(drawn[_OPEN_HISTOGRAMS:]),
        missing=tuple(
            _missing(
                record,
                has_heat=bool(heat),
                has_confidence=bool(confidence),
                why_alone=why_alone if field is None else "",
            )
        ),
    )


def _among_others(
    record: ScoreRecord, row: Row | None, field: Field | None, suite: Suite | None
) -> tuple[Chart, ...]:
    found: list[Chart] = []
    if field is not None and any(numbers.values for numbers in field.numbers.values()):
        profile = strips(record, row, field)
        words = "Each dot is a ranked row; right is better. The bar is this row's 95 % interval."
        found.append(
            Chart(
                title="Profile against the field",
                words=words if any(strip.own is not None for strip in profile) else profile_finding(profile),
                picture=profile_strips("profile", profile),
            )
        )
    for i, shape in enumerate(scatters(record, row, field, suite)):
        title = f"{shape.x.title[:1].upper()}{shape.x.title[1:]} against {shape.y.title}"
        if shape.line is not None:
            title = f"{shape.y.title[:1].upper()}{shape.y.title[1:]}, against the line"
        picture = shift_scatter(f"shift{i}", shape)
        found.append(Chart(title=title, words=scatter_finding(shape), picture=picture))
    return tuple(found)


def _paretos(record: ScoreRecord, row: Row | None, field: Field | None) -> tuple[Chart, ...]:
    return tuple(
        Chart(
            title=f"{plot.x.title} and {plot.y.title}",
            words=where_on_front(plot),
            picture=pareto_plot(f"pareto{i}", plot),
        )
        for i, plot in enumerate(paretos(record, row, field) if field is not None else [])
    )


def _confidence(record: ScoreRecord, *, scaled: bool) -> tuple[Chart, ...]:
    found = [
        Chart(
            title=f"Reliability diagram, {shape.title}",
            words=reliability_finding(shape),
            picture=reliability_diagram(f"reliability-{shape.cell}", shape),
        )
        for shape in reliabilities(record)
        if is_scaled(shape.cell) == scaled
    ]
    curves = [
        Chart(
            title=f"Risk-coverage curve, {curve.title}",
            words=risk_finding(curve),
            picture=risk_coverage_curve(f"risk-{curve.cell}", curve),
        )
        for curve in risk_curves(record)
        if is_scaled(curve.cell) == scaled
    ]
    return _in_turn(found, curves)


def _in_turn(first: Sequence[Chart], second: Sequence[Chart]) -> tuple[Chart, ...]:
    """Put the charts of one cell beside each other."""
    out: list[Chart] = []
    for i in range(max(len(first), len(second))):
        out += [*first[i : i + 1], *second[i : i + 1]]
    return tuple(out)


def _missing(record: ScoreRecord, *, has_heat: bool, has_confidence: bool, why_alone: str) -> list[str]:
    kinds = {one.condition.kind for scores in record.conditions.values() for one in scores}
    said = []
    if "corruption" in kinds and not has_heat:
        said.append("No heat map: the record has no error by corruption and severity.")
    if not has_confidence:
        said.append(
            "No reliability diagram and no risk-coverage curve: the record has no confidence of clean images."
        )
    if any(score.n_out for score in record.scores.values()) and not record.curves.ood_histogram:
        said.append("No histograms of OOD scores: the record does not keep them.")
    if why_alone:
        said.append(f"No comparison with other rows: {why_alone}")
    return said
