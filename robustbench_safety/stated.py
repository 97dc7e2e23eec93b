"""What a model's authors say its accuracy is, against what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from robustbench_safety.records import ScoreRecord, Suite

__all__ = ["TOLERANCE", "StatedDifference", "compare_with_stated"]

#: Above this, something is different: other decoders and resizes move an accuracy by tenths of a point
#: (docs/traps.md), wrong preprocessing by whole ones.
TOLERANCE = 0.003


@dataclass(frozen=True, kw_only=True)
class StatedDifference:
    """One data set's accuracy, stated and measured."""

    dataset: str
    stated: float
    """Top-1 accuracy, a fraction."""
    measured: float

    @property
    def difference(self) -> float:
        """Measured less stated, a fraction."""
        return self.measured - self.stated

    @property
    def is_odd(self) -> bool:
        """Whether they differ by more than the tolerance."""
        return abs(self.difference) > TOLERANCE


def compare_with_stated(
    record: ScoreRecord, suite: Suite, stated: Mapping[str, float]
) -> tuple[StatedDifference, ...]:
    """Return the differences on the data sets whose whole clean accuracy the suite has measured.

    Args:
        record: What came out.
        suite: What was measured.
        stated: Top-1 accuracy by data set, over all its classes.
    """
    if record.limit is not None:
        return ()  # a few hundred images say nothing of tenths of a point
    found: dict[str, StatedDifference] = {}
    for cell in suite.cells:
        value = record.scores[cell.id].value
        whole = cell.metric == "error_rate" and cell.subset is None and cell.attack is None
        clean = all(score.condition.kind == "clean" for score in record.conditions[cell.id])
        if whole and clean and value is not None and cell.dataset in stated:
            found.setdefault(
                cell.dataset,
                StatedDifference(dataset=cell.dataset, stated=stated[cell.dataset], measured=1 - value),
            )
    return tuple(found.values())
