"""Two records on the same images, paired by their companions: differences with paired intervals.

Two models' intervals may overlap where one is better on nearly every image that tells them apart: images
that are hard for both cancel in the difference. The companions keep enough of each image for that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.companion import Companion, CompanionRows
from robustbench_safety.errors import IncompatiblePredictionsError, UnknownNameError, UsageError
from robustbench_safety.metrics import PairedDifference

__all__ = ["paired_detection_difference", "paired_error_difference", "paired_flip_rate_difference"]

#: Named in an error.
_SHOWN = 5

Order = NDArray[np.intp]
Floats = NDArray[np.float64]


def paired_error_difference(
    companion_a: Companion,
    companion_b: Companion,
    condition_paths: str | Sequence[str],
    *,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> PairedDifference:
    """Measure by how much the first model errs more often than the second. Below 0 the first is better.

    Args:
        companion_a: Of the first record.
        companion_b: Of the second.
        condition_paths: ``<dataset>/<kind>/<name>-<level>``; or several of one dataset, whose mean is taken.
        seed: Of the bootstrap.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        First error rate minus second, a fraction in [-1, 1], and its interval. The unit that is drawn is
        the source image, with all the conditions.

    Raises:
        IncompatiblePredictionsError: The images differ, or one companion lacks a dataset or condition.
        UnknownNameError: Both lack a condition.
        UsageError: The conditions are none, or of several datasets; an option cannot be used.

    Conventions:
        An image is right where the best of all the model's classes is a right one. The error on a class
        subset, whose columns are selected first, is another number, and pairs by the predictions alone.
        Labels are taken to be the same: compare ``data_digests`` of the records first.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, chapters 8 and 13, 1993.

    Example:
        >>> def mine(*right: bool) -> Companion:
        ...     correct = {"mine/clean/clean-0": np.array(right)}
        ...     return Companion({"mine": CompanionRows(source_ids=["a", "b", "c", "d"], correct=correct)})
        >>> first, second = mine(False, True, False, True), mine(True, True, False, True)
        >>> paired_error_difference(first, second, "mine/clean/clean-0", seed=0).difference
        0.25
    """
    paths = [condition_paths] if isinstance(condition_paths, str) else list(condition_paths)
    dataset = _dataset_of(paths)
    both = _both(companion_a, companion_b, dataset)
    for path in paths:
        _check_there(path, [list(rows.correct) for rows in both])
    wrong = [
        np.mean([~rows.correct[path][order] for path in paths], axis=0)
        for rows, order in zip(both, _same_units(dataset, *both), strict=True)
    ]
    return metrics.paired_difference(*wrong, seed=seed, draws=draws, level=level)


def paired_flip_rate_difference(
    companion_a: Companion,
    companion_b: Companion,
    condition_path: str,
    *,
    n_comparisons: int,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
) -> PairedDifference:
    """Measure by how much the first model flips more often than the second. Below 0 the first is better.

    Args:
        companion_a: Of the first record.
        companion_b: Of the second.
        condition_path: ``<dataset>/sequence/<name>-<level>``.
        n_comparisons: Pairs of frames that are compared in a clip: its frames less 1.
        seed: Of the bootstrap.
        draws: Number of resamples, at least 100.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        First flip rate minus second, a fraction in [-1, 1], and its interval. The unit that is drawn is the
        clip.

    Raises:
        IncompatiblePredictionsError: The clips differ, or one companion lacks the dataset or sequence.
        UnknownNameError: Both lack the sequence.
        UsageError: There are fewer comparisons than a clip has flips; an option cannot be used.

    Conventions:
        Which frames are compared, with the previous or with the first, is the metric's, and the same in both
        records where their suites have the same digest.

    Source:
        As :func:`paired_error_difference`.

    Example:
        >>> def mine(*flips: int) -> Companion:
        ...     counts = {"mine/sequence/tilt-1": np.array(flips, dtype=np.uint8)}
        ...     return Companion({"mine": CompanionRows(source_ids=["a", "b"], flips=counts)})
        >>> first, second = mine(3, 0), mine(1, 0)  # 3 of 8 comparisons, and 1 of 8
        >>> path = "mine/sequence/tilt-1"
        >>> paired_flip_rate_difference(first, second, path, n_comparisons=4, seed=0).difference
        0.25
    """
    dataset = _dataset_of([condition_path])
    both = _both(companion_a, companion_b, dataset)
    _check_there(condition_path, [list(rows.flips) for rows in both])
    most = max(int(rows.flips[condition_path].max()) for rows in both)
    if n_comparisons < max(1, most):
        raise UsageError(
            "n_comparisons cannot be used",
            expected=f"at least {max(1, most)}, the most flips of a clip of {condition_path}",
            found=str(n_comparisons),
        )
    rates = [
        rows.flips[condition_path][order] / n_comparisons
        for rows, order in zip(both, _same_units(dataset, *both), strict=True)
    ]
    return metrics.paired_difference(*rates, seed=seed, draws=draws, level=level)


def paired_detection_difference(
    companion_a: Companion,
    companion_b: Companion,
    *,
    detector: str,
    in_distribution: str,
    out_of_distribution: str | Sequence[str],
    level: float = 0.95,
) -> PairedDifference:
    """Measure by how much the first model's AUROC is above the second's. Above 0 the first is better.

    Args:
        companion_a: Of the first record.
        companion_b: Of the second.
        detector: Whose OOD scores are taken.
        in_distribution: Name of the dataset of ID images.
        out_of_distribution: Name of the OOD set; or several, whose mean AUROC is taken.
        level: Coverage aimed at, a fraction in (0, 1).

    Returns:
        First AUROC less second, in [-1, 1], and DeLong's paired interval.

    Raises:
        IncompatiblePredictionsError: The images differ, or one companion lacks a dataset or the scores.
        UnknownNameError: Both lack a dataset or the detector.
        UndefinedMetricError: A set has fewer than two images, or there is none.
        UsageError: ``level`` is outside (0, 1).

    Conventions:
        The scores are kept as float32, so two that differ by less are tied here and not in the record.

    Source:
        As :func:`robustbench_safety.metrics.paired_auroc_difference`.

    Example:
        >>> def mine(inside: list[float], outside: list[float]) -> Companion:
        ...     scores = {"digits": inside, "blobs": outside}
        ...     return Companion({
        ...         name: CompanionRows(source_ids=["a", "b"], scores={"msp": np.array(own, np.float32)})
        ...         for name, own in scores.items()})
        >>> first, second = mine([1, 2], [3, 4]), mine([1, 3], [2, 4])  # AUROC 1 and 3/4
        >>> names = {"in_distribution": "digits", "out_of_distribution": "blobs"}
        >>> paired_detection_difference(first, second, detector="msp", **names).difference
        0.25
    """
    sets = [out_of_distribution] if isinstance(out_of_distribution, str) else list(out_of_distribution)
    inside = _scores(companion_a, companion_b, in_distribution, detector)
    outside = [_scores(companion_a, companion_b, name, detector) for name in sets]
    return metrics.paired_auroc_difference(
        inside[0], [a for a, _ in outside], inside[1], [b for _, b in outside], level=level
    )


def _scores(a: Companion, b: Companion, dataset: str, detector: str) -> tuple[Floats, Floats]:
    """Return the scores of both models on the same images of a dataset, in the same order."""
    both = _both(a, b, dataset)
    _check_there(detector, [list(rows.scores) for rows in both], kind="detector")
    first, second = (
        rows.scores[detector][order].astype(np.float64)
        for rows, order in zip(both, _same_units(dataset, *both), strict=True)
    )
    return first, second


def _dataset_of(paths: Sequence[str]) -> str:
    datasets = sorted({path.partition("/")[0] for path in paths})
    if len(datasets) != 1 or len(set(paths)) < len(paths):
        raise UsageError(
            "the conditions cannot be paired",
            expected="one condition or more of one dataset, each once",
            found=", ".join(paths[:_SHOWN]) or "none",
        )
    return datasets[0]


def _both(companion_a: Companion, companion_b: Companion, dataset: str) -> list[CompanionRows]:
    known = [companion_a.datasets, companion_b.datasets]
    if all(dataset not in there for there in known):
        raise UnknownNameError.among("dataset", dataset, {*known[0], *known[1]})
    for which, there in zip(("first", "second"), known, strict=True):
        if dataset not in there:
            raise _lacks(which, f"images of {dataset}", list(there))
    return [there[dataset] for there in known]


def _check_there(name: str, known: Sequence[Sequence[str]], *, kind: str = "condition") -> None:
    if all(name not in there for there in known):
        raise UnknownNameError.among(kind, name, {*known[0], *known[1]})
    for which, there in zip(("first", "second"), known, strict=True):
        if name not in there:
            raise _lacks(which, f"{kind} {name}", there)


def _lacks(which: str, what: str, there: Sequence[str]) -> IncompatiblePredictionsError:
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    return IncompatiblePredictionsError(
        f"the {which} companion cannot be paired",
        expected=what,
        found=(", ".join(there[:_SHOWN]) or "none") + more,
        fix="compare two records of one suite",
    )


def _same_units(dataset: str, a: CompanionRows, b: CompanionRows) -> tuple[Order, Order]:
    """Return for both the order in which unit i of one is unit i of the other.

    Records made with and without the images at hand may have them in different orders.
    """
    if a.source_ids == b.source_ids:
        order = np.arange(len(a.source_ids))
        return order, order
    alone = [sorted(set(x.source_ids) - set(y.source_ids)) for x, y in ((a, b), (b, a))]
    if alone[0] or alone[1]:
        which, name = ("first", alone[0][0]) if alone[0] else ("second", alone[1][0])
        raise IncompatiblePredictionsError(
            f"the two companions have other images of {dataset}",
            expected="the same in both",
            found=f"{len(a.source_ids)} and {len(b.source_ids)}, {name[:80]} in the {which} alone",
            fix="score both on the same data, with the same --limit",
        )
    first, second = (np.argsort(np.array(rows.source_ids)) for rows in (a, b))
    return first, second
