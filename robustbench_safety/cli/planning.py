"""``rbs check --plan``: which drop would be found, in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import typer

from robustbench_safety.cli.screen import screen, show_rows
from robustbench_safety.errors import UsageError
from robustbench_safety.files import write_json
from robustbench_safety.metrics.power import McnemarRule
from robustbench_safety.records.plan import CheckPlan, DetectableDrop
from robustbench_safety.reporting.gate.planning import plan_check

__all__ = ["plan_tolerance", "run_plan"]


def run_plan(
    n: int | None,
    discordance: float | None,
    *,
    tolerance: float = 0.0,
    alpha: float = 0.05,
    n_columns: int = 5,
    drops: Sequence[float] = (),
    json: Path | None = None,
) -> None:
    """Print which drop fails with what power, and write it as JSON where a file is named.

    Args:
        n: Images that both models are measured on.
        discordance: Share of images on which exactly one of both models is right, a fraction.
        tolerance: Drop that is allowed, in points.
        alpha: Chance, at most, that any column fails where none is worse.
        n_columns: Columns that are tested together.
        drops: True drops to show, in points; round ones when empty.
        json: File for the plan; None for none, ``-`` for standard output in place of the words.

    Raises:
        UsageError: A value is missing or cannot be used.
    """
    if n is None or discordance is None:
        missing = " and ".join(
            name for name, value in (("--n", n), ("--discordance", discordance)) if value is None
        )
        raise UsageError(
            f"--plan needs {missing}",
            expected="how many images, and the share of them on which exactly one of both models is right",
            fix="as in `rbs check --plan --n 10000 --discordance 0.1`; `rbs compare` shows the share of two "
            "records",
        )
    if not 0 <= tolerance < 100:
        raise UsageError("--tolerance", expected="points from 0 to 100", found=f"{tolerance:g}")
    rule = McnemarRule(tolerance=tolerance / 100, alpha=alpha, n_columns=n_columns)
    plan = plan_check(n, discordance=discordance, rule=rule, drops=[drop / 100 for drop in drops] or None)
    if json == Path("-"):
        typer.echo(plan.model_dump_json(indent=1))
        return
    if json is not None:
        write_json(json, plan)
    _show(plan)


def plan_tolerance(values: Sequence[str]) -> float:
    """Return the one tolerance of a plan, in points: ``1``, or ``COLUMN=1`` as a check has it.

    Raises:
        UsageError: There are several, or one is no number.
    """
    if not values:
        return 0.0
    try:
        number = float(values[0].rpartition("=")[2])
    except ValueError:
        number = math.nan
    if len(values) > 1 or math.isnan(number):
        raise UsageError(
            "--tolerance",
            expected="with --plan, one number of points",
            found=", ".join(values),
            fix="plan for one column at a time",
        )
    return number


def _show(plan: CheckPlan) -> None:
    head = (
        f"{plan.n:,} images, {_percent(plan.discordance)} of them right with exactly one of both models; "
        f"tolerance {_points(plan.tolerance)}"
    )
    screen().print(head, markup=False, soft_wrap=True)
    rows = [(f"{100 * one.drop:.4g}", _percent(one.power)) for one in plan.drops]
    show_rows("", ("true drop, points", "the check fails"), rows)
    lines = [_detectable(one, plan) for one in plan.detectable]
    if plan.tolerance:
        lines.append("A true drop as large as the tolerance fails about half of the time at most.")
    columns = f"{plan.n_columns} {'columns' if plan.n_columns > 1 else 'column'}"
    lines.append(
        "A column fails when its drop is above the tolerance and McNemar's exact one-sided test rejects "
        f'"no drop" at {plan.alpha / plan.n_columns:.3g}: {plan.alpha:g} over '
        f"{columns}, the first step of Holm."
    )
    for line in lines:
        screen().print(line, markup=False, soft_wrap=True)


def _detectable(one: DetectableDrop, plan: CheckPlan) -> str:
    if one.drop is None:
        return (
            f"No drop that can be seen here fails {_percent(one.power)} of the time: at most "
            f"{_points(plan.discordance)} can be lost. Take more images or a smaller tolerance."
        )
    return f"A true drop of {_points(_rounded_up(one.drop))} fails {_percent(one.power)} of the time."


def _rounded_up(drop: float) -> float:
    """Return a drop with three digits, never a smaller one: it must fail as often as is said."""
    step = 10.0 ** (math.floor(math.log10(drop)) - 2)
    return math.ceil(drop / step - 1e-9) * step


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent % 1 > 1e-9 else f"{percent:.0f} %"


def _points(drop: float) -> str:
    number = f"{100 * drop:.3g}"
    return f"{number} point" if number == "1" else f"{number} points"
