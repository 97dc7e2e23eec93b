"""Two records paired unit by unit: by how much the candidate is worse on each source image or clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import IncompatiblePredictionsError
from robustbench_safety.records import Condition, ConditionScore, ScoreRecord
from robustbench_safety.reporting.gate.columns import Part
from robustbench_safety.reporting.gate.sides import Side
from robustbench_safety.reporting.gate.units import UnitValues, unit_values

__all__ = ["PairedUnits", "aligned", "paired_units", "shown_on"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PairedUnits:
    """By how much the candidate's value is above the baseline's on each unit."""

    groups: list[Floats]
    """[N] of each group of units that lie in the same conditions; their means add up to the difference."""
    n: int
    """Units, all groups together."""


def shown_on(record: ScoreRecord, cell: str, condition: Condition) -> ConditionScore:
    """Return what a record says of a cell's condition.

    Raises:
        IncompatiblePredictionsError: It does not have it.
    """
    for one in record.conditions.get(cell, ()):
        if one.condition == condition:
            return one
    raise IncompatiblePredictionsError(f"{cell} was not measured on {condition.path} in both")


def aligned(baseline: UnitValues, candidate: UnitValues, where: str) -> tuple[Sequence[str], Floats, Floats]:
    """Return ids and both values of the same units in the same order.

    Args:
        baseline: Without ids where they are those of the other.
        candidate: Likewise.
        where: Named in the error.

    Raises:
        IncompatiblePredictionsError: The units differ.
    """
    if not baseline.ids or not candidate.ids:  # both in the manifest's order
        return (), baseline.values, candidate.values
    if baseline.ids is candidate.ids or list(baseline.ids) == list(candidate.ids):
        return baseline.ids, baseline.values, candidate.values
    first, second = np.array(baseline.ids), np.array(candidate.ids)
    one, other = np.argsort(first), np.argsort(second)
    if len(first) != len(second) or (first[one] != second[other]).any():
        raise IncompatiblePredictionsError(f"the sample ids on {where} are not the same in both")
    return first[one].tolist(), baseline.values[one], candidate.values[other]


def paired_units(
    parts: Sequence[Part], baseline: Side, candidate: Side, anchor: Callable[[Condition], str]
) -> PairedUnits:
    """Return the difference of each unit in a column that is a sum over parts.

    Args:
        parts: What the column is made of.
        baseline: Whose values are taken off.
        candidate: Whose values count.
        anchor: Returns the dataset whose images a condition shows: equal ids there are one image.

    Raises:
        IncompatiblePredictionsError: One side does not tell it, or the units differ.
    """
    sets: list[tuple[str, Sequence[str], Floats]] = []
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for part in parts:
        for condition, weight in zip(part.conditions, part.weights.tolist(), strict=True):
            first, second = (
                unit_values(side, part.cell, shown_on(side.record, part.cell.id, condition))
                for side in (baseline, candidate)
            )
            ids, before, after = aligned(first, second, condition.path)
            # The 75 conditions of a set name the same images: their ids are kept, and compared, once.
            own = known.setdefault(tuple(ids), tuple(ids))
            sets.append((anchor(condition), own, weight * (after - before)))
    if not sets:
        raise IncompatiblePredictionsError("it has no conditions")
    first_anchor, first_ids, _ = sets[0]
    if all(name == first_anchor and ids is first_ids for name, ids, _ in sets):
        return PairedUnits(groups=[np.sum([values for *_, values in sets], axis=0)], n=len(first_ids))
    return _by_combination(sets)


def _by_combination(sets: Sequence[tuple[str, Sequence[str], Floats]]) -> PairedUnits:
    """Add up what a unit has in every set that it lies in; units of the same sets are one group."""
    place: dict[tuple[str, str], int] = {}
    for name, ids, _ in sets:
        for one in ids:
            place.setdefault((name, one), len(place))
    shares, lies_in = np.zeros(len(place)), np.zeros((len(place), len(sets)), dtype=np.bool_)
    for number, (name, ids, values) in enumerate(sets):
        at = np.array([place[name, one] for one in ids])
        shares[at] += values / len(values)
        lies_in[at, number] = True
    _, group = np.unique(np.packbits(lies_in, axis=1), axis=0, return_inverse=True)
    groups = [shares[group == number] for number in range(int(group.max()) + 1)]
    return PairedUnits(groups=[own * len(own) for own in groups], n=len(place))
