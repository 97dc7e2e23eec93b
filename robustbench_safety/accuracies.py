"""Accuracies of published models: the points of the line that effective robustness is measured from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robustbench_safety.errors import UndefinedMetricError, UnknownNameError
from robustbench_safety.files import check_resource_name, locate_resource, read_yaml
from robustbench_safety.records import AccuracyShift, AccuracyTable

__all__ = ["LineAccuracies", "line_accuracies", "load_accuracies", "reference_accuracy"]


@dataclass(frozen=True, kw_only=True)
class LineAccuracies:
    """The models that were measured on a shifted set and on the clean images of its classes."""

    models: tuple[str, ...]
    """Names, [M]."""
    clean: tuple[float, ...]
    """Top-1 accuracy on the clean images, fractions, [M]."""
    shifted: tuple[float, ...]
    """Top-1 accuracy on the shifted set, fractions, [M]."""


def load_accuracies(name: str, *, beside: Path | None = None, fix: str = "") -> AccuracyTable:
    """Read ``data_manifests/accuracies/<name>.yaml``.

    Args:
        name: Name of a table.
        beside: A user's own folder, laid out like ``data_manifests``; its ``accuracies/`` goes first.
        fix: What to do when there is none of that name.

    Raises:
        UnknownNameError: There is none of that name; near names are shown.
        FileFormatError: The file is no such table, holds a number out of range, or is called otherwise.
    """
    own = beside / "accuracies" if beside is not None else None
    path = locate_resource("table of accuracies", name, "data_manifests/accuracies", beside=own, fix=fix)
    table = read_yaml(path, AccuracyTable)
    check_resource_name(path, name, table.name)
    return table


def line_accuracies(table: AccuracyTable, dataset: str) -> LineAccuracies:
    """Return the points of a shifted set's line, as ``metrics.fit_accuracy_line`` takes them.

    Args:
        table: As :func:`load_accuracies` gives it.
        dataset: Name of the shifted set.

    Raises:
        UnknownNameError: The table does not have the set; near names are shown.
        UndefinedMetricError: Its points make no line (the reason stands in the error), or no model was
            measured on both.

    Example:
        >>> points = line_accuracies(load_accuracies("imagenet-testbed-standard"), "imagenet-sketch")
        >>> len(points.models), points.models[-1], points.clean[-1]
        (85, 'alexnet', 0.56522)
    """
    shift = _shift(table, dataset)
    if shift.no_line:
        raise UndefinedMetricError(f"{table.name} has no line for {dataset}: {shift.no_line}")
    clean_at, shifted_at = table.columns.index(shift.clean), table.columns.index(shift.shifted)
    points = [
        (model, clean / 100, shifted / 100)
        for model, row in table.models.items()
        if (clean := row[clean_at]) is not None and (shifted := row[shifted_at]) is not None
    ]
    if not points:
        raise UndefinedMetricError(
            f"{table.name} has no line for {dataset}",
            expected=f"models measured under {shift.clean} and {shift.shifted}",
            found="none",
        )
    models, clean_accuracies, shifted_accuracies = zip(*points, strict=True)
    return LineAccuracies(models=models, clean=clean_accuracies, shifted=shifted_accuracies)


def reference_accuracy(table: AccuracyTable, dataset: str, model: str) -> float:
    """Return the accuracy of one model on a shifted set, a fraction.

    Args:
        table: As :func:`load_accuracies` gives it.
        dataset: Name of the shifted set; whether the table has a line for it does not matter.
        model: Name of a model of the table.

    Raises:
        UnknownNameError: The table does not have the set, or the model; near names are shown.
        UndefinedMetricError: The model was not measured on the set.

    Example:
        >>> reference_accuracy(load_accuracies("imagenet-testbed-standard"), "imagenet-r", "resnet50")
        0.36173
    """
    shift = _shift(table, dataset)
    if model not in table.models:
        raise UnknownNameError.among("model", model, table.models, fix=f"{table.name} has no other")
    accuracy = table.models[model][table.columns.index(shift.shifted)]
    if accuracy is None:
        raise UndefinedMetricError(
            f"{table.name} has no accuracy of {model} on {dataset}",
            expected="a model that was measured there",
        )
    return accuracy / 100


def _shift(table: AccuracyTable, dataset: str) -> AccuracyShift:
    if dataset not in table.shifts:
        raise UnknownNameError.among(
            "shifted data set", dataset, table.shifts, fix=f"{table.name} has the accuracies on no other"
        )
    return table.shifts[dataset]
