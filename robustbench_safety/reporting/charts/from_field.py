"""What the charts of a record among the other rows of its suite are drawn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robustbench_safety.records import ScoreRecord, Suite
from robustbench_safety.reporting.charts.from_record import words
from robustbench_safety.reporting.charts.shapes import (
    Cloud,
    Line,
    Numbers,
    Pareto,
    Point,
    Quantity,
    Scatter,
    Strip,
)
from robustbench_safety.reporting.columns import Column
from robustbench_safety.reporting.rows import Board, Row

__all__ = ["Field", "field_of", "paretos", "scatters", "strips"]

#: Plots beside each other: the first headline column against each of the next.
_MOST_PARETOS = 4
_CLEAN = "clean_error"
#: Headline columns among which one of other than clean images is looked for.
_LOOKED_AT = 4


@dataclass(frozen=True, kw_only=True)
class Field:
    """The ranked rows of a board, column by column: made once, for all of its pages."""

    columns: tuple[Column, ...]
    """The headline columns."""
    numbers: Mapping[str, Numbers]
    """By headline column."""
    clouds: Mapping[tuple[str, str], Cloud]
    """By the two columns of a Pareto plot, or of clean against shifted."""
    lines: Mapping[str, Cloud]
    """By effective robustness: clean and shifted accuracy of the rows."""


def field_of(board: Board) -> Field:
    """Return the field of a board."""
    rows = [row for row in board.rows if row.ranked]
    headline = board.headline
    numbers = {
        column.id: Numbers(values=tuple(v for row in rows if (v := row.value(column.id)) is not None))
        for column in headline
    }
    pairs = [(one.id, other.id) for one, other in _pairs(headline)]
    pairs += [(_CLEAN, column.id) for column in headline[:_LOOKED_AT] if column.id != _CLEAN]
    lined = {name for row in rows for name, score in row.record.scores.items() if score.line is not None}
    return Field(
        columns=headline,
        numbers=numbers,
        clouds={pair: _cloud(rows, pair) for pair in dict.fromkeys(pairs)},
        lines={name: Cloud(points=tuple(_lined(rows, name))) for name in sorted(lined)},
    )


def _pairs(headline: Sequence[Column]) -> list[tuple[Column, Column]]:
    return [(headline[0], other) for other in headline[1 : 1 + _MOST_PARETOS]]


def _cloud(rows: Sequence[Row], pair: tuple[str, str]) -> Cloud:
    points = []
    for row in rows:
        x, y = row.value(pair[0]), row.value(pair[1])
        if x is not None and y is not None:
            points.append(Point(name=row.record.display_name, x=x, y=y, front=row.on_front))
    return Cloud(points=tuple(points))


def _lined(rows: Sequence[Row], name: str) -> list[Point]:
    found = []
    for row in rows:
        point = _on_line(row.record, name)
        if point is not None:
            found.append(point)
    return found


def _on_line(record: ScoreRecord, name: str) -> Point | None:
    """Return clean and shifted accuracy of a row: an effective robustness is what it has above the line."""
    score = record.scores.get(name)
    if score is None or score.value is None or score.line is None:
        return None
    return Point(name=record.display_name, x=score.line.clean, y=score.line.expected + score.value)


def strips(record: ScoreRecord, row: Row | None, field: Field) -> list[Strip]:
    """Return the profile of a record: one strip a headline column.

    Args:
        record: The record.
        row: Its row, where it has one on the board.
        field: Of the board.
    """
    found = []
    for column in field.columns:
        ends = _ends(record, row, column.id)
        rank = row.ranks.get(column.id) if row is not None else None
        of = f" of {len(field.numbers[column.id].values)}"
        found.append(
            Strip(
                quantity=_quantity(column),
                field=field.numbers[column.id],
                own=_value(record, row, column.id),
                low=ends[0] if ends else None,
                high=ends[1] if ends else None,
                rank=f"{rank}{of}" if rank is not None else "",
            )
        )
    return found


def paretos(record: ScoreRecord, row: Row | None, field: Field) -> list[Pareto]:
    """Return the first headline column against each of the next; none for one column, or without rows."""
    found = []
    for one, other in _pairs(field.columns) if field.columns else []:
        cloud = field.clouds[one.id, other.id]
        if cloud.points:
            own = _point(record, row, (one.id, other.id))
            found.append(Pareto(x=_quantity(one), y=_quantity(other), field=cloud, own=own))
    return found


def scatters(record: ScoreRecord, row: Row | None, field: Field | None, suite: Suite | None) -> list[Scatter]:
    """Return clean against shifted accuracy for each line that the record was held against.

    Where it was held against none: the error on clean images against the first headline column of other
    images, without a line; nothing where the suite measures no clean error or none of other images, or there
    is no field.

    Args:
        record: The record.
        row: Its row, where it has one on the board.
        field: Of the board; None for the record alone.
        suite: Says which data set a line is of, where the suite is known.
    """
    found = []
    shown = [*record.columns, *record.beside]
    for name in dict.fromkeys([*shown, *record.scores]):
        score, own = record.scores[name], _on_line(record, name)
        if score.line is None or score.value is None or own is None:
            continue
        shifted = _dataset(name, suite)
        found.append(
            Scatter(
                cell=name,
                x=Quantity(title="accuracy on clean images", unit="fraction", direction="higher"),
                y=Quantity(title=f"accuracy on {shifted}", unit="fraction", direction="higher"),
                stretch=score.line.axis,
                field=field.lines.get(name, Cloud(points=())) if field is not None else Cloud(points=()),
                own=own,
                line=Line(curve=score.line.curve, n_models=score.line.n_models),
                above=_above(score.value),
            )
        )
    return found or _without_line(record, row, field)


def _without_line(record: ScoreRecord, row: Row | None, field: Field | None) -> list[Scatter]:
    if field is None or _CLEAN not in record.scores:
        return []
    others = [column for column in field.columns[:_LOOKED_AT] if not _is_of_clean_images(column.id, record)]
    if not others or not field.clouds[_CLEAN, others[0].id].points:
        return []
    clean = record.scores[_CLEAN]
    return [
        Scatter(
            cell=others[0].id,
            x=Quantity(title=words(_CLEAN), unit=clean.unit, direction=clean.direction),
            y=_quantity(others[0]),
            stretch="linear",
            field=field.clouds[_CLEAN, others[0].id],
            own=_point(record, row, (_CLEAN, others[0].id)),
        )
    ]


def _is_of_clean_images(name: str, record: ScoreRecord) -> bool:
    """Tell a cell of the images that the clean error is of; an aggregate is of others, or of more."""
    clean = {one.condition for one in record.conditions.get(_CLEAN, ())}
    own = {one.condition for one in record.conditions.get(name, ())}
    return name == _CLEAN or (bool(own) and own <= clean)


def _dataset(name: str, suite: Suite | None) -> str:
    if suite is not None:
        cells = {cell.id: cell for cell in suite.cells}
        for aggregate in suite.aggregates:
            if aggregate.id == name and aggregate.of[0] in cells:
                return cells[aggregate.of[0]].dataset
    return words(name.removesuffix("_effective_robustness"))


def _above(value: float) -> str:
    where = "above" if value >= 0 else "below"
    return f"This row lies {100 * abs(value):.2f} points {where} it: its effective robustness."


def _quantity(column: Column) -> Quantity:
    return Quantity(title=column.title, unit=column.unit, direction=column.direction)


def _value(record: ScoreRecord, row: Row | None, column: str) -> float | None:
    if row is not None:
        return row.value(column)
    score = record.scores.get(column)
    return score.value if score is not None else None


def _ends(record: ScoreRecord, row: Row | None, column: str) -> tuple[float, float] | None:
    if row is not None:
        return row.ends(column)
    score = record.scores.get(column)
    if score is None or score.value is None or score.interval is None:
        return None
    return min(score.interval.low, score.value), max(score.interval.high, score.value)


def _point(record: ScoreRecord, row: Row | None, pair: tuple[str, str]) -> Point | None:
    x, y = (_value(record, row, name) for name in pair)
    if x is None or y is None:
        return None
    return Point(name=record.display_name, x=x, y=y, front=row.on_front if row is not None else False)
