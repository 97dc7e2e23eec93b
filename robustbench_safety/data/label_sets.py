"""Labels beyond one class an image: sets of right classes, and what people chose; joined by sample id."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.readers.npy import open_npy, wrong_array
from robustbench_safety.data.store import DataRoot, Dataset, load_dataset
from robustbench_safety.errors import DataError
from robustbench_safety.files import file_digest, read_bytes
from robustbench_safety.labels import load_label_space, map_columns, right_classes
from robustbench_safety.records import ClassMap, RelabelledLayout

__all__ = ["CUES", "Cues", "Labels", "cues_of", "labels_of", "mapped_labels", "missing_labels", "read_labels"]

_VALIDATION_NAME = re.compile(r"(?:^|/)ILSVRC2012_val_([0-9]{8})$")
#: The published real.json has some 400 kilobytes.
_LARGEST_JSON = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Labels of images in the order asked for; K classes of the dataset's label space."""

    right: NDArray[np.bool_]
    """Which classes are right for each image: [N, K]. A row without any is an image that has no label."""
    shares: NDArray[np.float64] | None = None
    """Share of people who chose each class, [N, K]; None where nobody was counted."""
    digest: str | None = None
    """sha256 of the file they came from; None where they come from a class map."""


#: Group columns that name the category of an image's shape, and that of its texture.
CUES = ("shape", "texture")


@dataclass(frozen=True, kw_only=True)
class Cues:
    """Categories of the shapes and textures of images, in the order asked for."""

    categories: tuple[NDArray[np.int64], ...]
    """Classes of each category, indices of the label space."""
    shape: NDArray[np.int64]
    """Category of each image's shape, [N]."""
    texture: NDArray[np.int64]
    """Category of its texture, [N]."""


def labels_of(dataset: Dataset, sample_ids: Sequence[str], labels: NDArray[np.int64]) -> Labels | None:
    """Return the labels that a dataset gives to images; None where each has its one class.

    Args:
        dataset: Whose labels are wanted.
        sample_ids: Of the images, [N].
        labels: Index of each image's stored label in the label space, [N]: what a class map goes by.

    Raises:
        DataError: The file of labels is missing or does not hold what it should, or an image is not in it.
    """
    if isinstance(dataset.manifest.layout, RelabelledLayout):
        return read_labels(dataset)(sample_ids)
    if dataset.class_map is None:
        return None
    return mapped_labels(dataset.class_map, labels, beside=dataset.data.beside)


def mapped_labels(class_map: ClassMap, labels: NDArray[np.int64], *, beside: Path | None) -> Labels:
    """Return the classes that count as right by a class map.

    Args:
        class_map: The map.
        labels: Index of each image's stored label in the map's label space, -1 for none: [N].
        beside: A user's own folder of manifests.
    """
    table = right_classes(class_map, load_label_space(class_map.label_space, beside=beside))
    right = table[labels]
    right[labels < 0] = False
    return Labels(right=right)


def cues_of(dataset: Dataset, sample_ids: Sequence[str], class_map: ClassMap | None) -> Cues | None:
    """Return the categories of images by their group columns; None where a dataset has no such columns.

    Args:
        dataset: Whose images they are.
        sample_ids: Of the images, [N].
        class_map: The categories and their classes.

    Raises:
        DataError: A column names what is no category.
    """
    if class_map is None or not set(CUES) <= set(dataset.manifest.columns):
        return None
    columns = map_columns(class_map, load_label_space(class_map.label_space, beside=dataset.data.beside))
    index = {key: number for number, key in enumerate(columns)}
    found = {cue: dataset.columns(sample_ids)[cue] for cue in CUES}
    for cue, keys in found.items():
        if unknown := sorted(set(keys) - set(index)):
            raise DataError(
                f"{dataset.name}: column {cue}",
                expected=f"categories of class map {class_map.name}",
                found=unknown[0][:80],
            )
    shape, texture = (np.array([index[key] for key in found[cue]], dtype=np.int64) for cue in CUES)
    return Cues(categories=tuple(columns.values()), shape=shape, texture=texture)


def read_labels(dataset: Dataset) -> Callable[[Sequence[str]], Labels]:
    """Read a file of labels; return the function that looks images up in it.

    Raises:
        DataError: The file is missing or does not hold what the manifest says.
    """
    layout = dataset.manifest.layout
    if not isinstance(layout, RelabelledLayout):
        raise ValueError(f"{dataset.name} has no file of labels")
    (path,) = dataset.check_presence(dataset.manifest.all_conditions()[0])
    n_classes = len(dataset.classes)
    if layout.format == "real_json":
        right = _read_real(path, dataset.manifest.samples, n_classes)
        shares, number = None, _validation_number
    else:
        shares = _read_counts(path, dataset.manifest.samples, n_classes)
        # Of equal counts no class is more right than another.
        right, number = shares == shares.max(axis=1, keepdims=True), _index
    digest = file_digest(path)

    def look_up(sample_ids: Sequence[str]) -> Labels:
        rows = np.array(
            [_row(path, sample_id, number, len(right)) for sample_id in sample_ids], dtype=np.int64
        )
        return Labels(right=right[rows], shares=None if shares is None else shares[rows], digest=digest)

    return look_up


def missing_labels(datasets: Iterable[str], data: DataRoot, *, skip_missing: bool) -> list[str]:
    """Read the files of labels that belong to other data sets' samples, before anything is measured.

    Args:
        datasets: Names; one may stand there twice.
        data: Data root.
        skip_missing: Whether a file that is missing or damaged is told rather than raised.

    Returns:
        ``name: what is wrong`` of each data set without its labels.

    Raises:
        DataError: There is one, and none may be skipped.
    """
    missing: list[str] = []
    for name in dict.fromkeys(datasets):
        dataset = load_dataset(name, data=data)
        try:
            if isinstance(dataset.manifest.layout, RelabelledLayout):
                read_labels(dataset)
        except DataError as error:
            if not skip_missing:
                raise
            missing.append(f"{name}: {error}")
    return missing


def _validation_number(sample_id: str) -> int | None:
    found = _VALIDATION_NAME.search(sample_id)
    return int(found[1]) - 1 if found else None


def _index(sample_id: str) -> int | None:
    return int(sample_id) if sample_id.isascii() and sample_id.isdigit() else None


def _row(path: Path, sample_id: str, number: Callable[[str], int | None], n: int) -> int:
    row = number(sample_id)
    if row is None or not 0 <= row < n:
        raise DataError(
            f"{path} has no labels for sample {sample_id}",
            expected=f"one of its {n} images, by the published name or number",
            fix="check that the images have their published names",
        )
    return row


def _read_real(path: Path, samples: int, n_classes: int) -> NDArray[np.bool_]:
    """Read ReaL's list of lists: entry i holds the classes of ILSVRC2012_val_{i + 1:08d}."""
    try:
        entries = json.loads(read_bytes(path, largest=_LARGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise _wrong_file(path, f"{samples} lists of classes", str(error)) from error
    if not isinstance(entries, list) or len(entries) != samples:
        found = f"{len(entries)} entries" if isinstance(entries, list) else type(entries).__name__
        raise _wrong_file(path, f"a list of {samples} lists of classes", found)
    right = np.zeros((samples, n_classes), dtype=np.bool_)
    for row, classes in enumerate(entries):
        if not isinstance(classes, list) or not all(
            type(label) is int and 0 <= label < n_classes for label in classes
        ):
            raise _wrong_file(
                path, f"lists of classes 0 to {n_classes - 1}", f"{classes!r:.80} as entry {row}"
            )
        right[row, classes] = True
    return right


def _read_counts(path: Path, samples: int, n_classes: int) -> NDArray[np.float64]:
    """Read how many people chose each class, as shares."""
    found = open_npy(path)
    if found.shape != (samples, n_classes) or found.dtype.kind not in "iuf":
        raise wrong_array(path, f"numbers [{samples}, {n_classes}]", found)
    counts = found.astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    if not np.isfinite(counts).all() or counts.min() < 0 or totals.min() <= 0:
        raise _wrong_file(path, "counts, one or more an image", "a negative, missing or empty row")
    shares: NDArray[np.float64] = counts / totals
    return shares


def _wrong_file(path: Path, expected: str, found: str) -> DataError:
    return DataError(
        f"{path} does not hold the labels",
        expected=expected,
        found=found,
        fix="fetch the published file again",
    )
