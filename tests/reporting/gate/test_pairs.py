"""Two records paired unit by unit, where conditions show the same images, others, or some in common."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_safety.companion import Companion, CompanionRows
from robustbench_safety.errors import IncompatiblePredictionsError
from robustbench_safety.files import read_json
from robustbench_safety.records import Cell, Condition, ConditionScore, ScoreRecord
from robustbench_safety.reporting.gate.columns import Part
from robustbench_safety.reporting.gate.pairs import paired_units
from robustbench_safety.reporting.gate.sides import Side
from tests.reporting.gate.committed import plain

Wrong = dict[str, dict[str, int]]
"""By dataset and sample id: 1 where the answer is wrong."""


def condition(dataset: str) -> Condition:
    return Condition(dataset=dataset, kind="clean", name="clean", level=0)


def side(role: str, wrong: Wrong) -> Side:
    """Return a record of one error a dataset, and its companion."""
    rows, conditions = {}, {}
    for dataset, images in wrong.items():
        bits = np.array([value == 0 for value in images.values()])
        rows[dataset] = CompanionRows(source_ids=list(images), correct={condition(dataset).path: bits})
        value = float(1 - bits.mean())
        shown = ConditionScore(condition=condition(dataset), value=value, n=len(bits), interval=None)
        conditions[f"{dataset}_error"] = (shown,)
    record = read_json(plain(), ScoreRecord).model_copy(update={"conditions": conditions})
    return Side(role=role, record=record, companion=Companion(rows))


def part(dataset: str, weight: float) -> Part:
    cell = Cell(id=f"{dataset}_error", dataset=dataset, metric="error_rate")
    return Part(cell=cell, conditions=(condition(dataset),), weights=np.array([weight]))


def summed(groups: list[np.ndarray]) -> float:
    return sum(float(group.mean()) for group in groups)


def test_images_that_conditions_have_in_common_are_one_unit() -> None:
    # "a" goes wrong in both sets, "b" is in the first alone, "c" and "d" in the second alone.
    before = side("baseline", {"one": {"a": 0, "b": 0}, "two": {"a": 0, "c": 0, "d": 1}})
    after = side("candidate", {"one": {"a": 1, "b": 0}, "two": {"a": 1, "c": 0, "d": 0}})
    parts = [part("one", 0.5), part("two", 0.5)]
    found = paired_units(parts, before, after, lambda _: "the same images")
    assert found.n == 4
    # Three groups: in both, in the first alone, in the second alone.
    assert sorted(len(group) for group in found.groups) == [1, 1, 2]
    assert summed(found.groups) == pytest.approx(0.5 * 1 / 2 + 0.5 * 0.0)
    (both,) = (group for group in found.groups if len(group) == 1 and group[0] != 0)
    assert both[0] == pytest.approx(0.5 / 2 + 0.5 / 3)


def test_equal_ids_of_other_images_are_other_units() -> None:
    before = side("baseline", {"one": {"a": 0, "b": 0}, "two": {"a": 0, "b": 0}})
    after = side("candidate", {"one": {"a": 1, "b": 0}, "two": {"a": 0, "b": 1}})
    parts = [part("one", 1.0), part("two", -1.0)]
    apart = paired_units(parts, before, after, lambda one: one.dataset)
    assert apart.n == 4
    assert summed(apart.groups) == pytest.approx(0.0)
    together = paired_units(parts, before, after, lambda _: "the same images")
    assert together.n == 2
    assert together.groups[0].tolist() == [1.0, -1.0]


def test_images_in_another_order_are_paired_by_id() -> None:
    before = side("baseline", {"one": {"a": 0, "b": 1, "c": 1}})
    after = side("candidate", {"one": {"c": 0, "a": 1, "b": 1}})
    (group,) = paired_units([part("one", 1.0)], before, after, lambda one: one.dataset).groups
    assert group.tolist() == [1.0, 0.0, -1.0]


def test_what_cannot_be_paired_is_said() -> None:
    before = side("baseline", {"one": {"a": 0, "b": 1}})
    other = side("candidate", {"one": {"a": 0, "x": 1}})
    for parts, candidate, said in (
        ([part("one", 1.0)], other, "the sample ids on one/clean/clean-0 are not the same in both"),
        ([part("two", 1.0)], other, "two_error was not measured on two/clean/clean-0 in both"),
        ([], other, "it has no conditions"),
    ):
        with pytest.raises(IncompatiblePredictionsError, match=said):
            paired_units(parts, before, candidate, lambda one: one.dataset)
