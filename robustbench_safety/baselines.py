"""Baselines: the numbers of the reference network that relative errors and flip rates are divided by."""

from __future__ import annotations

from pathlib import Path

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.files import check_resource_name, locate_resource, read_yaml
from robustbench_safety.records import Baseline, BaselineGap, BaselineMetric, BaselineTable

__all__ = ["baseline_table", "load_baseline"]


def load_baseline(name: str, *, beside: Path | None = None, fix: str = "") -> Baseline:
    """Read ``data_manifests/baselines/<name>.yaml``.

    Args:
        name: Name of a baseline.
        beside: A user's own folder, laid out like ``data_manifests``; its ``baselines/`` goes first, so that
            a measured table takes the place of a recalled one.
        fix: What to do when there is none of that name.

    Raises:
        UnknownNameError: There is none of that name; near names are shown.
        FileFormatError: The file is not a baseline, holds a number out of range, or is called otherwise.
    """
    own = beside / "baselines" if beside is not None else None
    path = locate_resource("baseline", name, "data_manifests/baselines", beside=own, fix=fix)
    baseline = read_yaml(path, Baseline)
    check_resource_name(path, name, baseline.name)
    return baseline


def baseline_table(baseline: Baseline, metric: BaselineMetric) -> BaselineTable:
    """Return a baseline's numbers of one metric.

    Args:
        baseline: As :func:`load_baseline` gives it.
        metric: What was measured.

    Raises:
        UndefinedMetricError: The baseline does not have it; the reason stands in the error.

    Example:
        >>> table = baseline_table(load_baseline("alexnet-imagenet-c"), "error_rate")
        >>> table.values["fog"], table.verified
        ((0.67474, 0.7605, 0.84378, 0.8726, 0.945), True)
    """
    table = baseline.metrics.get(metric)
    if isinstance(table, BaselineTable):
        return table
    reason = table.unavailable if isinstance(table, BaselineGap) else "its file does not name the metric"
    raise UndefinedMetricError(
        f"baseline {baseline.name} has no {metric}: {reason}",
        fix=f"measure {baseline.model} and put the numbers into a baseline of your own",
    )
