"""The commands that hold records against each other: ``rbs compare`` and ``rbs check``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robustbench_safety.cli.check_outputs import CheckOutputs
from robustbench_safety.cli.screen import screen, show_rows
from robustbench_safety.data import DataRoot
from robustbench_safety.records import CheckReport, ColumnCheck, ConditionCheck
from robustbench_safety.reporting.gate.checking import check
from robustbench_safety.reporting.gate.comparing import Comparison, compare, in_words
from robustbench_safety.reporting.gate.tolerances import POINTS, read_tolerances

__all__ = ["run_check", "run_compare"]

#: Conditions shown of all; the report in JSON has them all.
_WORST = 10
#: Sample ids shown of those.
_EXAMPLES = 2
#: Characters of a name, or of a sample id.
_LONGEST = 60
_PERCENT = " %"

#: Shown where there is no value.
_NONE = "–"
_TESTS = {
    "mcnemar": "McNemar",
    "sign-flip": "sign flips",
    "delong": "DeLong",
    "paired-bootstrap": "paired bootstrap",
    "intervals": "intervals alone",
}


def run_compare(
    records: Sequence[Path], *, predictions: Sequence[Path], suite: str | None, data: DataRoot
) -> None:
    """Compare records with the first of them, and print what is found."""
    for one in compare(records, predictions=predictions, suite=suite, data=data):
        _show_comparison(one)


def run_check(
    candidate: Path,
    baseline: Path,
    *,
    predictions: Path | None,
    baseline_predictions: Path | None,
    tolerance: Sequence[str],
    tolerances: Path | None,
    fail_on_any: bool,
    allow_preprocessing_change: bool,
    alpha: float,
    suite: str | None,
    data: DataRoot,
    outputs: CheckOutputs,
) -> CheckReport:
    """Check a candidate against its baseline, print the report, write its other forms and return it."""
    has_table = not outputs.takes_the_screen
    companions = [record.with_suffix(".parquet") for record in (candidate, baseline) if record.suffix]
    outputs.refuse_clash(candidate, baseline, *companions, tolerances)
    report = check(
        candidate,
        baseline,
        predictions=predictions,
        baseline_predictions=baseline_predictions,
        tolerances=read_tolerances(tolerances, tolerance),
        fail_on_any=fail_on_any,
        allow_preprocessing_change=allow_preprocessing_change,
        alpha=alpha,
        suite=suite,
        data=data,
    )
    if has_table:
        _show_report(report)
    outputs.write(report)
    return report


def _show_comparison(comparison: Comparison) -> None:
    first, other = _short(comparison.first.name), _short(comparison.other.name)
    suite = comparison.suite
    title = f"B: {other} against A: {first} on {suite.name} (version {suite.version})"
    rows = [
        (
            _title(one),
            _value(one, one.baseline),
            _value(one, one.candidate),
            _difference(one),
            _interval_of_difference(one),
            f"{one.n:,}" if one.n else _NONE,
            _paired(one),
        )
        for one in comparison.columns
    ]
    show_rows(title, ("column", "A", "B", "B – A", "95 % interval", "n", "how"), rows)
    worse = [one for one in comparison.conditions if one.drop > 0]
    better = [one for one in reversed(comparison.conditions) if one.drop < 0]
    for title, found in (("worse, the worst", worse), ("better, the best", better)):
        # As for the columns: a difference, of which the title says whether it is a good one.
        apart = [one.candidate - one.baseline for one in found]
        _show_conditions(f"where B is {title} first", ("A", "B", "B – A"), found, apart)
    _show_notes([*_reasons(comparison.columns), *comparison.notes])
    for sentence in in_words(comparison):
        _say(sentence)


def _show_report(report: CheckReport) -> None:
    title = f"{_short(report.candidate.name)} against {_short(report.baseline.name)} on {report.suite.name}"
    rows = [
        (
            _title(one),
            _value(one, one.baseline),
            _value(one, one.candidate),
            _value(one, one.drop, signed=True),
            _ends(one),
            _value(one, one.tolerance),
            _p_value(one.adjusted_p_value),
            _how(one),
            _verdict(one),
        )
        for one in report.columns
    ]
    head = ("column", "baseline", "candidate", "drop", "95 % interval", "tolerance", "p (Holm)", "test", "")
    show_rows(f"{title} (version {report.suite.version})", head, rows)
    worse = [one for one in report.conditions if one.drop > 0]
    drops = [one.drop for one in worse]
    _show_conditions("worst conditions (reported, not tested)", ("before", "now", "drop"), worse, drops)
    _show_notes(report.notes)
    _say(_summary(report))


def _summary(report: CheckReport) -> str:
    failed = [one.column for one in report.columns if one.failed]
    gated = sum(one.gated for one in report.columns)
    if failed:
        how = (
            "above their tolerance" if report.fail_on_any
            else f"above their tolerance, and beyond chance at {100 * report.alpha:g} %"
        )  # fmt: skip
        return f"FAILED: worse in {', '.join(failed)}: {how}"
    dropped = [one.column for one in report.columns if one.drop is not None and one.drop > 0]
    seen = f"; drops within tolerance or chance in {', '.join(dropped)}" if dropped else ""
    return f"passed: {gated} column{'s' if gated != 1 else ''} checked{seen}"


def _show_conditions(
    title: str, columns: tuple[str, str, str], found: Sequence[ConditionCheck], apart: Sequence[float]
) -> None:
    """Print the first of some conditions, under names for what was, what is, and how far that is apart."""
    if not found:
        return
    rows = []
    for one, difference in list(zip(found, apart, strict=True))[:_WORST]:
        counted = one.n_newly_wrong is not None
        rows.append((
            one.condition.path,
            f"{one.cell}{_PERCENT if one.unit == 'fraction' else ''}",
            _value(one, one.baseline),
            _value(one, one.candidate),
            _value(one, difference, signed=True),
            f"{one.n_newly_wrong:,} / {one.n_newly_right:,}" if counted else _NONE,
            " ".join(_short(name) for name in one.newly_wrong[:_EXAMPLES]) or _NONE,
        ))  # fmt: skip
    shown = f"{title}: {len(rows)} of {len(found)}"
    head = ("condition", "cell", *columns, "newly wrong / right", "wrong now")
    show_rows(shown, head, rows)


def _show_notes(notes: Sequence[str]) -> None:
    for note in notes:
        _say(f"note: {note}")


def _reasons(columns: Sequence[ColumnCheck]) -> list[str]:
    return [f"{one.column}: {one.reason}" for one in columns if one.reason]


def _say(text: str) -> None:
    screen().print(_printable(text), markup=False, soft_wrap=True)


def _short(name: str) -> str:
    return _printable(name if len(name) <= _LONGEST else f"{name[:_LONGEST]} ...")


def _printable(text: str) -> str:
    """Keep what a name in a record that somebody sent may hold from steering the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def _title(column: ColumnCheck) -> str:
    unit = {"fraction": f"{_PERCENT} ", "nats": " (nats) ", "score": " "}[column.unit]
    return f"{column.column.replace('_', ' ')}{unit}{'↓' if column.direction == 'lower' else '↑'}"


def _value(column: ColumnCheck | ConditionCheck, value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return _NONE
    sign = "+" if signed else ""
    if column.unit == "fraction":
        return f"{POINTS * value + 0.0:{sign}.2f}"
    return f"{value + 0.0:{sign}.4f}"


def _ends(column: ColumnCheck) -> str:
    if column.interval is None:
        return _NONE
    ends = (_value(column, end, signed=True) for end in (column.interval.low, column.interval.high))
    return " to ".join(ends)


def _difference(column: ColumnCheck) -> str:
    if column.drop is None:
        return _NONE
    return _value(column, column.drop if column.direction == "lower" else -column.drop, signed=True)


def _interval_of_difference(column: ColumnCheck) -> str:
    if column.interval is None or column.direction == "lower":
        return _ends(column)
    turned = (-column.interval.high, -column.interval.low)
    return " to ".join(_value(column, end, signed=True) for end in turned)


def _paired(column: ColumnCheck) -> str:
    if column.drop is None:
        return _NONE
    return "paired" if column.paired else "not paired"


def _p_value(value: float | None) -> str:
    if value is None:
        return _NONE
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def _how(column: ColumnCheck) -> str:
    return _TESTS[column.test] if column.test is not None else _NONE


def _verdict(column: ColumnCheck) -> str:
    if not column.gated:
        return "not gated"
    return "FAILED" if column.failed else "ok"
