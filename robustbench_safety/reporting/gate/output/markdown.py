"""A report as Markdown: a comment on a pull request, or the summary of a job."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_safety.records import CheckedRecord, CheckReport, ColumnCheck, ConditionCheck
from robustbench_safety.reporting.gate.output.words import (
    TEST_NAMES,
    drop_text,
    interval_text,
    noted,
    p_text,
    value_text,
    verdict,
    worse_conditions,
)
from robustbench_safety.reporting.plain_text import code, escaped

__all__ = ["COMMENT_MARK", "markdown_of"]

#: First line of the comment, which nobody sees: by it the next run finds the comment that it replaces.
COMMENT_MARK = "<!-- rbs-check -->"
#: Characters; GitHub refuses a comment of more than 65,536.
_LONGEST = 60_000
_LONGEST_NOTE = 1000
#: Conditions shown, the worst first.
_N_CONDITIONS = 10


def markdown_of(report: CheckReport) -> str:
    """Return a report as GitHub's Markdown, short enough for a comment."""
    whole = _text(report, worse_conditions(report, _N_CONDITIONS), report.notes)
    if len(whole) <= _LONGEST:
        return whole
    short = _text(report, (), (*report.notes[:10], "This comment was cut; the JSON report has it all."))
    return short if len(short) <= _LONGEST else f"{short[:_LONGEST].rpartition(chr(10))[0]}\n"


def _text(report: CheckReport, conditions: Sequence[ConditionCheck], notes: Sequence[str]) -> str:
    parts = [
        COMMENT_MARK,
        f"### rbs check: {'failed' if report.failed else 'passed'}",
        f"**{escaped(verdict(report), longest=2000)}**",
        f"Candidate {_record(report.candidate)} against baseline {_record(report.baseline)} on "
        f"{code(report.suite.name)}, version {report.suite.version}.",
        "\n".join(_columns(report)),
    ]
    if conditions:
        parts.append(_conditions(conditions))
    if notes:
        parts.append("\n".join(f"- {escaped(note, longest=_LONGEST_NOTE)}" for note in notes))
    how = (
        "A column fails when its drop is above its tolerance."
        if report.fail_on_any
        else "A column fails when its drop is above its tolerance and the one-sided test of no drop is "
        f"rejected at {report.alpha:g} after Holm over the gated columns."
    )
    parts.append(
        f"<sub>{how} Drops are in the direction of worse; conditions are reported, not tested.</sub>"
    )
    return "\n\n".join(parts) + "\n"


def _record(record: CheckedRecord) -> str:
    return f"**{escaped(record.name) or 'unnamed'}** ({record.kind}, {code(record.digest[:8])})"


def _columns(report: CheckReport) -> list[str]:
    levels = {column.interval.level for column in report.columns if column.interval}
    interval = f"{100 * levels.pop():.3g} % interval" if len(levels) == 1 else "interval"
    head = ("", "column", "baseline", "candidate", "drop", interval, "tolerance", "test", "p (Holm)")
    rows = [_row(head), "|---|---|" + "---:|" * 5 + "---|---:|"]
    reasons = []
    for column in report.columns:
        mark = "**worse**" if column.failed else "ok" if column.gated else "not gated"
        rows.append(
            _row((
                mark,
                escaped(column.column),
                value_text(column.baseline, column.unit),
                value_text(column.candidate, column.unit),
                drop_text(column.drop, column.unit),
                interval_text(column) or "–",
                drop_text(column.tolerance, column.unit)[1:] if column.gated else "–",
                _test(column),
                p_text(column.adjusted_p_value).replace("<", "&lt;"),
            ))
        )  # fmt: skip
        if column.reason and not noted(report, column.reason):
            reasons.append(f"- {escaped(column.column)}: {escaped(column.reason, longest=_LONGEST_NOTE)}")
    return [*rows, "", *reasons] if reasons else rows


def _test(column: ColumnCheck) -> str:
    if column.test is None:
        return "–"
    paired = "" if column.paired else ", not paired"
    return f"{TEST_NAMES[column.test]}{paired}, n = {column.n:,}"


def _conditions(conditions: Sequence[ConditionCheck]) -> str:
    rows = [
        _row(("condition", "cell", "baseline", "candidate", "drop", "newly wrong", "newly right")),
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    examples = []
    for one in conditions:
        rows.append(
            _row((
                escaped(one.condition.path),
                escaped(one.cell),
                value_text(one.baseline, one.unit),
                value_text(one.candidate, one.unit),
                drop_text(one.drop, one.unit),
                _count(one.n_newly_wrong),
                _count(one.n_newly_right),
            ))
        )  # fmt: skip
        if one.newly_wrong:
            ids = ", ".join(code(name) for name in one.newly_wrong)
            examples.append(f"- {escaped(one.condition.path)}: {ids}")
    parts = ["<details><summary>Worst conditions</summary>", "\n".join(rows)]
    if examples:
        parts += ["Sample ids that were right and are now wrong:", "\n".join(examples)]
    return "\n\n".join([*parts, "</details>"])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _count(n: int | None) -> str:
    return "–" if n is None else f"{n:,}"
