"""Tests of what ``rbs check --plan`` prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robustbench_safety.cli.planning import plan_tolerance, run_plan
from robustbench_safety.errors import UsageError
from robustbench_safety.files import read_json
from robustbench_safety.metrics.power import McnemarRule, mcnemar_power
from robustbench_safety.records.plan import CheckPlan


def test_the_drops_that_are_named_fail_as_often_as_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    run_plan(10_000, 0.1, tolerance=1)
    out = capsys.readouterr().out
    found = re.findall(r"A true drop of ([\d.]+) points fails (\d+) % of the time", out)
    assert [power for _, power in found] == ["80", "95"]
    for drop, power in found:
        rule = McnemarRule(tolerance=0.01)
        assert mcnemar_power(10_000, discordance=0.1, drop=float(drop) / 100, rule=rule) >= int(power) / 100
    assert "10,000 images, 10 % of them" in out
    assert "0.05 over 5 columns" in out
    assert re.search(r"│ 2 +│ > 99.9 % +│", out)


def test_a_plan_is_written_as_json(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    run_plan(2000, 0.05, tolerance=0.5, n_columns=2, drops=[1, 2], json=path)
    plan = read_json(path, CheckPlan)
    assert (plan.n, plan.discordance, plan.tolerance, plan.n_columns) == (2000, 0.05, 0.005, 2)
    assert [one.drop for one in plan.drops] == [0.01, 0.02]


def test_what_cannot_be_found_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    run_plan(100, 0.02)
    out = capsys.readouterr().out
    assert "No drop that can be seen here fails 80 % of the time: at most 2 points can be lost" in out


@pytest.mark.parametrize(
    ("n", "discordance", "options", "message"),
    [
        (None, 0.1, {}, "--plan needs --n"),
        (None, None, {}, "--n and --discordance"),
        (0, 0.1, {}, "n cannot be used"),
        (-5, 0.1, {}, "n cannot be used"),
        (100, 1.5, {}, "discordance cannot be used"),
        (100, float("nan"), {}, "discordance cannot be used"),
        (100, 0.1, {"drops": [20.0]}, "only images on which exactly one"),
        (100, 0.1, {"tolerance": -1.0}, "--tolerance"),
        (100, 0.1, {"tolerance": 100.0}, "--tolerance"),
        (100, 0.1, {"alpha": 2.0}, "alpha cannot be used"),
        (100, 0.1, {"n_columns": 0}, "n_columns cannot be used"),
    ],
)
def test_a_plan_of_wrong_values_is_refused_in_a_sentence(
    n: int | None, discordance: float | None, options: dict[str, float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_plan(n, discordance, **options)  # type: ignore[arg-type]  # one dictionary for several types


def test_the_tolerance_of_a_plan_is_one_number_of_points() -> None:
    assert plan_tolerance([]) == 0.0
    assert plan_tolerance(["1"]) == 1.0
    assert plan_tolerance(["mce=0.5"]) == 0.5
    for values in (["1", "2"], ["mce=much"], ["nan"]):
        with pytest.raises(UsageError, match="one number of points"):
            plan_tolerance(values)
