"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.tables import (
    column_titles,
    notes_shown,
    ordered,
    row_name,
    shown,
    shown_interval,
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
    for name, title in column_titles([record]):
        score = record.scores[name]
        n = f"{score.n:,}" + (f" + {score.n_out:,} OOD" if score.n_out else "")
        rows.append((title, shown(score), shown_interval(score) or score.reason or "–", n))
    title = f"{row_name(record)} on {record.suite.name} (version {record.suite.version}, {record.kind})"
    show_rows(_printable(title), ("column", "value", "95 % interval", "n"), rows)


def show_suite_table(records: Sequence[ScoreRecord]) -> None:
    """Print the leaderboard of one suite."""
    rows = ordered(records)
    columns = column_titles(rows)
    table = Table(
        title=Text(f"{rows[0].suite.name}, version {rows[0].suite.version}"),
        title_justify="left",
        show_lines=True,
    )
    table.add_column("model", overflow="fold")
    for _, title in columns:
        table.add_column(Text(title), justify="right")
    for record in rows:
        cells = []
        for name, _ in columns:
            score = record.scores.get(name)
            cells.append(Text(f"{shown(score)}\n{shown_interval(score)}" if score else "–"))
        note = "" if record.kind == "verified" else f"\n({record.kind})"
        table.add_row(Text(_printable(row_name(record)) + note), *cells)
    screen().print(table)
    for note in notes_shown(rows):
        screen().print(_printable(note), markup=False, soft_wrap=True)


def _printable(text: str, *, longest: int = 400) -> str:
    """Keep escape sequences in a name from reaching the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)[:longest]
