"""Baselines measured by us: what a record says of a reference network, in the form that suites divide by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.files import digest_of
from robustbench_safety.records import (
    Baseline,
    BaselineGap,
    BaselineMetric,
    BaselineTable,
    ConditionScore,
    ScoreRecord,
    Suite,
)

__all__ = ["measured_baselines"]


def measured_baselines(record: ScoreRecord, suite: Suite) -> list[Baseline]:
    """Return the baselines that a suite divides by, with a record's numbers in place of theirs.

    Args:
        record: Of the reference network on the suite.
        suite: The record's suite; with baselines of one's own its digest may differ.

    Returns:
        One for each name that the suite's aggregates give, in their order. Its numbers count as verified
        where the record does.

    Raises:
        UsageError: The record is of another suite, or the suite divides by nothing.
        UndefinedMetricError: A number is 0 at every level: nothing can be divided by it.
    """
    if (record.suite.name, record.suite.version) != (suite.name, suite.version):
        raise UsageError(
            f"the record is not of suite {suite.name}, version {suite.version}",
            expected=f"a record of {suite.name}",
            found=f"{record.suite.name}, version {record.suite.version}",
            fix="name the record's suite",
        )
    names = dict.fromkeys(aggregate.baseline for aggregate in suite.aggregates if aggregate.baseline)
    if not names:
        raise UsageError(
            f"suite {suite.name} divides by no baseline", expected="a suite with an aggregate 'normalised'"
        )
    return [_measured(name, record, suite) for name in names]


def _measured(name: str, record: ScoreRecord, suite: Suite) -> Baseline:
    metrics = {cell.id: cell.metric for cell in suite.cells}
    tables: dict[BaselineMetric, BaselineTable | BaselineGap] = {}
    clean: float | None = None
    source = f"record {record.slug} of {record.suite.name}, sha256 {digest_of(record.digested_fields())}"
    for aggregate in suite.aggregates:
        if aggregate.baseline != name:
            continue
        cell = aggregate.of[0]
        metric = cast(BaselineMetric, metrics[cell])
        if aggregate.reduce == "relative":
            clean = record.scores[aggregate.of[1]].value
        if (reason := record.scores[cell].reason) is not None:
            tables.setdefault(metric, BaselineGap(unavailable=reason))
            continue
        values = _by_name(record.conditions[cell])
        known = tables.get(metric)
        if isinstance(known, BaselineTable):
            values = {**known.values, **values}
        tables[metric] = BaselineTable(verified=record.kind == "verified", source=source, values=values)
    return Baseline(
        name=name,
        version=1,
        title=f"{record.display_name} on {record.suite.name}"[:200],
        model=f"{record.model.name}, sha256 {digest_of(record.model)} of its specification",
        source=source,
        clean_error=clean,
        metrics=tables,
    )


def _by_name(conditions: Iterable[ConditionScore]) -> dict[str, tuple[float, ...]]:
    levels: dict[str, dict[int, float]] = {}
    for one in conditions:
        levels.setdefault(one.condition.name, {})[one.condition.level] = one.value
    for name, values in levels.items():
        if not any(values.values()):
            raise UndefinedMetricError(
                f"the record's numbers of {name} are all 0",
                expected="a reference network that makes mistakes",
                fix="take another network",
            )
        if sorted(values) != list(range(1, len(values) + 1)):
            raise UndefinedMetricError(
                f"the record has not every level of {name} from 1 on",
                expected="levels 1, 2, 3 ...",
                found=", ".join(map(str, sorted(values))),
            )
    return {name: tuple(values[level] for level in sorted(values)) for name, values in levels.items()}
