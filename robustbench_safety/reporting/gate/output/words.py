"""The words that every form of a report shares: values, drops, tests, the verdict."""

from __future__ import annotations

from robustbench_safety.records import CheckReport, ColumnCheck, ConditionCheck
from robustbench_safety.reporting.plain_text import one_line

__all__ = [
    "TEST_NAMES",
    "column_sentence",
    "drop_text",
    "gated_columns",
    "interval_text",
    "noted",
    "p_text",
    "value_text",
    "verdict",
    "worse_conditions",
]

#: How each test is called in a sentence.
TEST_NAMES = {
    "mcnemar": "McNemar's test",
    "sign-flip": "sign-flip test",
    "delong": "DeLong's test",
    "paired-bootstrap": "paired bootstrap",
    "intervals": "the two intervals alone",
}


def value_text(value: float | None, unit: str) -> str:
    """Return a value as tables show it: percent with two digits, other units with four."""
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if unit == "fraction" else f"{value:.4f}"


def drop_text(drop: float | None, unit: str) -> str:
    """Return a drop with its sign: above 0 the candidate is worse."""
    if drop is None:
        return "–"
    return f"{100 * drop:+.2f} points" if unit == "fraction" else f"{drop:+.4f}"


def interval_text(column: ColumnCheck) -> str:
    """Return the interval of a drop, "" where there is none."""
    if column.interval is None:
        return ""
    low, high = column.interval.low, column.interval.high
    if column.unit == "fraction":
        return f"{100 * low:+.2f} to {100 * high:+.2f}"
    return f"{low:+.4f} to {high:+.4f}"


def p_text(p_value: float | None) -> str:
    """Return a p-value with its sign."""
    if p_value is None:
        return "–"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def noted(report: CheckReport, reason: str) -> bool:
    """Tell whether a note of the report says already why a column is not gated or not paired."""
    return any(reason in note for note in report.notes)


def gated_columns(report: CheckReport) -> list[ColumnCheck]:
    """Return the columns that can fail."""
    return [column for column in report.columns if column.gated]


def verdict(report: CheckReport) -> str:
    """Return in one sentence whether the check failed, and by which columns."""
    gated = gated_columns(report)
    failed = [column.column for column in gated if column.failed]
    columns = "column" if len(gated) == 1 else "columns"
    if failed:
        return f"{len(failed)} of {len(gated)} gated {columns} got worse: {', '.join(failed)}"
    beyond = "its tolerance" if report.fail_on_any else "its tolerance and chance"
    return f"none of {len(gated)} gated {columns} got worse beyond {beyond}"


def column_sentence(column: ColumnCheck, *, fail_on_any: bool) -> str:
    """Return what was found of one column, with numbers."""
    if column.drop is None:
        parts = [f"{column.column} has no drop"]
    else:
        way = "worse" if column.drop > 0 else "better" if column.drop < 0 else "the same"
        by = f" by {drop_text(abs(column.drop), column.unit)[1:]}" if column.drop else ""
        within = ""
        if column.interval is not None:
            within = f" ({100 * column.interval.level:.3g} % interval {interval_text(column)})"
        parts = [f"{column.column} is {way}{by}{within}"]
    parts += [
        f"{value_text(value, column.unit)} with the {which}"
        for which, value in (("baseline", column.baseline), ("candidate", column.candidate))
        if value is not None
    ]
    if not column.gated:
        parts.append("not gated")
    else:
        parts.append(f"tolerance {drop_text(column.tolerance, column.unit)[1:]}")
        if fail_on_any:
            parts.append("any drop above it fails")
        if column.test is not None:
            units = "units" if column.paired else "units, not paired"
            tested = f"{TEST_NAMES[column.test]} over {column.n:,} {units}"
            parts.append(f"{tested}: {p_text(column.adjusted_p_value)} after Holm")
    if column.reason:
        parts.append(one_line(column.reason, longest=500))
    return "; ".join(parts)


def worse_conditions(report: CheckReport, n: int) -> list[ConditionCheck]:
    """Return at most ``n`` conditions on which the candidate is worse, the worst first."""
    return [one for one in report.conditions if one.drop > 0][:n]
