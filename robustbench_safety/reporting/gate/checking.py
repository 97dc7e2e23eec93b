"""The regression gate: fails where a candidate is worse than its baseline, and that is no chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from robustbench_safety.data import DataRoot
from robustbench_safety.errors import (
    FileFormatError,
    IncompatiblePredictionsError,
    UnknownNameError,
    UsageError,
)
from robustbench_safety.metrics import holm_adjusted
from robustbench_safety.metrics.checks import fraction_option
from robustbench_safety.records import CheckReport, ColumnCheck, Suite
from robustbench_safety.reporting.gate.comparable import notes_of, refuse_incomparable, refuse_nulls
from robustbench_safety.reporting.gate.conditions import compared_conditions
from robustbench_safety.reporting.gate.sides import Side, read_side, with_predictions
from robustbench_safety.reporting.gate.testing import Comparing
from robustbench_safety.reporting.gate.tolerances import tolerances_in_units
from robustbench_safety.suites import load_suite, suite_baselines, suite_digest

__all__ = ["ALPHA", "check", "decided", "prepared"]

#: Of all columns together, after Holm.
ALPHA = 0.05
#: A record keeps ten digits, so a drop of exactly the tolerance must not lie above it by rounding.
_ROUNDING = 1e-9


def check(
    candidate: str | Path,
    baseline: str | Path,
    *,
    predictions: str | Path | None = None,
    baseline_predictions: str | Path | None = None,
    tolerances: Mapping[str, float] | None = None,
    alpha: float = ALPHA,
    fail_on_any: bool = False,
    allow_preprocessing_change: bool = False,
    suite: str | Path | None = None,
    data: DataRoot | str | Path | None = None,
) -> CheckReport:
    """Check whether a candidate is worse than its baseline in any column of their suite.

    A column fails where its drop is above the tolerance and the one-sided test of "no drop" is rejected,
    after Holm over the gated columns. Every column that has a value is gated; conditions are reported alone.

    Args:
        candidate: Path of a record; its companion lies beside it.
        baseline: Path of the record that it is held against.
        predictions: Stored predictions of the candidate, a run folder or a folder of such: what the companion
            does not keep pairs by them.
        baseline_predictions: Those of the baseline; None to take them where they lie in ``predictions`` too.
        tolerances: By column, in the units of the tables (points); 0 where none is given, so that any drop
            that is no chance fails.
        alpha: Chance of any false alarm, a fraction in (0, 1).
        fail_on_any: Let a drop above its tolerance fail without a test.
        allow_preprocessing_change: Compare models that look at the images in different ways.
        suite: File of the records' suite, where it is not a shipped one.
        data: Data root, for manifests of one's own and files of labels.

    Returns:
        The report; ``failed`` says whether the gate is shut.

    Raises:
        IncompatiblePredictionsError: The two are not comparable: other suite, data, preprocessing, or a
            column that one of them has no value of.
        UnknownNameError: A tolerance is of a column that there is not.
        UsageError: An option has a value that cannot be used.
        FileFormatError: A file is not what it should be.
    """
    fraction_option(alpha, "alpha")
    before, after = read_side(baseline, role="baseline"), read_side(candidate, role="candidate")
    refuse_incomparable(before, after, allow_preprocessing_change=allow_preprocessing_change)
    columns = before.record.columns
    refuse_nulls(before, after, columns)
    allowed = tolerances_in_units(tolerances or {}, before.record)
    comparing, notes = prepared(
        before,
        after,
        columns,
        predictions=(baseline_predictions, predictions),
        suite=suite,
        data=data,
    )
    checks = [comparing.column(name, tolerance=allowed[name], gated=True) for name in columns]
    if not any(one.gated for one in checks):
        raise IncompatiblePredictionsError(
            "nothing to check", expected="a column that both records have a value of",
            found=f"none of {', '.join(columns)}", fix="score both on what is missing",
        )  # fmt: skip
    decisions = decided(checks, alpha=alpha, fail_on_any=fail_on_any)
    cells = comparing.cells(columns)
    return CheckReport(
        schema_version=1,
        suite=before.record.suite,
        candidate=after.checked,
        baseline=before.checked,
        alpha=alpha,
        fail_on_any=fail_on_any,
        columns=decisions,
        conditions=compared_conditions(cells, comparing.baseline, comparing.candidate),
        notes=(*notes, *_of_columns(decisions)),
        failed=any(column.failed for column in decisions),
    )


def decided(
    checks: Sequence[ColumnCheck], *, alpha: float = ALPHA, fail_on_any: bool = False
) -> tuple[ColumnCheck, ...]:
    """Decide which columns fail: adjust the p-values over the gated ones, and hold drops against tolerances.

    Args:
        checks: The columns, tested one by one.
        alpha: Chance of any false alarm.
        fail_on_any: Let a drop above its tolerance fail without a test.

    Raises:
        IncompatiblePredictionsError: A gated column could not be tested, and needs to be.
    """
    for one in checks:
        if one.gated and one.p_value is None and not fail_on_any:
            raise IncompatiblePredictionsError(
                f"column {one.column} cannot be tested: {one.reason}",
                expected="intervals in both records, or images that pair",
                fix="give the predictions of both, or let any drop above its tolerance fail: --fail-on-any",
            )
    adjusted = iter(holm_adjusted([one.p_value for one in checks if one.gated and one.p_value is not None]))
    out = []
    for one in checks:
        p_value = next(adjusted) if one.gated and one.p_value is not None else None
        above = one.gated and one.drop is not None and one.drop > one.tolerance + _ROUNDING
        failed = above and (fail_on_any or (p_value is not None and p_value <= alpha))
        out.append(one.model_copy(update={"adjusted_p_value": p_value, "failed": failed}))
    return tuple(out)


def prepared(
    baseline: Side,
    candidate: Side,
    columns: Sequence[str],
    *,
    predictions: tuple[str | Path | None, str | Path | None] = (None, None),
    suite: str | Path | None = None,
    data: DataRoot | str | Path | None = None,
    or_none: bool = False,
) -> tuple[Comparing, list[str]]:
    """Return the two sides with all that they can be paired by, and the notes on them.

    Args:
        baseline: Against which is compared.
        candidate: Which is compared.
        columns: That are compared.
        predictions: Of the baseline, and of the candidate.
        suite: As for :func:`check`.
        data: As for :func:`check`.
        or_none: Whether predictions that are not there are done without.

    Raises:
        IncompatiblePredictionsError: The suite is another than the records', or there are no predictions of
            them where they are said to lie.
    """
    notes = notes_of(baseline, candidate)
    root = DataRoot(root=Path(data)) if isinstance(data, str | Path) else data or DataRoot.default()
    if suite is not None and Path(suite).suffix in (".yaml", ".yml"):
        # A suite of one's own brings its manifests along, in its own folder.
        root = replace(root, beside=root.beside or Path(suite).parent)
    found, why = _suite_of(baseline, suite, root)
    if found is None:
        if any(predictions):
            raise UsageError(
                "predictions cannot be read", expected="the records' suite", found=why, fix=_NAME_IT
            )
        notes.append(f"{why}: all columns are compared by their intervals alone; {_NAME_IT}")
        return Comparing(baseline=baseline, candidate=candidate, suite=None, data=root), notes
    named = predictions[0] or predictions[1]
    sides = [
        with_predictions(side, Path(folder), found, columns, root, or_none=or_none or own is None)
        if folder
        else side
        for side, own, folder in zip((baseline, candidate), predictions, (named, predictions[1]), strict=True)
    ]
    baselines = suite_baselines(found, root)
    comparing = Comparing(baseline=sides[0], candidate=sides[1], suite=found, data=root, baselines=baselines)
    return comparing, notes


_NAME_IT = "name the suite's file with --suite"


def _suite_of(side: Side, named: str | Path | None, data: DataRoot) -> tuple[Suite | None, str]:
    """Return the suite of a record, or None and why there is none at hand."""
    wanted = side.record.suite
    try:
        found = load_suite(named or wanted.name, data=data)
    except UnknownNameError:
        if named is not None:
            raise
        return None, f"suite {wanted.name} is none of the shipped ones"
    digest = suite_digest(found, data)
    if digest == wanted.digest:
        _refuse_other_columns(side, found)
        return found, ""
    if named is not None:
        raise IncompatiblePredictionsError(
            f"--suite {named} is not the suite of the records",
            expected=f"digest {wanted.digest}",
            found=digest,
        )
    return None, f"suite {wanted.name} is another here than when the records were made"


def _refuse_other_columns(side: Side, suite: Suite) -> None:
    """Refuse a record that leaves out, or adds, a column of its suite."""
    if (record := side.record).columns != suite.columns or record.beside != suite.beside:
        raise FileFormatError(
            f"the records are none of suite {suite.name}: their columns are others",
            expected=", ".join((*suite.columns, *suite.beside)),
            found=", ".join((*record.columns, *record.beside)),
            fix="score both again",
        )


def _of_columns(columns: Sequence[ColumnCheck]) -> list[str]:
    """Return a note on every column that is not paired, or not gated."""
    notes = []
    for one in columns:
        if not one.gated:
            notes.append(f"{one.column} is not gated: {one.reason}")
        elif not one.paired:
            notes.append(f"{one.column} is compared by its intervals alone: {one.reason}")
    return notes
