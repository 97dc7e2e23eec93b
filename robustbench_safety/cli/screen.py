"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.columns import columns_of_records
from robustbench_safety.reporting.rows import Board, Row
from robustbench_safety.reporting.tables import (
    FRONT_MARK,
    RECALLED_MARK,
    interval_note,
    notes_shown,
    number,
    row_name,
    shown,
    shown_interval,
    shown_reported,
)

__all__ = ["messages", "screen", "show_record", "show_rows", "show_suite_table"]

#: Columns of text assumed where there is no terminal to ask; the five columns with intervals fit.
_WIDTH_OF_A_LOG = 132


def screen() -> Console:
    """Return the console for results (standard output)."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_OF_A_LOG)


def messages() -> Console:
    """Return the console for progress (standard error)."""
    return Console(stderr=True, highlight=False)


def show_rows(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, longest: int = 400) -> None:
    """Print a plain table; every cell is text of at most ``longest`` characters, never markup."""
    table = Table(title=Text(title), title_justify="left")
    for i, name in enumerate(head):
        # The first column is what a row is called: one copies it.
        table.add_column(Text(name), overflow="fold", no_wrap=i == 0)
    for row in rows:
        table.add_row(*(Text(_printable(cell, longest=longest)) for cell in row))
    screen().print(table)


def show_record(record: ScoreRecord) -> None:
    """Print the columns of one record, one a line."""
    rows = []
    columns = columns_of_records([record])
    for column in columns.values():
        score = record.scores[column.id]
        n = f"{score.n:,}" + (f" + {score.n_out:,} OOD" if score.n_out else "")
        rows.append((column.heading, shown(score), shown_interval(score) or score.reason or "–", n))
    title = f"{row_name(record)} on {record.suite.name} (version {record.suite.version}, {record.kind})"
    show_rows(_printable(title), ("column", "value", "95 % interval", "n"), rows)
    if note := interval_note(record.scores[name] for name in columns):
        screen().print(note, markup=False, soft_wrap=True)


def show_suite_table(board: Board) -> None:
    """Print the leaderboard of one suite."""
    table = Table(
        title=Text(f"{board.suite.name}, version {board.suite.version}"),
        title_justify="left",
        show_lines=True,
    )
    table.add_column("model", overflow="fold")
    for column in board.columns:
        table.add_column(Text(column.heading), justify="right")
    for row in board.rows:
        record = row.record
        note = "" if row.ranked else f"\n({record.kind})"
        if record.suite != board.suite:
            note = f"\n({record.kind}, version {record.suite.version})"
        name = f"{FRONT_MARK} " * row.on_front + _printable(row_name(record)) + note
        table.add_row(Text(name), *(_suite_cell(row, column.id, column.unit) for column in board.columns))
    for reported in board.reported:
        cells = [
            Text(shown_reported(score) if (score := reported.scores.get(column.id)) else "–")
            for column in board.columns
        ]
        name = _printable(f"{reported.name}, {reported.model}\n(reported)")
        table.add_row(Text(name), *cells, style="bright_black")
    screen().print(table)
    for note in notes_shown(board):
        screen().print(_printable(note), markup=False, soft_wrap=True)
    if any(row.on_front for row in board.rows):
        front = f"{FRONT_MARK} no ranked row is better in one of the suite's own columns and nowhere worse"
        screen().print(front, markup=False, soft_wrap=True)
    for row in board.rows:
        for flag in row.flags:
            screen().print(f"{_printable(row.record.display_name)}: {flag}", markup=False, soft_wrap=True)
    if any(score.certainty == "recalled" for row in board.reported for score in row.scores.values()):
        recalled = f"{RECALLED_MARK} recalled, and not verified in its source"
        screen().print(recalled, markup=False, soft_wrap=True)


def _suite_cell(row: Row, column: str, unit: str) -> Text:
    score = row.record.scores.get(column)
    if score is None:
        return Text("–")
    best, rank = row.best_known.get(column), row.ranks.get(column)
    lines = [shown(score), shown_interval(score)]
    if best is not None:
        lines.append(f"known {number(best.value, unit)}")
    if rank is not None and column in row.record.columns:
        lines.append(f"#{rank}")
    return Text("\n".join(line for line in lines if line))


def _printable(text: str, *, longest: int = 400) -> str:
    """Keep escape sequences in a name from reaching the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)[:longest]
