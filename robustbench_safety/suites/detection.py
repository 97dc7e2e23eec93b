"""What cells of anomaly detection read beside their own images: what is in distribution, and fitted on."""

from __future__ import annotations

from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.detectors import DETECTORS
from robustbench_safety.errors import FileFormatError
from robustbench_safety.records import Cell, Condition, Suite
from robustbench_safety.suites.conditions import cell_conditions, clean_conditions

__all__ = ["check_sides", "featured_conditions", "fit_conditions", "in_conditions"]

#: Roles of images that a detector may be fitted on or set by.
_OF_KNOWN_CLASSES = ("fit", "tune", "clean", "shift")


def check_sides(cell: Cell, suite: Suite, data: DataRoot) -> None:
    """Refuse a cell of anomaly detection whose sides are not two, or whose detector saw them before.

    Raises:
        FileFormatError: The in-distribution images are anomalies, shown in several conditions, or those that
            should be told from them; or the detector would be fitted on images it is measured on.
    """
    if cell.in_distribution is None:
        return
    where = f"suite {suite.name}: cell {cell.id}"
    if (n := len(in_conditions(cell, suite, data))) != 1:
        raise FileFormatError(
            f"{where}: in_distribution", expected="a dataset of one condition", found=str(n)
        )
    if load_dataset(cell.in_distribution, data=data).manifest.role == "ood":
        raise FileFormatError(
            f"{where}: in_distribution",
            expected="images of known classes",
            found=f"{cell.in_distribution}, ood",
        )
    if cell.dataset == cell.in_distribution and cell.attack is None:
        raise FileFormatError(
            f"{where}: dataset", expected=f"other images than {cell.in_distribution}", found="the same"
        )
    for field, name in (("fit", cell.fit), ("tune", None if cell.tune == "cross_fit" else cell.tune)):
        if name is None:
            continue
        dataset = load_dataset(name, data=data)
        if name in (cell.dataset, cell.in_distribution):
            raise FileFormatError(
                f"{where}: {field}", expected="other images than the cell is measured on", found=name
            )
        if dataset.manifest.role not in _OF_KNOWN_CLASSES or not clean_conditions(dataset):
            raise FileFormatError(
                f"{where}: {field}",
                expected="clean images of known classes",
                found=f"{name}, of role {dataset.manifest.role}",
            )


def in_conditions(cell: Cell, suite: Suite, data: DataRoot) -> tuple[Condition, ...]:
    """Return the conditions that show a cell's in-distribution images; none for other metrics.

    They go through the detector as the cell's own do, but are never attacked.
    """
    if cell.in_distribution is None:
        return ()
    shown = {"dataset": cell.in_distribution, "attack": None, "conditions": "all", "levels": ()}
    return cell_conditions(cell.model_copy(update=shown), suite, data)


def fit_conditions(cell: Cell, data: DataRoot) -> tuple[Condition, ...]:
    """Return the conditions that a cell's detector is fitted on or set by; none where it is neither."""
    names = [cell.fit] if cell.fit is not None else []
    if cell.tune is not None:
        tuned = cell.in_distribution if cell.tune == "cross_fit" else cell.tune
        names += [tuned] if tuned is not None else []
    found = [one for name in names for one in clean_conditions(load_dataset(name, data=data))]
    return tuple(dict.fromkeys(found))


def featured_conditions(suite: Suite, data: DataRoot) -> frozenset[Condition]:
    """Return the conditions whose penultimate features a detector of the suite reads."""
    found: set[Condition] = set()
    for cell in suite.cells:
        known = DETECTORS.get(cell.detector or "")
        if known is not None and known.needs == "features":
            found |= {*cell_conditions(cell, suite, data), *in_conditions(cell, suite, data)}
            found |= set(fit_conditions(cell, data))
    return frozenset(found)
