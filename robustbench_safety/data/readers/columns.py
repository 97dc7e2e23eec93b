"""Columns of a table of images, of Parquet files and of the hub: encoded pictures, labels, sample ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from robustbench_safety.data.base import (
    Place,
    check_class_counts,
    checked_labels,
)
from robustbench_safety.errors import DataError, UnknownNameError
from robustbench_safety.records import LabelFormat

__all__ = [
    "check_columns",
    "check_groups",
    "check_picture_type",
    "check_unique",
    "class_numbers",
    "label_column",
    "label_names",
    "picture_bytes",
    "stand_class_by_class",
    "text_ids",
]

_FIX = "correct the columns in the manifest's layout, or take the published copy"


def label_column(place: Place, label: str | None, labels: LabelFormat) -> str | None:
    """Return the column that labels are read from; None where nothing is.

    Raises:
        DataError: The layout names no column, and the dataset needs labels.
    """
    if labels == "none" or not place.classes:
        return None
    if label is None:
        raise DataError(
            f"{place.manifest.name}: the layout names no column of labels",
            expected="a column in label, as labels is not 'none'",
            fix="name it in the manifest",
        )
    return label


def check_columns(where: Path | str, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a table that lacks a column or holds it twice.

    Raises:
        DataError: Names the column and those that are there.
    """
    for name in wanted:
        times = found.count(name)
        if times != 1:
            raise DataError(
                f"{where} has {'no column' if times == 0 else f'{times} columns'} {name!r}",
                expected=f"the columns {', '.join(wanted)}",
                found=", ".join(found) or "none",
                fix=_FIX,
            )


def check_picture_type(where: Path | str, column: str, kind: pa.DataType) -> None:
    """Refuse an image column that holds neither encoded files nor structs with them.

    Raises:
        DataError: Names the type.
    """
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(
            f"{where}: column {column!r} holds no encoded pictures",
            expected="binary, or a struct with 'bytes'",
            found=str(kind),
            fix=_FIX,
        )


def picture_bytes(where: str, value: object) -> bytes:
    """Return the encoded file in one cell of an image column.

    Raises:
        DataError: It is null, or names a file that lies elsewhere.
    """
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if isinstance(content, bytes):
        return content
    raise DataError(
        f"{where} holds no picture",
        expected="the encoded file",
        found="null" if path is None else f"only a path, {path!r}: files outside are not read",
        fix="take a copy that holds the pictures themselves",
    )


def label_names(where: Path | str, metadata: dict[bytes, bytes] | None, column: str) -> list[str] | None:
    """Return the class names that the datasets library keeps in a file's metadata; None where it has none.

    Raises:
        DataError: The metadata is damaged.
    """
    text = (metadata or {}).get(b"huggingface")
    if text is None:
        return None
    try:
        names = _found_below(json.loads(text), ("info", "features", column, "names"))
        if names is None:
            return None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("the names are no list of texts")
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"{where}: its metadata 'huggingface' cannot be read",
            expected="JSON with info.features",
            found=str(error),
            fix="take the published copy again",
        ) from error
    return names


def _found_below(value: object, keys: Sequence[str]) -> object:
    """Return what stands below the keys, or None where one is not there."""
    for key in keys:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise TypeError(f"{key!r} stands in no mapping")
        value = value.get(key)
    return value


def class_numbers(
    where: Path | str,
    place: Place,
    labels: LabelFormat,
    column: pa.ChunkedArray,
    names: Sequence[str] | None,
) -> NDArray[np.int64]:
    """Return the labels of one table as indices of the dataset's classes.

    Args:
        where: What is read; for errors.
        place: Whose classes.
        labels: ``index``: the numbers are the indices; ``key``: texts are the class keys, and numbers stand
            for the ``names``, which are the class keys. Never for the position alone: copies number the
            classes in an order of their own.
        column: Labels of N samples.
        names: Class names that numbers stand for.

    Returns:
        int64 [N].

    Raises:
        DataError: A label is missing, of another type, or of no class.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if column.null_count:
        raise _wrong_labels(where, "a label in every row", f"{column.null_count} null", _FIX)
    if labels == "index":
        if not pa.types.is_integer(kind):
            raise _wrong_labels(where, "whole numbers, as labels is 'index'", str(kind), _FIX)
        found: NDArray[np.generic] = column.to_numpy()
        _check_range(where, place, found)
        return found.astype(np.int64)
    if pa.types.is_integer(kind):
        texts = _named(where, column.to_numpy(), names)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = column.to_pylist()
    else:
        raise _wrong_labels(where, "texts, as labels is 'key'", str(kind), _FIX)
    number_of = {key: number for number, key in enumerate(place.classes)}
    if unknown := sorted(set(texts) - set(number_of)):
        near = UnknownNameError.among("class", unknown[0], place.classes).expected
        others = f" and {len(unknown) - 1} others" if len(unknown) > 1 else ""
        fix = "correct label_space or labels in the manifest"
        raise _wrong_labels(where, f"classes of {_space(place)}, {near}", f"{unknown[0]!r}{others}", fix)
    return np.array([number_of[text] for text in texts], dtype=np.int64)


def _named(where: Path | str, found: NDArray[np.generic], names: Sequence[str] | None) -> list[str]:
    if names is None:
        fix = "write labels: index in the manifest if the numbers are class indices"
        raise _wrong_labels(where, "texts, or numbers with class names", "numbers alone", fix)
    numbers: list[int] = found.tolist()
    for number in numbers:
        if not 0 <= number < len(names):  # the hub writes -1 for images whose label is withheld
            raise _wrong_labels(where, f"0 to {len(names) - 1}", str(number), _FIX)
    return [names[number] for number in numbers]


def _check_range(where: Path | str, place: Place, found: NDArray[np.generic]) -> None:
    n = len(place.classes)
    if len(found) and (found.min().item() < 0 or found.max().item() >= n):
        raise _wrong_labels(
            where,
            f"0 to {n - 1}, the classes of {_space(place)}",
            f"{found.min()} to {found.max()}",
            "check that the labels belong to these images, and the manifest's label_space",
        )


def _space(place: Place) -> str:
    return str(place.manifest.subset or place.manifest.label_space)


def _wrong_labels(where: Path | str, expected: str, found: str, fix: str) -> DataError:
    return DataError(f"{where}: its labels cannot be used", expected=expected, found=found, fix=fix)


def check_groups(where: Path | str, place: Place, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Check stored labels against classes and counts, for an out-of-distribution set too; return the labels.

    Args:
        where: What is read; for errors.
        place: Whose classes and counts; a set without classes has no wrong labels.
        groups: Stored labels as class indices: int64 [N].

    Returns:
        int64 [N]: the groups, or -1 for every out-of-distribution image.

    Raises:
        DataError: A label lies outside the classes, or a class has another number of images.
    """
    if place.classes:
        _check_range(where, place, groups)
        check_class_counts(where, place.manifest, groups, place.classes)
    return checked_labels(where, place.manifest, groups, place.classes)


def stand_class_by_class(groups: NDArray[np.int64]) -> bool:
    """Tell whether the samples of each of several classes stand together, as a copied image folder's do.

    Example:
        >>> [stand_class_by_class(np.array(groups)) for groups in ([2, 2, 0, 0], [2, 0, 2, 0], [1, 1])]
        [True, False, False]
    """
    changes = int(np.count_nonzero(np.diff(groups)))
    return changes > 0 and changes == len(np.unique(groups)) - 1


def text_ids(where: Path | str, name: str, column: pa.ChunkedArray) -> list[str]:
    """Return the sample ids of one table.

    Raises:
        DataError: One is missing, or they are neither texts nor whole numbers.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_integer(kind):
        column = column.cast(pa.string())
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(f"{where}: column {name!r}", expected="texts", found=str(kind), fix=_FIX)
    if column.null_count:
        raise DataError(
            f"{where}: column {name!r}",
            expected="a sample id in every row",
            found=f"{column.null_count} null",
            fix=_FIX,
        )
    ids: list[str] = column.to_pylist()
    return ids


def check_unique(where: Path | str, sample_ids: Sequence[str]) -> None:
    """Refuse a sample id that stands twice.

    Raises:
        DataError: Names it.
    """
    seen: set[str] = set()
    for sample_id in sample_ids:
        if sample_id in seen:
            raise DataError(
                f"{where} holds two images {sample_id!r}",
                expected="one image for each sample id",
                fix="remove a copy, or name no column of sample ids in the manifest",
            )
        seen.add(sample_id)
