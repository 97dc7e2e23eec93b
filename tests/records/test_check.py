"""The report of a check says nothing that contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from robustbench_safety.records import CheckedRecord, CheckReport, ColumnCheck, SuiteReference

COLUMN: dict[str, Any] = {
    "column": "corruptions",
    "unit": "fraction",
    "direction": "lower",
    "baseline": 0.25,
    "candidate": 0.28,
    "drop": 0.03,
    "tolerance": 0.005,
    "interval": None,
    "test": "sign-flip",
    "paired": True,
    "n": 10_000,
    "p_value": 0.001,
    "adjusted_p_value": 0.005,
    "gated": True,
    "failed": True,
    "reason": None,
}


def report(*columns: ColumnCheck, failed: bool) -> CheckReport:
    checked = CheckedRecord(name="ResNet", digest="0" * 64, kind="verified")
    return CheckReport(
        schema_version=1,
        suite=SuiteReference(name="mine", version=1, digest="1" * 64),
        candidate=checked,
        baseline=checked,
        alpha=0.05,
        fail_on_any=False,
        columns=columns,
        conditions=(),
        notes=(),
        failed=failed,
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"drop": None}, "a drop is that of two values"),
        ({"candidate": None}, "a drop is that of two values"),
        ({"test": None}, "goes with its p-value"),
        ({"p_value": None}, "goes with its p-value"),
        ({"drop": None, "candidate": None, "failed": False}, "a gated column has a drop"),
        ({"gated": False}, "only a gated column fails"),
        ({"p_value": 1.5}, "less than or equal to 1"),
        ({"tolerance": -0.1}, "greater than or equal to 0"),
        ({"drop": float("nan")}, "finite"),
    ],
)
def test_a_column_that_contradicts_itself_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ColumnCheck(**{**COLUMN, **fields})


def test_a_report_fails_exactly_where_a_column_does() -> None:
    column = ColumnCheck(**COLUMN)
    assert report(column, failed=True).failed
    for columns, failed in (((column,), False), ((), True)):
        with pytest.raises(ValidationError, match="exactly where one of its columns does"):
            report(*columns, failed=failed)


def test_a_report_survives_the_way_through_json() -> None:
    whole = report(ColumnCheck(**COLUMN), failed=True)
    assert CheckReport.model_validate_json(whole.model_dump_json()) == whole
