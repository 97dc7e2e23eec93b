"""Tables of one suite: flat, sorted, fixed precision, in percent."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

from robustbench_safety.records import Score, ScoreRecord
from robustbench_safety.reporting.columns import Column
from robustbench_safety.reporting.plain_text import one_line, unlinked
from robustbench_safety.reporting.reported import ReportedRow, ReportedScore
from robustbench_safety.reporting.rows import Board, Row

__all__ = [
    "FRONT_MARK",
    "NOTE_MARK",
    "RECALLED_MARK",
    "csv_table",
    "interval_note",
    "markdown_table",
    "not_a_formula",
    "notes_shown",
    "number",
    "reported_source",
    "row_name",
    "shown",
    "shown_interval",
    "shown_reported",
]

#: Stands after a value that has a note.
NOTE_MARK = "†"
#: Stands after a paper's number that nobody has read in its source.
RECALLED_MARK = "‡"
#: Stands before a row of the Pareto front.
FRONT_MARK = "◆"
#: What a reader must know who meets an interval without its value.
_SHIFTED_INTERVAL = (
    "An interval that ends below its value is that of a calibration error: a finite number of images makes "
    "the measured error larger than the true one, which the interval is of."
)


def row_name(record: ScoreRecord) -> str:
    """Return what a row is called: with the shifts that the model was trained on and is tested on."""
    seen = record.trained_on_tested
    return record.display_name + (f" (trained on {', '.join(seen)})" if seen else "")


def shown(score: Score) -> str:
    """Return a value as tables show it: percent with two digits, other units with four.

    With the mark of a note where there is one, and the name of the condition where it is that of the worst.
    """
    if score.value is None:
        return "–"
    mark = NOTE_MARK if score.note else ""
    return number(score.value, score.unit) + mark + (f" {score.worst}" if score.worst else "")


def shown_interval(score: Score) -> str:
    """Return the interval as tables show it, "" where there is none."""
    if score.interval is None:
        return ""
    return f"{number(score.interval.low, score.unit)} – {number(score.interval.high, score.unit)}"


def interval_note(scores: Iterable[Score]) -> str:
    """Return what must be said of scores one of whose intervals ends below its value; of others ""."""
    shifted = any(
        score.value is not None and score.interval is not None and score.interval.high < score.value
        for score in scores
    )
    return _SHIFTED_INTERVAL if shifted else ""


def shown_reported(score: ReportedScore) -> str:
    """Return a paper's number as it is printed, marked where nobody has read it there."""
    return f"{score.value:g}" + (RECALLED_MARK if score.certainty == "recalled" else "")


def number(value: float, unit: str) -> str:
    """Return a value in the units of the tables: percent with two digits, others with four."""
    return f"{100 * value:.2f}" if unit == "fraction" else f"{value:.4f}"


def notes_shown(board: Board) -> list[str]:
    """Return what a reader of marked values, rows and intervals must know, a line each."""
    scores = [
        (column, score)
        for row in board.rows
        for column in board.columns
        if (score := row.record.scores.get(column.id)) is not None
    ]
    notes = dict.fromkeys(
        f"{NOTE_MARK} {column.title}: {score.note}" for column, score in scores if score.note
    )
    about_intervals = interval_note(score for _, score in scores)
    return [*notes, *([about_intervals] if about_intervals else [])]


def reported_source(row: ReportedRow) -> str:
    """Return where a paper's row comes from, and which of its numbers nobody has read there."""
    recalled = [name for name, score in row.scores.items() if score.certainty == "recalled"]
    others = dict.fromkeys(score.source for score in row.scores.values() if score.source != row.source)
    parts = [row.source, *others]
    if recalled:
        parts.append(f"recalled, not verified: {', '.join(recalled)}")
    return "; ".join([*parts, *([row.note] if row.note else [])])


def csv_table(board: Board) -> str:
    """Return the table as CSV: a row a record.

    Of each column the value, the ends of its interval and, for headline columns, the best and the worst rank
    that the row may have; ``<column>_best_known`` where another attack is known to have reached further.
    """
    known = {name for row in board.rows for name in row.best_known}
    head = [
        "name", "model", "trained_on", "kind", "suite_version", "suite_digest", "record_digest",
        "pareto_front", "flags", "source",
    ]  # fmt: skip
    for column in board.columns:
        head += [column.id, f"{column.id}_low", f"{column.id}_high"]
        head += [f"{column.id}_best_rank", f"{column.id}_worst_rank"] if column.headline else []
        head += [f"{column.id}_best_known"] if column.id in known else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    for row in board.rows:
        record = row.record
        about = [
            record.display_name, record.model.name, " ".join(record.trained_on_tested), record.kind,
            str(record.suite.version), record.suite.digest[:8], row.digest[:8],
            "yes" if row.on_front else "", "; ".join(row.flags), "",
        ]  # fmt: skip
        cells = [text for column in board.columns for text in _csv_cells(row, column, known)]
        writer.writerow([*map(not_a_formula, about), *cells])
    for reported in board.reported:
        about = [reported.name, reported.model, "", "reported", *[""] * 5, reported_source(reported)]
        cells = []
        for column in board.columns:
            score = reported.scores.get(column.id)
            width = 3 + 2 * column.headline + (column.id in known)
            cells += [f"{score.value:g}" if score is not None else "", *[""] * (width - 1)]
        writer.writerow([*map(not_a_formula, about), *cells])
    return out.getvalue()


def _csv_cells(row: Row, column: Column, known: set[str]) -> list[str]:
    score = row.record.scores.get(column.id)
    cells = ["", "", ""]
    if score is not None and score.value is not None:
        ends = (score.interval.low, score.interval.high) if score.interval is not None else ()
        cells = [number(score.value, score.unit), *(number(end, score.unit) for end in ends)]
        cells += [""] * (3 - len(cells))
    if column.headline:
        rank = row.ranks.get(column.id)
        cells += [str(rank.best), str(rank.worst)] if rank else ["", ""]
    if column.id in known:
        best = row.best_known.get(column.id)
        cells.append(number(best.value, column.unit) if best else "")
    return cells


def markdown_table(board: Board) -> str:
    """Return the table as Markdown, each value with its 95 % interval and its rank."""
    lines = [
        f"# {board.suite.name}",
        "",
        f"Suite version {board.suite.version}, digest `{board.suite.digest[:8]}`. Each value with its 95 % "
        "interval; ↓ lower is better, ↑ higher is better. Only verified rows of one suite digest are ranked "
        "together: after # stand the ranks that the intervals leave open. "
        f"{FRONT_MARK} no ranked row is better in one of the suite's own columns and nowhere worse.",
        "",
        "| model | kind | " + " | ".join(column.heading for column in board.columns) + " |",
        "|---|---|" + "---|" * len(board.columns),
    ]
    for row in board.rows:
        record = row.record
        kind = (
            record.kind if record.suite == board.suite else f"{record.kind}, version {record.suite.version}"
        )
        name = f"{FRONT_MARK} " * row.on_front + _plain(row_name(record))
        cells = [_markdown_cell(row, column) for column in board.columns]
        lines.append(f"| {name} | {kind} | " + " | ".join(cells) + " |")
    for reported in board.reported:
        cells = [
            f"*{shown_reported(score)}*" if (score := reported.scores.get(column.id)) is not None else "–"
            for column in board.columns
        ]
        name = _plain(f"{reported.name}, {reported.model}")
        lines.append(f"| *{name}* | reported | " + " | ".join(cells) + " |")
    lines += [line for note in _below(board) for line in ("", _plain(note, longest=2000))]
    return "\n".join(lines) + "\n"


def _markdown_cell(row: Row, column: Column) -> str:
    score = row.record.scores.get(column.id)
    if score is None:
        return "–"
    interval = shown_interval(score)
    rank = row.ranks.get(column.id) if column.headline else None
    best = row.best_known.get(column.id)
    return (
        shown(score)
        + (f" ({interval})" if interval else "")
        + (f", best known {number(best.value, column.unit)}" if best else "")
        + (f" #{rank}" if rank else "")
    )


def _below(board: Board) -> list[str]:
    lines = notes_shown(board)
    for row in board.rows:
        lines += [
            f"{row_name(row.record)[:80]}: {flag}" for flag in row.flags if not flag.startswith("trained on")
        ]
        lines += [
            f"{row_name(row.record)[:80]}: {name.replace('_', ' ')}: best known by {best.source}"
            for name, best in row.best_known.items()
        ]
    if any(score.certainty == "recalled" for row in board.reported for score in row.scores.values()):
        lines.append(f"{RECALLED_MARK} recalled, and not verified in its source")
    lines += dict.fromkeys(
        f"reported: {row.source}" + (f"; {row.note}" if row.note else "") for row in board.reported
    )
    return lines


def not_a_formula(text: str) -> str:
    """Keep a spreadsheet from running a text that begins like a formula, and a terminal from obeying it."""
    shown = text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return f"'{shown}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else shown


def _plain(text: str, *, longest: int = 200) -> str:
    """Escape text for a Markdown table cell."""
    line = one_line(text, longest=longest) or "unnamed"
    escaped = re.sub(r"([\\`*_\[\]<>|#!~])", r"\\\1", line)
    return unlinked(escaped.replace("&", "&amp;"))
