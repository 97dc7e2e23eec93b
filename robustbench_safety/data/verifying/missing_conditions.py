"""Conditions that are not there, told together where one thing explains several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robustbench_safety.data.store import Dataset
from robustbench_safety.data.verifying.findings import Finding, some_of
from robustbench_safety.errors import DataError
from robustbench_safety.records import Condition

__all__ = ["missing_together"]

_Missing = Sequence[tuple[Condition, DataError]]


def missing_together(dataset: Dataset, missing: _Missing) -> Iterator[Finding]:
    """Yield a finding for all conditions in whose place the same thing stands.

    One folder holds every level of a corruption, one file of labels belongs to all corruptions.

    Args:
        dataset: Whose conditions they are.
        missing: Each with what is said of it alone.
    """
    together: dict[str, list[tuple[Condition, DataError]]] = {}
    for condition, error in missing:
        together.setdefault(error.found, []).append((condition, error))
    for found, same in together.items():
        first, where = same[0][1], same[0][1].what
        if len(same) > 1:
            names = dict.fromkeys(condition.name for condition, _ in same)
            told = some_of([_levels(name, same) for name in names])
            where = f"{len(same)} conditions of {dataset.name} are not in {dataset.folder}: {told}"
        expected = dict.fromkeys(error.expected for _, error in same)
        yield Finding(
            kind="missing", where=where, expected=some_of(list(expected)), found=found, fix=first.fix
        )


def _levels(name: str, missing: _Missing) -> str:
    levels = [str(condition.level) for condition, _ in missing if condition.name == name]
    return name if levels == ["0"] else f"{name} at {'/'.join(levels)}"
