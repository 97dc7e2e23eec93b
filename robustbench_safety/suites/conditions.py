"""Which conditions a cell of a suite is measured on, and which clean ones belong to them."""

from __future__ import annotations

from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.detectors import DETECTORS, Detector
from robustbench_safety.errors import FileFormatError
from robustbench_safety.records import Cell, Condition, GeneratedLayout, RelabelledLayout, Suite

__all__ = ["cell_conditions", "clean_conditions", "clean_dataset", "explicit", "tune_dataset"]


def clean_conditions(dataset: Dataset) -> tuple[Condition, ...]:
    """Return the conditions of a dataset that show its images as they are."""
    return tuple(one for one in dataset.manifest.all_conditions() if one.kind == "clean")


def clean_dataset(dataset: Dataset) -> str:
    """Return the name of the dataset whose clean images a dataset shows, or stands beside; else its own."""
    manifest = dataset.manifest
    if manifest.role == "clean":
        return manifest.name
    if manifest.companion is not None:
        return manifest.companion
    layout = manifest.layout
    return layout.source if isinstance(layout, GeneratedLayout | RelabelledLayout) else manifest.name


def tune_dataset(cell: Cell, data: DataRoot) -> str | None:
    """Return the dataset on whose clean predictions a cell's temperature is fitted; None where there is none.

    Cross-fitting takes the clean images that the cell's own are made from or stand beside: no temperature is
    fitted on corrupted images.

    Raises:
        FileFormatError: The temperature would be fitted on the images that are measured.
    """
    if cell.temperature is None:
        return None
    clean = clean_dataset(load_dataset(cell.dataset, data=data))
    if cell.temperature == "cross_fit":
        return clean
    if cell.temperature in (cell.dataset, clean):
        raise FileFormatError(
            f"cell {cell.id}: temperature {cell.temperature}",
            expected="a dataset of other images than those measured, or cross_fit",
            fix="name a dataset of role tune, or cross_fit",
        )
    return cell.temperature


def cell_conditions(cell: Cell, suite: Suite, data: DataRoot) -> tuple[Condition, ...]:
    """Return the conditions that a cell is measured on, in the manifest's order.

    Labels that belong to another dataset's images are measured on that dataset's conditions.

    Raises:
        FileFormatError: The cell names a condition that its dataset does not have.
    """
    cell = explicit(cell, suite, data)
    dataset = load_dataset(cell.dataset, data=data)
    relabelled = isinstance(dataset.manifest.layout, RelabelledLayout)
    manifest = dataset.source().manifest if relabelled else dataset.manifest
    everything = manifest.all_conditions()
    if cell.attack is not None:
        name = cell.attack.condition_name(suite.seed)
        return (Condition(dataset=manifest.name, kind="attack", name=name, level=0),)
    if (shown := cell.detector_pass) is not None:
        return (Condition(dataset=manifest.name, kind="detector-pass", name=shown.condition_name, level=0),)
    if cell.levels:
        known = sorted({condition.level for condition in everything})
        if missing := [level for level in cell.levels if level not in known]:
            raise FileFormatError(
                f"suite {suite.name}: cell {cell.id}: levels",
                expected=f"some of {', '.join(map(str, known))}",
                found=str(missing[0]),
            )
        everything = tuple(condition for condition in everything if condition.level in cell.levels)
    if cell.conditions == "all":
        return everything
    names = {condition.name for condition in everything}
    unknown = [name for name in cell.conditions if name not in names]
    if unknown:
        raise FileFormatError(
            f"suite {suite.name}: cell {cell.id}: conditions",
            expected=f"some of {', '.join(sorted(names))}",
            found=unknown[0],
        )
    return tuple(condition for condition in everything if condition.name in cell.conditions)


def explicit(cell: Cell, suite: Suite, data: DataRoot) -> Cell:
    """Return the cell with headline and settings of the detector written out: a digest covers them."""
    if cell.detector in DETECTORS:
        cell = cell.model_copy(update={"detector_options": _all_settings(cell, DETECTORS[cell.detector])})
    if cell.conditions != "headline":
        return cell
    manifest = load_dataset(cell.dataset, data=data).manifest
    if not manifest.headline:
        raise FileFormatError(
            f"suite {suite.name}: cell {cell.id}: conditions",
            expected=f"names of conditions, or all: dataset {cell.dataset} has no headline",
            found="headline",
        )
    update = {"conditions": manifest.headline, "levels": cell.levels or manifest.headline_levels}
    return cell.model_copy(update=update)


def _all_settings(cell: Cell, detector: Detector) -> dict[str, int | float | str]:
    """Return the settings of a cell's detector, the defaults of those that it does not say among them."""
    settings = {
        name: option.default for name, option in detector.options.items() if option.default is not None
    }
    if cell.detector_pass is not None:
        settings |= cell.detector_pass.model_dump(exclude={"name"})
    return settings | cell.detector_options
