"""Which drop the gate finds with how many images: planned before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_safety.metrics.power import McnemarRule, detectable_drop, mcnemar_power
from robustbench_safety.records.plan import CheckPlan, DetectableDrop, PlannedDrop

__all__ = ["plan_check"]

#: What a plan answers for: the usual power, and that of a gate to be relied on.
_POWERS = (0.8, 0.95)
#: Points; of these a plan shows those around which the power rises.
_ROUND = (
    *(0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.2, 1.5, 1.7, 2.0, 2.5),
    *(3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 70.0, 100.0),
)
#: Powers that count as never and as always in the table.
_NEVER, _ALWAYS = 0.03, 0.999


def plan_check(
    n: int, *, discordance: float, rule: McnemarRule, drops: Sequence[float] | None = None
) -> CheckPlan:
    """Say which drop fails with what power.

    Args:
        n: Images that both models are measured on.
        discordance: Share of images on which exactly one of both models is right, a fraction.
        rule: When a column fails.
        drops: True drops to show the power of, fractions; round ones around which it rises when None.

    Raises:
        UsageError: A value is outside its range.
    """
    detectable = tuple(
        DetectableDrop(power=power, drop=detectable_drop(n, discordance=discordance, power=power, rule=rule))
        for power in _POWERS
    )
    if drops is None:
        shown = _around(n, discordance, rule)
    else:
        shown = [_planned(n, discordance, drop, rule) for drop in drops]
    return CheckPlan(
        n=n,
        discordance=discordance,
        tolerance=rule.tolerance,
        alpha=rule.alpha,
        n_columns=rule.n_columns,
        drops=tuple(shown),
        detectable=detectable,
    )


def _planned(n: int, discordance: float, drop: float, rule: McnemarRule) -> PlannedDrop:
    return PlannedDrop(drop=drop, power=mcnemar_power(n, discordance=discordance, drop=drop, rule=rule))


def _around(n: int, discordance: float, rule: McnemarRule) -> list[PlannedDrop]:
    """Return no drop, the tolerance, and the round drops around which the power rises."""
    always_shown = {0.0, rule.tolerance}
    points = {drop / 100 for drop in _ROUND} | always_shown | {discordance}
    found: list[PlannedDrop] = []
    for drop in sorted(drop for drop in points if drop <= discordance):
        one = _planned(n, discordance, drop, rule)
        if one.power < _NEVER and drop not in always_shown:
            found = [kept for kept in found if kept.drop in always_shown]
        found.append(one)
        if one.power >= _ALWAYS:
            break
    return found
