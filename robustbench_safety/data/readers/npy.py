"""Stacks of images in ``.npy`` files, mapped and never unpickled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import cast

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import (
    ArrayReader,
    Indices,
    Place,
    Stored,
    array_ids,
    check_count,
    checked_labels,
    release_pages,
)
from robustbench_safety.data.readers.columns import check_groups
from robustbench_safety.data.readers.places import located
from robustbench_safety.errors import DataError
from robustbench_safety.files import reads
from robustbench_safety.records import NpyLayout

__all__ = ["NpyReader", "open_npy", "open_npy_labels", "wrong_array"]


class NpyReader(ArrayReader):
    """A memory-mapped stack of images, or one level's rows of it; arrays of Python objects are refused."""

    def __init__(self, place: Place, layout: NpyLayout) -> None:
        self.class_sorted = layout.class_sorted
        manifest = place.manifest
        path = located(place, layout.images)
        self._paths = [path]
        images = open_npy(path)
        shape = images.shape
        if len(shape) != 4 or shape[3] != 3 or images.dtype != np.uint8:
            raise wrong_array(path, "uint8 [N, H, W, 3]", images)
        check_size(path, place, (shape[1], shape[2]))
        levels = layout.levels_in_rows or 1
        if layout.levels_in_rows and shape[0] != levels * manifest.samples:
            raise wrong_array(path, f"{levels} levels of {manifest.samples} images", images)
        rows = slice(None)
        if layout.levels_in_rows:
            first = (_level(place, levels) - 1) * manifest.samples
            rows = slice(first, first + manifest.samples)
        self._images = cast(NDArray[np.uint8], images)[rows]
        n = len(self._images)
        check_count(path, manifest, n)
        self.sample_ids = array_ids(n)
        found: NDArray[np.generic] = np.full(n, -1)
        if layout.labels is not None:
            path = located(place, layout.labels)
            self._paths.append(path)
            # Cut the same way as the images.
            found = open_npy_labels(path, shape[0])[rows]
        self.labels = checked_labels(path, manifest, found, place.classes)
        self._groups = found.astype(np.int64)
        if layout.labels is not None:
            check_groups(path, place, self._groups)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the slice of each image, row by row."""
        rows = [self._images[i].tobytes() for i in indices]
        release_pages(self._images)
        return rows

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return uint8 [n, H, W, 3]."""
        return np.frombuffer(b"".join(stored), dtype=np.uint8).reshape(-1, *self._images.shape[1:])

    def files(self) -> Sequence[Path]:
        """Return the file of the images and that of the labels."""
        return self._paths


def _level(place: Place, levels: int) -> int:
    level = place.condition.level
    if not 1 <= level <= levels:
        raise DataError(
            f"{place.condition.path} is not among the levels of its file",
            expected=f"1 to {levels}",
            found=str(level),
            fix="correct levels_in_rows or the conditions in the manifest",
        )
    return level


def check_size(path: Path, place: Place, found: tuple[int, int]) -> None:
    """Refuse images of another height and width than the manifest's.

    Raises:
        DataError: They have another.
    """
    wanted = place.manifest.image_size
    if wanted is not None and found != wanted:
        raise DataError(
            f"{path} holds images of the wrong size",
            expected="x".join(map(str, wanted)),
            found=f"{found[0]}x{found[1]}",
            fix="unpack the published archive again, or correct image_size in the manifest",
        )


def open_npy_labels(path: Path, n: int) -> NDArray[np.generic]:
    """Map a ``.npy`` file of ``n`` whole numbers into memory.

    Raises:
        DataError: It holds something else.
    """
    found = open_npy(path)
    if found.shape != (n,) or found.dtype.kind not in "iu":
        raise wrong_array(path, f"{n} whole numbers", found)
    return found


def open_npy(path: Path) -> NDArray[np.generic]:
    """Map a ``.npy`` file into memory; no other kind of file, and nothing that holds Python objects.

    Raises:
        DataError: It is no whole array.
        StorageError: It cannot be read.
    """
    try:
        with reads(path), path.open("rb") as handle:
            magic = handle.read(len(np.lib.format.MAGIC_PREFIX))
        if magic != np.lib.format.MAGIC_PREFIX:
            raise ValueError("it does not begin as one")
        with np.errstate(over="raise"):  # a header may state more than an address can hold
            return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, ArithmeticError, OSError, EOFError, MemoryError, TokenError) as error:
        raise DataError(
            f"{path} is not a whole .npy array",
            found=str(error),
            fix="unpack the published archive again",
        ) from error


def wrong_array(path: Path, expected: str, found: NDArray[np.generic]) -> DataError:
    """Return the error for an array of another type or shape."""
    return DataError(
        f"{path} holds the wrong array",
        expected=expected,
        found=f"{found.dtype} {list(found.shape)}",
        fix="unpack the published archive again, or correct the manifest",
    )
