"""Label spaces, class subsets, and the projection of predictions onto them.

A wrong class list still yields a number, so lists are keyed, counted and digested, and a label space is never
inferred from a class count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import DataError, FileFormatError
from robustbench_safety.files import check_resource_name, locate_resource, read_yaml, resource_names
from robustbench_safety.records import ClassMap, ClassNames, ClassSubset, LabelSpace

__all__ = [
    "class_digest",
    "class_map_digest",
    "load_class_map",
    "load_class_names",
    "load_label_space",
    "load_subset",
    "map_columns",
    "project_logits",
    "right_classes",
    "subset_columns",
    "subset_positions",
]


def class_digest(classes: Sequence[str]) -> str:
    """Return the digest of an ordered class list: sha256 of the keys, each followed by a line feed."""
    return hashlib.sha256("".join(f"{key}\n" for key in classes).encode()).hexdigest()


def class_map_digest(classes: Mapping[str, Sequence[str]]) -> str:
    """Return the digest of a class map: sha256 of the lines ``class<tab>member,member<line feed>``."""
    lines = (f"{key}\t{','.join(members)}\n" for key, members in classes.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_label_space(name: str, *, beside: Path | None = None, fix: str = "") -> LabelSpace:
    """Read ``data_manifests/labels/<name>.yaml`` and check its digest.

    Args:
        name: Name of a label space.
        beside: A user's own folder, laid out like ``data_manifests``; its ``labels/`` goes first.
        fix: What to do when there is none of that name.

    Raises:
        UnknownNameError: There is none of that name; near names are shown.
        FileFormatError: The file is not a label space, or its digest, name or list was changed.
    """
    own = beside / "labels" if beside is not None else None
    path = locate_resource("label space", name, "data_manifests/labels", beside=own, fix=fix)
    space = read_yaml(path, LabelSpace)
    _check_list(path, name, space)
    return space


def load_subset(name: str, *, beside: Path | None = None, fix: str = "") -> ClassSubset:
    """Read ``data_manifests/subsets/<name>.yaml``; check its digest and that its classes are in its space.

    Args:
        name: Name of a class subset.
        beside: A user's own folder, laid out like ``data_manifests``; its ``subsets/`` goes first.
        fix: What to do when there is none of that name.

    Raises:
        UnknownNameError: There is none of that name; near names are shown.
        FileFormatError: The file is not a class subset, or its digest, name or list was changed.
        DataError: A class is not in the label space.
    """
    own = beside / "subsets" if beside is not None else None
    path = locate_resource("class subset", name, "data_manifests/subsets", beside=own, fix=fix)
    subset = read_yaml(path, ClassSubset)
    _check_list(path, name, subset)
    subset_columns(subset, load_label_space(subset.label_space, beside=beside, fix=f"named in {path}"))
    return subset


def load_class_map(name: str, *, beside: Path | None = None, fix: str = "") -> ClassMap:
    """Read ``data_manifests/maps/<name>.yaml``; check its digest and that its members are in its space.

    Args:
        name: Name of a class map.
        beside: A user's own folder, laid out like ``data_manifests``; its ``maps/`` goes first.
        fix: What to do when there is none of that name.

    Raises:
        UnknownNameError: There is none of that name; near names are shown.
        FileFormatError: The file is not a class map, its digest, name or list was changed, or a member
            belongs to two classes: then a stored label would not tell which of them an image has.
        DataError: A member is not in the label space.
    """
    own = beside / "maps" if beside is not None else None
    path = locate_resource("class map", name, "data_manifests/maps", beside=own, fix=fix)
    found = read_yaml(path, ClassMap)
    check_resource_name(path, name, found.name)
    _check_digest(path, found.digest, class_map_digest(found.classes))
    space = load_label_space(found.label_space, beside=beside, fix=f"named in {path}")
    members = [member for group in found.classes.values() for member in group]
    _columns(f"class map {name}", members, space)
    if len(set(members)) < len(members):
        twice = next(member for member in members if members.count(member) > 1)
        raise FileFormatError(f"{path}: {twice} stands for two classes", fix="let the classes be disjoint")
    return found


def load_class_names(space: LabelSpace) -> ClassNames:
    """Return what the classes of a label space are called in words, in index order.

    From ``data_manifests/class_names/<label space>.yaml``; where there is none, a class is called by its key,
    with spaces for underscores.

    Raises:
        FileFormatError: The file does not name exactly the classes of the label space, in its order.
    """
    folder = "data_manifests/class_names"
    if space.name not in resource_names(folder):
        plain = {key: key.replace("_", " ") for key in space.classes}
        return ClassNames(name=space.name, prompts=plain, source="the keys of the label space")
    path = locate_resource("class names", space.name, folder)
    names = read_yaml(path, ClassNames)
    check_resource_name(path, space.name, names.name)
    for table in (names.prompts, names.lemmas):
        if table and tuple(table) != space.classes:
            raise FileFormatError(
                f"{path}: the names are not those of the classes of {space.name}",
                expected=f"its {len(space.classes)} keys, in their order",
                found=f"{len(table)} keys",
            )
    return names


def _check_list(path: Path, name: str, listed: LabelSpace | ClassSubset) -> None:
    check_resource_name(path, name, listed.name)
    _check_digest(path, listed.digest, class_digest(listed.classes))


def _check_digest(path: Path, stated: str, found: str) -> None:
    if found != stated:
        raise FileFormatError(
            f"{path}: the class list is not the one its digest was taken of",
            expected=stated,
            found=found,
            fix="restore the list, or correct the digest if the list was changed on purpose",
        )


def subset_columns(subset: ClassSubset, space: LabelSpace) -> NDArray[np.int64]:
    """Return the columns of ``space`` that belong to ``subset``, in the subset's order: int64 [classes]."""
    return _columns(f"subset {subset.name}", subset.classes, space)


def subset_positions(columns: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Return where each class of a label space stands in a subset, -1 outside it: int64 [K].

    Args:
        columns: [C] as :func:`subset_columns` gives them.
        n_classes: K.

    Example:
        >>> import numpy as np
        >>> subset_positions(np.array([2, 0]), 3)
        array([ 1, -1,  0])
    """
    position = np.full(n_classes, -1, dtype=np.int64)
    position[columns] = np.arange(len(columns))
    return position


def right_classes(mapped: ClassMap, space: LabelSpace) -> NDArray[np.bool_]:
    """Return which classes are right beside each: bool [K, K], row and column an index of ``space``.

    The row of a class that the map does not hold is empty.
    """
    right = np.zeros((len(space.classes), len(space.classes)), dtype=np.bool_)
    for columns in map_columns(mapped, space).values():
        right[np.ix_(columns, columns)] = True
    return right


def map_columns(mapped: ClassMap, space: LabelSpace) -> dict[str, NDArray[np.int64]]:
    """Return the columns of ``space`` that each class of a map stands for, in the map's order."""
    what = f"class map {mapped.name}"
    return {key: _columns(what, members, space) for key, members in mapped.classes.items()}


def _columns(what: str, keys: Sequence[str], space: LabelSpace) -> NDArray[np.int64]:
    index = {key: i for i, key in enumerate(space.classes)}
    missing = [key for key in keys if key not in index]
    if missing:
        raise DataError(
            f"{what} does not lie in label space {space.name}",
            expected=f"classes of {space.name}",
            found=f"{len(missing)} others, e.g. {missing[0]!r}",
            fix="correct its label_space or its list",
        )
    return np.array([index[key] for key in keys], dtype=np.int64)


Number = TypeVar("Number", bound=np.generic)


def project_logits(logits: NDArray[Number], columns: NDArray[np.int64]) -> NDArray[Number]:
    """Select the subset's columns; argmax and softmax come after.

    Args:
        logits: [N, K] over the full label space.
        columns: [C] as :func:`subset_columns` gives them.

    Returns:
        [N, C].

    Example:
        >>> import numpy as np
        >>> full = np.array([[3.0, 2.0, 1.0]])
        >>> project_logits(full, np.array([1, 2])).argmax(axis=1)
        array([0])
    """
    return logits[:, columns]
