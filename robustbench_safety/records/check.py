"""What a check of one record against another found: column by column, and condition by condition."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from robustbench_safety.records.base import Digest, Name, Record
from robustbench_safety.records.dataset import Condition
from robustbench_safety.records.score import Direction, RowKind, ScoreInterval, SuiteReference

__all__ = ["CheckReport", "CheckTest", "CheckedRecord", "ColumnCheck", "ConditionCheck"]

CheckTest = Literal["mcnemar", "sign-flip", "delong", "paired-bootstrap", "intervals"]


class ColumnCheck(Record):
    """One column of the suite: by how much the candidate is worse, and how sure that is."""

    column: Name
    unit: Literal["fraction", "nats", "score"]
    """``fraction`` is shown as percent."""
    direction: Direction
    """Which way is good."""
    baseline: float | None
    candidate: float | None
    drop: float | None
    """By how much the candidate is worse, in the column's unit; below 0 it is better."""
    tolerance: float = Field(ge=0)
    """Drop that is allowed, in the column's unit."""
    interval: ScoreInterval | None
    """Of the drop, two-sided."""
    test: CheckTest | None
    """How "no drop" was tested; None where there are neither images that pair nor intervals."""
    paired: bool
    """Whether test and interval compare the two models image by image (or clip by clip)."""
    n: int = Field(ge=0)
    """Source images or clips that were compared."""
    p_value: float | None = Field(ge=0, le=1)
    """Of the one-sided test of "no drop"."""
    adjusted_p_value: float | None = Field(ge=0, le=1)
    """After Holm, over the gated columns."""
    gated: bool
    failed: bool
    reason: str | None
    """Why it is not gated, or why it is not paired."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.drop is None) != (self.baseline is None or self.candidate is None):
            raise ValueError("a drop is that of two values, and goes with both")
        if self.gated and self.drop is None:
            raise ValueError("a gated column has a drop")
        if (self.test is None) != (self.p_value is None):
            raise ValueError("a test goes with its p-value")
        if self.failed and not self.gated:
            raise ValueError("only a gated column fails")
        return self


class ConditionCheck(Record):
    """One condition of a cell: reported, never tested."""

    condition: Condition
    cell: Name
    baseline: float
    candidate: float
    drop: float
    """By how much the candidate is worse, in the cell's unit; below 0 it is better."""
    unit: Literal["fraction", "nats", "score"] = "fraction"
    """Of the cell."""
    newly_wrong: tuple[str, ...] = Field(default=(), max_length=5)
    """Sample ids, right with the baseline and wrong with the candidate: the first few."""
    n_newly_wrong: int | None = Field(default=None, ge=0)
    """None where the two cannot be paired."""
    n_newly_right: int | None = Field(default=None, ge=0)


class CheckedRecord(Record):
    """Which record, exactly."""

    name: str
    """Display name: free text."""
    digest: Digest
    kind: RowKind


class CheckReport(Record):
    """Whether a candidate got worse than its baseline, and where."""

    schema_version: Literal[1]
    suite: SuiteReference
    candidate: CheckedRecord
    baseline: CheckedRecord
    alpha: float = Field(gt=0, lt=1)
    """Chance, at most, that any column fails where the candidate is in truth as good in all."""
    fail_on_any: bool
    """Whether a drop above its tolerance fails without a test."""
    columns: tuple[ColumnCheck, ...]
    conditions: tuple[ConditionCheck, ...]
    """Worst first."""
    notes: tuple[str, ...]
    """What a reader must know of the comparison; printed in every output."""
    failed: bool

    @model_validator(mode="after")
    def _fails_by_its_columns(self) -> Self:
        if self.failed != any(column.failed for column in self.columns):
            raise ValueError("a check fails exactly where one of its columns does")
        return self
