"""Label spaces, class subsets, and the projection of predictions onto them.

A wrong class list still yields a number, so lists are keyed, counted and digested, and a label space is never
inferred from a class count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.errors import DataError, FileFormatError
from robustbench_safety.files import locate_resource, read_yaml
from robustbench_safety.records import ClassSubset, LabelSpace

__all__ = ["class_digest", "load_label_space", "load_subset", "project_logits", "subset_columns"]


def class_digest(classes: Sequence[str]) -> str:
    """Return the digest of an ordered class list: sha256 of the keys, each followed by a line feed."""
    return hashlib.sha256("".join(f"{key}\n" for key in classes).encode()).hexdigest()


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


def _check_list(path: Path, name: str, listed: LabelSpace | ClassSubset) -> None:
    if listed.name != name:
        raise FileFormatError(
            f"{path}: name is wrong", expected=name, found=listed.name, fix="call the file after its name"
        )
    found = class_digest(listed.classes)
    if found != listed.digest:
        raise FileFormatError(
            f"{path}: the class list is not the one its digest was taken of",
            expected=listed.digest,
            found=found,
            fix="restore the list, or correct the digest if the list was changed on purpose",
        )


def subset_columns(subset: ClassSubset, space: LabelSpace) -> NDArray[np.int64]:
    """Return the columns of ``space`` that belong to ``subset``, in the subset's order: int64 [classes]."""
    index = {key: i for i, key in enumerate(space.classes)}
    missing = [key for key in subset.classes if key not in index]
    if missing:
        raise DataError(
            f"subset {subset.name} does not lie in label space {space.name}",
            expected=f"classes of {space.name}",
            found=f"{len(missing)} others, e.g. {missing[0]!r}",
            fix="correct the subset's label_space or its list",
        )
    return np.array([index[key] for key in subset.classes], dtype=np.int64)


def project_logits(logits: NDArray[np.float64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
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
