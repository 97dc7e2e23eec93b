"""The page of one suite: its table, with what a reader needs to compare two rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from robustbench_safety.reporting.columns import Column
from robustbench_safety.reporting.pages.environment import one_line, render
from robustbench_safety.reporting.reported import ReportedRow
from robustbench_safety.reporting.rows import Board, Row
from robustbench_safety.reporting.tables import interval_note, number, shown_interval

__all__ = ["HEAT_LEVELS", "KINDS", "page_name", "suite_page"]

#: Steps of the colour ramp, ``--heat-0`` (worst) to ``--heat-6`` (best) of the style sheet.
HEAT_LEVELS = 7

#: Kinds of row in the order of trust, and what each means to a reader.
KINDS = {
    "verified": "The keepers of the leaderboard ran the model, or predicted at least 500 seeded images of "
    "each data set again and found the same. Only these rows are ranked.",
    "recomputed": "Scored by the keepers from predictions that somebody sent. Predictions can be forged.",
    "self-reported": "A record that somebody sent. Nobody has checked its numbers.",
    "partial": "Some images or some measurements of the suite are missing, or the seed was another. Its page "
    "says what.",
    "reported": "A number from a paper or another page, with its source. The protocol may differ. One “from "
    "its source” was read there, or follows from what was; one that is “recalled, not verified” nobody has "
    "looked up.",
}

_CERTAINTY = {"recalled": "recalled, not verified", "verified": "from its source"}

#: Characters of names in a table's cell; the model's page shows more.
_NAME, _MODEL, _FLAG = 80, 60, 200
#: Columns up to which all are shown from the start; with more, those beside are not.
_ROOMY = 8
#: Rows from which on a browser is told to leave those out of sight for later: 200 take it 0.5 s.
_LONG = 200
#: Is shown from the start wherever it stands: without it no error under corruption can be read.
_CONTEXT = "clean_error"


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """A number that leads to a note below the table."""

    number: int
    text: str


@dataclass(kw_only=True)
class _Notes:
    """The notes below a table: each text once, in the order of its first mark."""

    texts: dict[str, int] = field(default_factory=dict)

    def mark(self, text: str) -> _Mark:
        return _Mark(number=self.texts.setdefault(text, len(self.texts) + 1), text=text)


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """What one cell shows."""

    value: str = "–"
    key: str = ""
    """What it is sorted by; "" sorts last."""
    heat: int | None = None
    below: tuple[str, ...] = ()
    """Small lines below the value: its interval, its ranks."""
    marks: tuple[_Mark, ...] = ()
    best_known: str = ""
    best_known_mark: _Mark | None = None


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One row of the table."""

    name: str
    model: str
    kind: str
    kind_words: str
    certainty: str
    """Of a paper's numbers, where it is that of all in the row."""
    href: str
    flags: tuple[str, ...]
    on_front: bool
    marks: tuple[_Mark, ...]
    cells: tuple[_Cell, ...]


@dataclass(frozen=True, kw_only=True)
class _Head:
    """One column of scores."""

    column: Column
    unit: str
    shown: bool
    """From the start."""


def page_name(row: Row) -> str:
    """Return the file name of a row's page: the record's, whose parts are slugs."""
    return f"{row.path.stem}.html"


def suite_page(board: Board) -> str:
    """Return the page with the table of one suite.

    Values are coloured by their rank interval, so that rows of the same ranks have one colour. Rows that are
    not ranked have none.
    """
    columns = (*board.headline, *(column for column in board.columns if not column.headline))
    crowded = len(columns) > _ROOMY
    heads = [
        _Head(
            column=column,
            unit={"fraction": "%", "nats": "nats", "score": ""}[column.unit],
            shown=column.headline or not crowded or column.id == _CONTEXT,
        )
        for column in columns
    ]
    notes = _Notes()
    heats = _heats(board, columns)
    lines = [_line(row, board, columns, heats, notes) for row in board.rows]
    reported = [_reported_line(row, columns, notes) for row in board.reported]
    ranked = [line for line, row in zip(lines, board.rows, strict=True) if row.ranked]
    others = [line for line, row in zip(lines, board.rows, strict=True) if not row.ranked]
    counts = {kind: sum(line.kind == kind for line in (*lines, *reported)) for kind in KINDS}
    scores = [
        score
        for row in board.rows
        for column in columns
        if (score := row.record.scores.get(column.id)) is not None
    ]
    return render(
        "suite.html",
        root="../",
        board=board,
        heads=heads,
        groups=[
            ("Ranked", _sorted(ranked, columns[0])),
            (
                "Not ranked: not verified, not complete, or of another version of the suite",
                _sorted(others, columns[0]),
            ),
            (
                "Reported by papers and other pages, for reference: never ranked",
                _sorted(reported, columns[0]),
            ),
        ],
        kinds={kind: (counts[kind], meaning) for kind, meaning in KINDS.items() if counts[kind]},
        notes=list(notes.texts),
        sorted_by=columns[0].id,
        has_interval=any(score.value is not None and score.interval is not None for score in scores),
        has_ranks=any(row.ranks for row in board.rows),
        has_heat=bool(heats),
        has_best_known=any(row.best_known for row in board.rows),
        has_front=any(row.on_front for row in board.rows),
        has_flags=any(row.flags for row in board.rows),
        interval_note=interval_note(scores),
        is_long=len(lines) + len(reported) > _LONG,
        heat_levels=range(HEAT_LEVELS),
    )


def _heats(board: Board, columns: Sequence[Column]) -> Mapping[tuple[str, str], int]:
    """Return the colour of each ranked value by digest and column: the middle of its rank interval."""
    out = {}
    for column in columns:
        ranks = {row.digest: row.ranks[column.id] for row in board.rows if column.id in row.ranks}
        if len(ranks) < 2:
            continue
        for digest, rank in ranks.items():
            share = ((rank.best + rank.worst) / 2 - 1) / (len(ranks) - 1)
            out[digest, column.id] = round((HEAT_LEVELS - 1) * (1 - share))
    return out


def _line(
    row: Row,
    board: Board,
    columns: Sequence[Column],
    heats: Mapping[tuple[str, str], int],
    notes: _Notes,
) -> _Line:
    record = row.record
    kind_words: str = record.kind
    if record.suite.version != board.suite.version:
        kind_words += f", version {record.suite.version}"
    elif record.suite.digest != board.suite.digest:
        kind_words += f", digest {record.suite.digest[:8]}"
    missing = tuple(notes.mark(one_line(reason, _FLAG)) for reason in record.partial_because[:1])
    return _Line(
        name=one_line(record.display_name, _NAME) or record.slug,
        model=one_line(record.model.name, _MODEL),
        kind=record.kind,
        kind_words=kind_words,
        certainty="",
        href=quote(page_name(row)),
        flags=tuple(one_line(flag, _FLAG) for flag in row.flags),
        on_front=row.on_front,
        marks=missing,
        cells=tuple(_cell(row, column, heats.get((row.digest, column.id)), notes) for column in columns),
    )


def _cell(row: Row, column: Column, heat: int | None, notes: _Notes) -> _Cell:
    score = row.record.scores.get(column.id)
    if score is None or column.id not in (*row.record.columns, *row.record.beside):
        return _Cell()
    if score.value is None:
        return _Cell(marks=(notes.mark(f"{column.title}: {one_line(score.reason or '', _FLAG)}"),))
    below = (
        shown_interval(score),
        (score.worst or "").replace("_", " "),
        f"rank {row.ranks[column.id]}" if column.id in row.ranks else "",
    )
    known = row.best_known.get(column.id)
    key = row.value(column.id)
    return _Cell(
        value=number(score.value, score.unit),
        key="" if key is None else f"{key:.10g}",
        heat=heat,
        below=tuple(line for line in below if line),
        marks=(notes.mark(f"{column.title}: {one_line(score.note, _FLAG)}"),) if score.note else (),
        best_known=number(known.value, score.unit) if known else "",
        best_known_mark=notes.mark(f"Best known: {one_line(known.source, _FLAG)}") if known else None,
    )


def _reported_line(row: ReportedRow, columns: Sequence[Column], notes: _Notes) -> _Line:
    certainties = {score.certainty for score in row.scores.values()}
    marks = [notes.mark(one_line(row.source, 2 * _FLAG))]
    if row.note:
        marks.append(notes.mark(one_line(row.note, 5 * _FLAG)))
    return _Line(
        name=one_line(row.name, _NAME),
        model=one_line(row.model, _MODEL),
        kind="reported",
        kind_words="reported",
        certainty=_CERTAINTY[certainties.pop()] if len(certainties) == 1 else "",
        href="",
        flags=(),
        on_front=False,
        marks=tuple(marks),
        cells=tuple(_reported_cell(row, column, notes) for column in columns),
    )


def _reported_cell(row: ReportedRow, column: Column, notes: _Notes) -> _Cell:
    score = row.scores.get(column.id)
    if score is None:
        return _Cell(value="")
    mixed = len({one.certainty for one in row.scores.values()}) > 1
    return _Cell(
        value=f"{score.value:.10g}",
        key=f"{score.value / 100 if column.unit == 'fraction' else score.value:.10g}",
        marks=() if score.source == row.source else (notes.mark(one_line(score.source, 2 * _FLAG)),),
        below=(_CERTAINTY[score.certainty],) if mixed else (),
    )


def _sorted(lines: Sequence[_Line], first: Column) -> list[_Line]:
    """Return lines as the table says they are sorted: the best in the first column first, a dash last."""
    sign = 1 if first.direction == "lower" else -1

    def key(line: _Line) -> tuple[bool, float]:
        shown = line.cells[0].key
        return (not shown, sign * float(shown or 0))

    return sorted(lines, key=key)
