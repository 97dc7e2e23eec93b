"""Tests of the plan of a check."""

from __future__ import annotations

import pytest

from robustbench_safety.errors import UsageError
from robustbench_safety.metrics.power import McnemarRule, mcnemar_power
from robustbench_safety.reporting.gate.planning import plan_check


def test_a_plan_shows_round_drops_from_never_to_always() -> None:
    plan = plan_check(10_000, discordance=0.1, rule=McnemarRule(tolerance=0.01))
    drops, powers = [one.drop for one in plan.drops], [one.power for one in plan.drops]
    assert drops == sorted(set(drops))
    assert powers == sorted(powers)
    assert drops[0] == 0.0
    assert 0.01 in drops
    assert powers[1] < 0.05
    assert powers[-1] >= 0.999
    assert 6 <= len(drops) <= 20


def test_the_drops_of_a_plan_have_the_power_that_it_says() -> None:
    rule = McnemarRule(tolerance=0.01)
    plan = plan_check(10_000, discordance=0.1, rule=rule, drops=[0.02])
    assert [one.drop for one in plan.drops] == [0.02]
    assert plan.drops[0].power == mcnemar_power(10_000, discordance=0.1, drop=0.02, rule=rule)
    assert [one.power for one in plan.detectable] == [0.8, 0.95]
    assert 0.01 < (plan.detectable[0].drop or 0) < (plan.detectable[1].drop or 0) < 0.02


def test_few_images_that_find_nothing_say_so() -> None:
    plan = plan_check(50, discordance=0.02, rule=McnemarRule())
    assert [one.drop for one in plan.detectable] == [None, None]
    assert plan.drops[-1].drop == 0.02


def test_a_drop_above_the_discordance_is_refused() -> None:
    with pytest.raises(UsageError, match="drop"):
        plan_check(1000, discordance=0.1, rule=McnemarRule(), drops=[0.2])
