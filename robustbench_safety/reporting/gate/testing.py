"""One column of two records: by how much the candidate is worse, and the test of whether it is at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.errors import (
    FileFormatError,
    IncompatiblePredictionsError,
    UndefinedMetricError,
    UnknownNameError,
)
from robustbench_safety.measures import METRICS
from robustbench_safety.metrics import Interval
from robustbench_safety.recording import kept_interval, recorded_interval, rounded
from robustbench_safety.records import (
    Baseline,
    Cell,
    CheckTest,
    ColumnCheck,
    Condition,
    Score,
    ScoreInterval,
    Suite,
)
from robustbench_safety.reporting.gate.columns import Part, parts_of
from robustbench_safety.reporting.gate.pairs import aligned, paired_units, shown_on
from robustbench_safety.reporting.gate.sides import Side, cells_behind
from robustbench_safety.reporting.gate.units import IS_MEAN, set_scores
from robustbench_safety.suites import clean_dataset

__all__ = ["Comparing", "Tested", "UnitKind", "significance_of"]

Floats = NDArray[np.float64]
UnitKind = Literal["error", "means", "influences"]

#: Largest value of one unit, where it is not 1.
_LARGEST = {name: metric.largest for name, metric in METRICS.items() if metric.largest != 1}
#: Of sign patterns and resamples: two runs of a check say the same.
_SEED = 0
#: Sum over the units against the difference of the two values. A record keeps ten digits; of a companion's
#: float32 see ``units``.
_CLOSEST, _CLOSEST_OF_FLOAT32 = 1e-9, 1e-3


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What was found of the drop of a column."""

    test: CheckTest | None
    p_value: float | None
    interval: ScoreInterval | None
    paired: bool
    n: int
    reason: str | None = None
    """Why it is not paired."""


@dataclass(frozen=True, kw_only=True)
class Comparing:
    """Two records of one suite."""

    baseline: Side
    candidate: Side
    suite: Suite | None
    """None where it is not at hand: then nothing is known of what a column is made of."""
    data: DataRoot
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    """What the suite's aggregates are divided by."""

    def scores(self, column: str) -> tuple[Score, Score]:
        """Return the baseline's score of a column, and the candidate's."""
        return self.baseline.record.scores[column], self.candidate.record.scores[column]

    def parts(self, column: str) -> tuple[Part, ...]:
        """Return what a column is made of.

        Raises:
            UndefinedMetricError: It is no weighted sum, or the suite is not at hand.
        """
        if self.suite is None:
            raise UndefinedMetricError("the suite is not at hand, so what it is made of is not known")
        return parts_of(column, self.suite, self.baseline.record, self.baselines)

    def cells(self, columns: Iterable[str]) -> list[Cell]:
        """Return the cells that columns are, or are made of; none where the suite is not at hand."""
        if self.suite is None:
            return []
        behind = cells_behind(columns, self.suite)
        return [cell for cell in self.suite.cells if cell.id in behind]

    def column(self, column: str, *, tolerance: float, gated: bool) -> ColumnCheck:
        """Compare one column; whether it fails is decided over all of them.

        Args:
            column: Id, of which both records have a score.
            tolerance: Drop that is allowed, in the column's unit.
            gated: Whether the column counts; one that neither record has a value of never does.
        """
        before, after = self.scores(column)
        found, drop = Tested(test=None, p_value=None, interval=None, paired=False, n=0), None
        reason = None
        if before.value is not None and after.value is not None:
            worse = 1.0 if before.direction == "lower" else -1.0
            drop = rounded(worse * (after.value - before.value)) + 0.0
            found = self._tested(column, drop, worse)
            reason = found.reason
        else:
            gated, reason = False, _why_null(before, after, (self.baseline.role, self.candidate.role))
        return ColumnCheck(
            column=column,
            unit=before.unit,
            direction=before.direction,
            baseline=before.value,
            candidate=after.value,
            drop=drop,
            tolerance=tolerance,
            interval=found.interval,
            test=found.test,
            paired=found.paired,
            n=found.n,
            p_value=found.p_value,
            adjusted_p_value=None,
            gated=gated,
            failed=False,
            reason=reason,
        )

    def _tested(self, column: str, drop: float, worse: float) -> Tested:
        try:
            parts = self.parts(column)
            if all(part.cell.detector is not None for part in parts):
                return self._detection(parts)
            return self._units(parts, drop, worse)
        except (IncompatiblePredictionsError, UndefinedMetricError) as error:
            return self._intervals(column, error.what, worse)

    def _units(self, parts: Sequence[Part], drop: float, worse: float) -> Tested:
        found = paired_units(parts, self.baseline, self.candidate, self._anchor)
        groups = [worse * group for group in found.groups]
        means_alone = all(part.cell.metric in IS_MEAN for part in parts)
        _refuse_another_drop(groups, drop, _CLOSEST if means_alone else _CLOSEST_OF_FLOAT32)
        largest = sum(float(np.abs(part.weights).sum()) for part in parts) * _LARGEST.get(
            parts[0].cell.metric, 1.0
        )
        single = len(parts) == 1 and len(parts[0].conditions) == 1 and abs(float(parts[0].weights[0])) == 1
        kind: UnitKind = "means" if means_alone else "influences"
        if single and parts[0].cell.metric == "error_rate":
            kind = "error"
        test, p_value = significance_of(groups, kind=kind, largest=largest)
        interval = metrics.paired_bootstrap_test(groups, largest=largest, seed=_SEED).interval
        return Tested(
            test=test, p_value=p_value, interval=recorded_interval(interval), paired=True, n=found.n
        )

    def _detection(self, parts: Sequence[Part]) -> Tested:
        if any(part.cell.metric != "auroc" for part in parts):
            raise UndefinedMetricError(f"{parts[0].cell.metric} has no paired test")
        if len({weight for part in parts for weight in part.weights.tolist()}) > 1:
            raise UndefinedMetricError("its sets do not count alike")
        inside: tuple[Floats, Floats] | None = None
        outside: tuple[list[Floats], list[Floats]] = ([], [])
        for part in parts:
            for place, condition in enumerate(part.conditions):
                before, after = (
                    set_scores(side, part.cell, place, shown_on(side.record, part.cell.id, condition))
                    for side in (self.baseline, self.candidate)
                )
                if inside is None:
                    _, *known = aligned(before.inside, after.inside, str(part.cell.in_distribution))
                    inside = known[0], known[1]
                _, *unknown = aligned(before.outside, after.outside, condition.path)
                for own, scores_out in zip(outside, unknown, strict=True):
                    own.append(scores_out)
        if inside is None:
            raise UndefinedMetricError("it has no conditions")
        scores = inside[0], outside[0], inside[1], outside[1]
        paired = metrics.paired_auroc_difference(*scores)
        return Tested(
            test="delong",
            p_value=metrics.delong_test(*scores),
            interval=recorded_interval(paired.interval),
            paired=True,
            n=len(inside[0]),
        )

    def _intervals(self, column: str, reason: str, worse: float) -> Tested:
        """Compare the two intervals, which know nothing of what the models have in common."""
        before, after = self.scores(column)
        assert before.value is not None and after.value is not None  # noqa: PT018, S101  # the caller's branch
        n = min(before.n, after.n)
        try:
            first, second = kept_interval(before), kept_interval(after)
            if worse < 0:
                first, second = _turned(first), _turned(second)
            values = worse * before.value, worse * after.value
            p_value = metrics.intervals_test(values[0], first, values[1], second)
            interval = metrics.independent_difference(values[1], second, values[0], first)
        except UndefinedMetricError as error:
            return Tested(
                test=None, p_value=None, interval=None, paired=False, n=n, reason=f"{reason}; {error.what}"
            )
        return Tested(
            test="intervals",
            p_value=p_value,
            interval=recorded_interval(interval),
            paired=False,
            n=n,
            reason=reason,
        )

    def _anchor(self, condition: Condition) -> str:
        """Return the dataset whose images a condition shows: a corruption shows its companion's."""
        try:
            dataset = load_dataset(condition.dataset, data=self.data)
        except UnknownNameError:
            return condition.dataset
        return clean_dataset(dataset) if dataset.manifest.role == "corruption" else condition.dataset


def significance_of(
    groups: Sequence[Floats], *, kind: UnitKind, largest: float = 1.0
) -> tuple[CheckTest, float]:
    """Test whether the differences of units have a mean above 0 that is no chance.

    Args:
        groups: By how much the candidate is worse on each unit, [N] of each group.
        kind: ``error`` of one condition, where a difference is -1, 0 or 1; ``means`` of what was measured on
            each unit; ``influences``, of a statistic that is a mean over units to first order.
        largest: Size of the largest difference that a unit can have.

    Returns:
        Name of the test, and its one-sided p-value.
    """
    if kind == "error":
        values = np.concatenate(list(groups))
        return "mcnemar", metrics.mcnemar_test(int((values > 0).sum()), int((values < 0).sum()))
    if kind == "means":
        return "sign-flip", metrics.sign_flip_test(groups, seed=_SEED)
    drawn = metrics.paired_bootstrap_test(groups, largest=largest, seed=_SEED)
    return "paired-bootstrap", drawn.p_value


def _refuse_another_drop(groups: Sequence[Floats], drop: float, closest: float) -> None:
    summed = math.fsum(math.fsum(group) / len(group) for group in groups)
    if abs(summed - drop) > closest:
        what = f"its units add up to a drop of {summed:.6g}, and the records say {drop:.6g}"
        if closest == _CLOSEST:
            # Means of what the companions keep exactly: somebody has changed a record.
            raise FileFormatError(what, fix="score both again: a record is never edited")
        raise IncompatiblePredictionsError(what)


def _turned(interval: Interval) -> Interval:
    return Interval(low=-interval.high, high=-interval.low, method=interval.method, level=interval.level)


def _why_null(before: Score, after: Score, roles: tuple[str, str]) -> str:
    reasons = {role: one.reason for role, one in zip(roles, (before, after), strict=True) if one.reason}
    if len(set(reasons.values())) == 1 and len(reasons) == len(roles):
        return f"measured in neither: {next(iter(reasons.values()))}"
    return "; ".join(f"not measured in the {role}: {reason}" for role, reason in reasons.items())
