"""Tables of one suite: flat, sorted, fixed precision, in percent."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from robustbench_safety.files import digest_of
from robustbench_safety.records import Score, ScoreRecord

__all__ = [
    "NOTE_MARK",
    "column_titles",
    "csv_table",
    "markdown_table",
    "notes_shown",
    "ordered",
    "row_name",
    "shown",
    "shown_interval",
]

#: Stands after a value that has a note.
NOTE_MARK = "†"
_ARROWS = {"lower": "↓", "higher": "↑"}


def ordered(records: Sequence[ScoreRecord]) -> list[ScoreRecord]:
    """Return the rows as a table shows them.

    Verified, complete rows of the newest version of the suite first, best first by the first column; the
    others after them, by kind and name. A superseded record is not shown.
    """
    gone = {record.supersedes for record in records if record.supersedes}
    kept = [record for record in records if digest_of(record.digested_fields()) not in gone]
    newest = max((record.suite.version, record.suite.digest) for record in kept) if kept else (0, "")

    def key(record: ScoreRecord) -> tuple[bool, bool, str, bool, float, str, str]:
        score = record.scores[record.columns[0]]
        value = score.value if score.value is not None else 0.0
        return (
            (record.suite.version, record.suite.digest) != newest,
            record.kind != "verified",
            record.kind,
            score.value is None,
            value if score.direction == "lower" else -value,
            record.display_name,
            record.slug,
        )

    return sorted(kept, key=key)


def row_name(record: ScoreRecord) -> str:
    """Return what a row is called: with the shifts that the model was trained on and is tested on."""
    seen = record.trained_on_tested
    return record.display_name + (f" (trained on {', '.join(seen)})" if seen else "")


def column_titles(records: Sequence[ScoreRecord]) -> list[tuple[str, str]]:
    """Return (id, title) of every column shown: those beside first, then the suite's own.

    Several versions of a suite may stand in one table, so a column is any that a row has.
    """
    titles: dict[str, str] = {}
    for record in records:
        for name in (*record.beside, *record.columns):
            score = record.scores[name]
            unit = {"fraction": " %", "nats": " (nats)", "score": ""}[score.unit]
            titles.setdefault(name, f"{name.replace('_', ' ')}{unit} {_ARROWS[score.direction]}")
    return list(titles.items())


def shown(score: Score) -> str:
    """Return a value as tables show it: percent with two digits, other units with four.

    With the mark of a note where there is one, and the name of the condition where it is that of the worst.
    """
    if score.value is None:
        return "–"
    mark = NOTE_MARK if score.note else ""
    return _number(score.value, score) + mark + (f" {score.worst}" if score.worst else "")


def notes_shown(records: Sequence[ScoreRecord]) -> list[str]:
    """Return what a reader of the marked values must know, a line a column."""
    titles = dict(column_titles(records))
    notes = {
        (name, record.scores[name].note): None
        for record in records
        for name in titles
        if name in record.scores and record.scores[name].note
    }
    return [f"{NOTE_MARK} {name.replace('_', ' ')}: {note}" for name, note in notes]


def shown_interval(score: Score) -> str:
    """Return the interval as tables show it, "" where there is none."""
    if score.interval is None:
        return ""
    return f"{_number(score.interval.low, score)} – {_number(score.interval.high, score)}"


def _number(value: float, score: Score) -> str:
    return f"{100 * value:.2f}" if score.unit == "fraction" else f"{value:.4f}"


def csv_table(records: Sequence[ScoreRecord]) -> str:
    """Return the table as CSV: a row a record; value, low and high of each column."""
    rows = ordered(records)
    columns = column_titles(rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ["name", "model", "trained_on", "kind", "suite_version", "suite_digest", "record_digest"]
    writer.writerow([*head, *(f"{name}{part}" for name, _ in columns for part in ("", "_low", "_high"))])
    for record in rows:
        cells: list[str] = []
        for name, _ in columns:
            score = record.scores.get(name)
            interval = score.interval if score else None
            cells.append(_number(score.value, score) if score and score.value is not None else "")
            ends = (interval.low, interval.high) if interval else (None, None)
            cells += [_number(end, score) if score and end is not None else "" for end in ends]
        digest = digest_of(record.digested_fields())
        writer.writerow([
            _not_a_formula(record.display_name), _not_a_formula(record.model.name),
            " ".join(record.trained_on_tested), record.kind,
            str(record.suite.version), record.suite.digest[:8], digest[:8], *cells])  # fmt: skip
    return out.getvalue()


def markdown_table(records: Sequence[ScoreRecord]) -> str:
    """Return the table as Markdown, each value with its 95 % interval."""
    rows = ordered(records)
    columns = column_titles(rows)
    first = rows[0].suite
    lines = [
        f"# {first.name}",
        "",
        f"Suite version {first.version}, digest `{first.digest[:8]}`. Each value with its 95 % interval; "
        "↓ lower is better, ↑ higher is better. Only verified rows of one suite digest are ranked together.",
        "",
        "| model | kind | " + " | ".join(title for _, title in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for record in rows:
        cells = []
        for name, _ in columns:
            score = record.scores.get(name)
            interval = shown_interval(score) if score else ""
            cells.append((shown(score) if score else "–") + (f" ({interval})" if interval else ""))
        kind = record.kind if record.suite == first else f"{record.kind}, version {record.suite.version}"
        lines.append(f"| {_plain(row_name(record))} | {kind} | " + " | ".join(cells) + " |")
    lines += [line for note in notes_shown(rows) for line in ("", _plain(note))]
    return "\n".join(lines) + "\n"


def _not_a_formula(text: str) -> str:
    """Keep a spreadsheet from running a name that begins like a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _plain(text: str) -> str:
    """Escape text for a Markdown table cell."""
    one_line = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]
    escaped = re.sub(r"([\\`*_\[\]<>|#!~])", r"\\\1", one_line)
    return escaped.replace("&", "&amp;")
