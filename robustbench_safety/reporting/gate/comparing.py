"""Two records or more, column by column, with what it comes to in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from robustbench_safety.data import DataRoot
from robustbench_safety.errors import UsageError
from robustbench_safety.records import CheckedRecord, ColumnCheck, ConditionCheck, SuiteReference
from robustbench_safety.reporting.gate.checking import prepared
from robustbench_safety.reporting.gate.comparable import refuse_incomparable
from robustbench_safety.reporting.gate.conditions import compared_conditions
from robustbench_safety.reporting.gate.sides import read_side
from robustbench_safety.reporting.gate.tolerances import POINTS

__all__ = ["Comparison", "compare", "in_words"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One record against the first."""

    suite: SuiteReference
    first: CheckedRecord
    other: CheckedRecord
    columns: tuple[ColumnCheck, ...]
    """Those shown beside first; ``drop`` is by how much the other is worse than the first. None is gated."""
    conditions: tuple[ConditionCheck, ...]
    """Of the cells behind the suite's columns; where the other is worst first."""
    notes: tuple[str, ...]


def compare(
    records: Sequence[str | Path],
    *,
    predictions: Sequence[str | Path] = (),
    suite: str | Path | None = None,
    data: DataRoot | str | Path | None = None,
) -> list[Comparison]:
    """Compare records with the first, column by column, with paired intervals where the images are at hand.

    Args:
        records: Paths of two records or more of one suite.
        predictions: Folder of stored predictions of each record, in their order; or one in which those of all
            lie; or none.
        suite: File of the records' suite, where it is not a shipped one.
        data: Data root, for manifests of one's own and files of labels.

    Returns:
        One comparison for each record after the first.

    Raises:
        IncompatiblePredictionsError: Records are of other suites or other data.
        UsageError: There are fewer than two records, or predictions of some of them alone.
        FileFormatError: A file is not what it should be.
    """
    if len(records) < 2:
        raise UsageError("records", expected="two or more to compare", found=str(len(records)))
    folders: list[str | Path | None] = list(predictions) or [None] * len(records)
    shared = len(folders) == 1
    if shared:
        folders *= len(records)
    if len(folders) != len(records):
        raise UsageError(
            "predictions", expected=f"one folder, or one for each of the {len(records)} records",
            found=str(len(folders)),
        )  # fmt: skip
    first = read_side(records[0], role="first record")
    out = []
    for path, folder in zip(records[1:], folders[1:], strict=True):
        other = read_side(path, role="other record")
        # Two models need not look at the images alike to be compared; the notes say where they do not.
        refuse_incomparable(first, other, allow_preprocessing_change=True)
        record = first.record
        columns = (*record.beside, *record.columns)
        comparing, notes = prepared(
            first, other, columns, predictions=(folders[0], folder), suite=suite, data=data, or_none=shared
        )
        compared = tuple(comparing.column(name, tolerance=0.0, gated=False) for name in columns)
        out.append(
            Comparison(
                suite=record.suite,
                first=first.checked,
                other=other.checked,
                columns=compared,
                conditions=compared_conditions(
                    comparing.cells(record.columns), comparing.baseline, comparing.candidate
                ),
                notes=tuple(notes),
            )
        )
    return out


def in_words(comparison: Comparison) -> list[str]:
    """Say what a comparison comes to: in which columns the other is better, worse, or cannot be told apart.

    A column counts as better or worse where the interval of its difference lies on one side of 0. Each
    interval stands by itself: of twenty columns of equal models one is expected to.

    Args:
        comparison: Of two records.

    Returns:
        Sentences.
    """
    better, worse, alike, unknown = [], [], [], []
    for one in comparison.columns:
        name = one.column.replace("_", " ")
        if one.drop is None or one.interval is None:
            unknown.append(name)
        elif one.interval.low > 0:
            worse.append(f"{name} by {_by(one, one.drop, one.interval.low, one.interval.high)}")
        elif one.interval.high < 0:
            better.append(f"{name} by {_by(one, -one.drop, -one.interval.high, -one.interval.low)}")
        else:
            alike.append(
                f"{name} ({_by(one, -one.drop, -one.interval.high, -one.interval.low, signed=True)})"
            )
    first, other = comparison.first.name, comparison.other.name
    sentences = []
    if better:
        sentences.append(f"{other} is better than {first} in {_listed(better)}.")
    if worse:
        sentences.append(f"{other} is worse than {first} in {_listed(worse)}.")
    if alike:
        sentences.append(
            f"No difference that could not be chance in {_listed(alike)}; above 0 {other} is better."
        )
    if unknown:
        sentences.append(f"Nothing can be said of {_listed(unknown)}.")
    return [*sentences, *_flips(comparison)]


def _flips(comparison: Comparison) -> list[str]:
    """Say how many answers changed, all conditions together."""
    counted = [
        (one.n_newly_wrong, one.n_newly_right)
        for one in comparison.conditions
        if one.n_newly_wrong is not None and one.n_newly_right is not None
    ]
    if not counted:
        return []
    wrong, right = (sum(counts) for counts in zip(*counted, strict=True))
    where = f"{len(counted)} conditions" if len(counted) > 1 else "one condition"
    return [f"On {where}, {wrong:,} answers are newly wrong and {right:,} newly right."]


def _by(column: ColumnCheck, value: float, low: float, high: float, *, signed: bool = False) -> str:
    scale, digits, unit = (POINTS, 2, " points") if column.unit == "fraction" else (1.0, 4, "")
    if column.unit == "nats":
        unit = " nats"
    sign = "+" if signed else ""
    shown = [f"{scale * one + 0.0:{sign}.{digits}f}" for one in (value, low, high)]
    how = "" if column.paired else ", unpaired"
    return f"{shown[0]}{unit} ({shown[1]} to {shown[2]}{how})"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
