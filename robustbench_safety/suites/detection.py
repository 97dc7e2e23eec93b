"""What cells of anomaly detection read beside their own images: what is in distribution, and fitted on."""

from __future__ import annotations

from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.detectors import DETECTORS
from robustbench_safety.records import Cell, Condition, Suite
from robustbench_safety.suites.conditions import cell_conditions, clean_conditions

__all__ = ["featured_conditions", "fit_conditions", "in_conditions"]


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
