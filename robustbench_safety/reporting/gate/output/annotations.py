"""A report as GitHub annotations: workflow commands, one a line of the log."""

from __future__ import annotations

from robustbench_safety.records import CheckReport
from robustbench_safety.reporting.gate.output.words import column_sentence, noted, verdict
from robustbench_safety.reporting.plain_text import one_line

__all__ = ["annotations_of"]

#: Characters of a note.
_LONGEST_NOTE = 1000


def annotations_of(report: CheckReport) -> str:
    """Return workflow commands: the verdict, an error for each failed column, a notice for each note.

    The verdict comes first: GitHub shows the first ten of a kind.

    Source:
        GitHub's documentation of workflow commands; escaped as its own toolkit does (``escapeData`` and
        ``escapeProperty`` of @actions/core).
    """
    names = f"{one_line(report.candidate.name)} against {one_line(report.baseline.name)}"
    kind, how = ("error", "failed") if report.failed else ("notice", "passed")
    lines = [_command(kind, f"rbs check: {how}", f"{names} on {report.suite.name}: {verdict(report)}")]
    lines += [
        _command(
            "error",
            f"rbs check: {column.column} got worse",
            column_sentence(column, fail_on_any=report.fail_on_any),
        )
        for column in report.columns
        if column.failed
    ]
    lines += [
        _command(
            "notice",
            f"rbs check: {column.column} is not gated",
            column_sentence(column, fail_on_any=report.fail_on_any),
        )
        for column in report.columns
        if not column.gated and not (column.reason and noted(report, column.reason))
    ]
    lines += [
        _command("notice", "rbs check: note", one_line(note, longest=_LONGEST_NOTE)) for note in report.notes
    ]
    return "\n".join(lines) + "\n"


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """Escape a message; the percent sign first, for the others become one."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
