"""SVHN's MATLAB files: images and labels in two variables."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import ArrayReader, Indices, Place, Stored, array_ids, check_count
from robustbench_safety.data.readers.columns import check_groups
from robustbench_safety.data.readers.mat_file import (
    DamagedMatError,
    MatVariable,
    mat_variables,
    mat_version,
)
from robustbench_safety.data.readers.npy import check_size
from robustbench_safety.data.readers.places import located
from robustbench_safety.errors import DataError
from robustbench_safety.files import read_bytes
from robustbench_safety.records import MatLayout

__all__ = ["MatReader"]

#: SVHN's training file has 182 MB, and 225 MB of pixels; its test file 64 MB, and 80 MB. The extra file, of
#: 1.3 GB and 1.6 GB, would not fit the memory that is promised, as the format must be unpacked whole.
_LARGEST_FILE = 256 * 2**20
_MOST_PIXELS = 512 * 2**20

_FIX = "fetch the published file again"
#: What a plain array of numbers is called in the head of a variable: nothing else is read.
_WHOLE_NUMBERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_NUMBERS = _WHOLE_NUMBERS | {"single", "double"}


class MatReader(ArrayReader):
    """One MATLAB 5 file, unpacked into memory."""

    def __init__(self, place: Place, layout: MatLayout) -> None:
        self._path = located(place, layout.file)
        self._images, found = _read(self._path, layout)
        height, width, _, n = self._images.shape
        check_size(self._path, place, (height, width))
        check_count(self._path, place.manifest, n)
        self.sample_ids = array_ids(n)
        self._groups = _class_indices(self._path, found, layout.label_of_class_0)
        self.labels = check_groups(self._path, place, self._groups)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the slice of each image, row by row."""
        return [self._images[..., i].tobytes() for i in indices]

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return uint8 [n, H, W, 3]."""
        return np.frombuffer(b"".join(stored), dtype=np.uint8).reshape(-1, *self._images.shape[:3])

    def files(self) -> Sequence[Path]:
        """Return the one file."""
        return [self._path]


def _read(path: Path, layout: MatLayout) -> tuple[NDArray[np.uint8], NDArray[np.generic]]:
    """Return the images uint8 [H, W, 3, N] and the labels [N] as they are stored.

    Raises:
        FileFormatError: The file is far larger than such a file.
        DataError: It is not such a file.
    """
    content = read_bytes(path, largest=_LARGEST_FILE)
    if layout.md5 is not None:
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != layout.md5:
            raise DataError(
                f"{path} is not the published file",
                expected=f"md5 {layout.md5}",
                found=f"{found} of {len(content)} bytes",
                fix=_FIX,
            )
    _check_version(path, content)
    try:
        heads = list(mat_variables(content))
        images = _checked(path, heads, layout.images, {"uint8"}, layout)
        labels = _checked(path, heads, layout.labels, _NUMBERS, layout)
        if len(images.shape) != 4 or images.shape[2] != 3 or images.n_values > _MOST_PIXELS:
            expected = f"[H, W, 3, N] of at most {_MOST_PIXELS:,} values"
            raise _wrong(path, layout.images, expected, f"uint8 {list(images.shape)}")
        n = images.shape[3]
        # MATLAB has no vectors, only matrices of one row or column.
        if labels.shape not in ((n, 1), (1, n)):
            raise _wrong(path, layout.labels, f"{n} labels, one an image", str(list(labels.shape)))
        pixels, found_labels = images.values(), labels.values()
    except DamagedMatError as error:
        raise DataError(
            f"{path} is no whole MATLAB file", found=f"{len(content)} bytes: {error}", fix=_FIX
        ) from error
    if pixels.dtype != np.uint8:
        raise _wrong(path, layout.images, "uint8", f"values stored as {pixels.dtype}")
    return cast(NDArray[np.uint8], pixels), found_labels.ravel()


def _check_version(path: Path, content: bytes) -> None:
    version = mat_version(content)
    if version == 2 or content.startswith(b"\x89HDF"):
        raise DataError(
            f"{path} is a MATLAB 7.3 (HDF5) file",
            expected="a MATLAB 5 file, as published",
            fix=f"{_FIX}, or save it with -v7",
        )
    if version is None:
        raise DataError(
            f"{path} is no MATLAB file",
            expected="a MATLAB 5 file",
            found=f"{len(content)} bytes that begin {content[:16]!r}",
            fix=_FIX,
        )


def _checked(
    path: Path, heads: Sequence[MatVariable], name: str, kinds: Collection[str], layout: MatLayout
) -> MatVariable:
    """Return the one variable of that name, if it is a plain array of one of the kinds."""
    of_name = [head for head in heads if head.name == name]
    if len(of_name) != 1:
        raise DataError(
            f"{path} does not have one variable {name!r}",
            expected=f"{layout.images!r} and {layout.labels!r}",
            found=", ".join(repr(head.name) for head in heads) or "none",
            fix=f"{_FIX}, or correct the manifest",
        )
    if of_name[0].kind not in kinds:
        expected = "uint8" if name == layout.images else "a plain array of numbers"
        raise _wrong(path, name, expected, f"{of_name[0].kind} {list(of_name[0].shape)}")
    return of_name[0]


def _class_indices(path: Path, found: NDArray[np.generic], label_of_class_0: int) -> NDArray[np.int64]:
    """Return the labels as class indices: int64 [N]."""
    # Beyond 2^31 lies no class; NaN is not smaller than anything.
    if not np.all((np.abs(found.astype(np.float64)) < 2**31) & (found == np.floor(found))):
        raise DataError(
            f"{path}: a label is no whole number", expected="class numbers", found=str(found[:5]), fix=_FIX
        )
    labels = found.astype(np.int64)
    if label_of_class_0 and np.any(labels == 0):
        raise DataError(
            f"{path}: a label is 0",
            expected=f"{label_of_class_0} for class 0",
            found="another numbering of the classes",
            fix="correct label_of_class_0 in the manifest",
        )
    return np.where(labels == label_of_class_0, 0, labels)


def _wrong(path: Path, name: str, expected: str, found: str) -> DataError:
    return DataError(
        f"{path}: variable {name!r} is the wrong array",
        expected=expected,
        found=found,
        fix=f"{_FIX}, or correct the manifest",
    )
