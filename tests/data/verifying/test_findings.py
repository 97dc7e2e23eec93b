"""Findings are kept in order, a bounded number of each kind in each scope, and the rest counted."""

from __future__ import annotations

import pytest

from robustbench_safety.data.verifying.findings import Finding, Findings


@pytest.mark.parametrize(("n", "more"), [(19, []), (20, []), (21, ["1 more of this kind"])])
def test_what_comes_after_the_twentieth_of_a_kind_is_counted(n: int, more: list[str]) -> None:
    findings = Findings()
    for number in range(n):
        findings.add("fog", Finding(kind="stray", where=f"{number}", level="note"))
    findings.add("fog", Finding(kind="size", where="last"))
    findings.add("snow", Finding(kind="stray", where="another"))
    where = [finding.where for finding in findings.all()]
    kept = [f"{number}" for number in range(min(n, 20))]
    assert where == [*kept, *["fog"] * len(more), "last", "another"]
    assert [finding.found for finding in findings.all() if finding.where == "fog"] == more
    assert {finding.level for finding in findings.all() if finding.kind == "stray"} == {"note", "wrong"}
    assert {finding.level for finding in findings.all() if finding.where == "fog"} <= {"note"}
