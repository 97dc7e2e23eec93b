"""The suite that every dataset is: its number under its own rules, beside what it is compared with.

An error is given with the columns of the dataset's classes selected before argmax and softmax, and with all
columns; the companion is measured on the same classes in the same way, and the drop is the first less it.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from robustbench_safety.data import Dataset
from robustbench_safety.errors import UsageError
from robustbench_safety.labels import load_label_space, load_subset
from robustbench_safety.records import Aggregate, Cell, RelabelledLayout, Suite

__all__ = ["suite_of"]

#: Share of out-of-distribution scores above the threshold, as the papers set it.
_DETECTION = ("auroc", "aupr_out", "fpr_at_tpr")


def suite_of(dataset: Dataset) -> Suite:
    """Return the suite that measures one dataset.

    Raises:
        UsageError: It has no images to test on, or no in-distribution images to be compared with.
    """
    manifest = dataset.manifest
    if manifest.role in ("fit", "tune", "material"):
        raise UsageError(
            f"dataset {manifest.name} has role {manifest.role!r}",
            expected="a dataset that models are tested on",
        )
    aggregates: tuple[Aggregate, ...] = ()
    columns: tuple[str, ...] = ()
    if manifest.role == "ood":
        cells = _detection(dataset)
    elif manifest.role == "sequence":
        cells = _consistency(dataset)
    elif manifest.role == "labels":
        cells = _other_labels(dataset)
    else:
        cells, aggregates, columns = _errors(dataset)
    return Suite(
        name=manifest.name,
        version=manifest.version,
        title=manifest.title,
        label_space=_label_space(dataset),
        seed=0,
        cells=cells,
        aggregates=aggregates,
        columns=columns or tuple(cell.id for cell in cells),
    )


def _label_space(dataset: Dataset) -> str:
    if dataset.manifest.role == "ood":
        dataset = _companion(dataset)
    space = dataset.manifest.label_space
    if space is None:
        raise UsageError(f"dataset {dataset.name} has no label space", expected="labelled companion images")
    return space


def _companion(dataset: Dataset) -> Dataset:
    found = dataset.companion()
    if found is None:
        raise UsageError(
            f"dataset {dataset.name} has no in-distribution images to be told from",
            expected="the name of a dataset",
            fix="name it as `companion` in the manifest, or write a suite of your own",
        )
    return found


def _n_classes(dataset: Dataset, subset: str | None = None) -> int:
    beside = dataset.data.beside
    if subset is not None:
        return load_subset(subset, beside=beside).count
    return len(load_label_space(_label_space(dataset), beside=beside).classes)


class _Headline(TypedDict):
    conditions: Literal["all"] | tuple[str, ...]
    levels: tuple[int, ...]


def _headline(dataset: Dataset) -> _Headline:
    """Return the conditions that the published mean is taken over."""
    manifest = dataset.manifest
    return {"conditions": manifest.headline or "all", "levels": manifest.headline_levels}


def _errors(dataset: Dataset) -> tuple[tuple[Cell, ...], tuple[Aggregate, ...], tuple[str, ...]]:
    """Error on the dataset's classes, error on all, the companion's, the drop, calibration."""
    manifest = dataset.manifest
    subset = manifest.subset
    name = "error" if subset is None else f"error_{_n_classes(dataset, subset)}"
    main = Cell(id=name, dataset=manifest.name, metric="error_rate", subset=subset, **_headline(dataset))
    cells, aggregates = [main], []
    if subset is not None:
        everything = f"error_{_n_classes(dataset)}"
        cells.append(main.model_copy(update={"id": everything, "subset": None}))
    companion = dataset.companion()
    if companion is not None:
        # The same classes, the same columns, the same rule of what is right: else the drop would mix two.
        clean = Cell(
            id=f"clean_{name}",
            dataset=companion.name,
            metric="error_rate",
            subset=subset,
            class_map=manifest.class_map,
        )
        cells.append(clean)
        aggregates.append(Aggregate(id="drop", of=(name, clean.id), reduce="difference"))
    cells.append(main.model_copy(update={"id": "rms", "metric": "rms_calibration_error"}))
    columns = [cell.id for cell in cells]
    if aggregates:
        columns.insert(columns.index("rms"), "drop")
    return tuple(cells), tuple(aggregates), tuple(columns)


def _consistency(dataset: Dataset) -> tuple[Cell, ...]:
    """Flip rate, beside the companion's error: a constant classifier never flips."""
    manifest = dataset.manifest
    cells = [Cell(id="flip_rate", dataset=manifest.name, metric="flip_rate", **_headline(dataset))]
    companion = dataset.companion()
    if companion is not None:
        cells.append(Cell(id="clean_error", dataset=companion.name, metric="error_rate"))
    return tuple(cells)


def _detection(dataset: Dataset) -> tuple[Cell, ...]:
    """Detection by the maximum softmax; with a class subset on its columns and images, and on all."""
    manifest, companion = dataset.manifest, _companion(dataset)
    subset = manifest.subset
    cells = []
    for metric in _DETECTION:
        name = "fpr95" if metric == "fpr_at_tpr" else metric
        whole = Cell(
            id=name, dataset=manifest.name, metric=metric, detector="msp", in_distribution=companion.name
        )
        if subset is None:
            cells.append(whole)
            continue
        sliced = f"{name}_{_n_classes(dataset, subset)}"
        cells.append(whole.model_copy(update={"id": sliced, "subset": subset}))
        # In-distribution images of every class, and logits of every class: another number, another name.
        cells.append(whole.model_copy(update={"id": f"{name}_all_{companion.manifest.samples}"}))
    return tuple(cells)


def _other_labels(dataset: Dataset) -> tuple[Cell, ...]:
    """Error by these labels, and by those that the images came with."""
    layout = dataset.manifest.layout
    cells = [Cell(id="error", dataset=dataset.name, metric="error_rate")]
    if isinstance(layout, RelabelledLayout):
        if layout.format == "counts_npy":
            cells.append(
                Cell(id="soft_cross_entropy", dataset=dataset.name, metric="soft_label_cross_entropy")
            )
        cells.append(Cell(id="original_error", dataset=layout.source, metric="error_rate"))
    return tuple(cells)
