"""The IDX files of MNIST and its relatives, gzipped or not."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import ArrayReader, Indices, Place, Stored, array_ids, check_count
from robustbench_safety.data.readers.columns import check_groups
from robustbench_safety.data.readers.npy import check_size
from robustbench_safety.data.readers.places import below, located
from robustbench_safety.errors import DataError
from robustbench_safety.files import reads
from robustbench_safety.records import IdxLayout

__all__ = ["IdxReader", "idx_paths"]

#: The largest published file of the kind, EMNIST's 697,932 training images, has 547 MB.
_LARGEST = 640 * 2**20
_GZIP = b"\x1f\x8b"
_FIX = "fetch the published file again"


class IdxReader(ArrayReader):
    """A stack of grey images and their labels, in memory; grey is repeated to RGB."""

    def __init__(self, place: Place, layout: IdxLayout) -> None:
        self._paths = idx_paths(place, layout)
        images_path, labels_path = self._paths
        # Labels first: they are small, and tell the number of images that may be read.
        found = _read(labels_path, 1)
        n = len(found)
        check_count(labels_path, place.manifest, n)
        self._images = _read(images_path, 3, n)
        check_size(images_path, place, (self._images.shape[1], self._images.shape[2]))
        self.sample_ids = array_ids(n)
        self._groups = found.astype(np.int64)
        self.labels = check_groups(labels_path, place, self._groups)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the grey values of each image, row by row."""
        return [memoryview(self._images[i].reshape(-1)) for i in indices]

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return uint8 [n, H, W, 3]."""
        return np.repeat(self._images[indices][..., np.newaxis], 3, axis=-1)

    def files(self) -> Sequence[Path]:
        """Return the file of the images and that of the labels."""
        return self._paths


def idx_paths(place: Place, layout: IdxLayout) -> list[Path]:
    """Return the files of images and labels, each by its name or as its gzipped or unpacked twin.

    Raises:
        DataError: There is neither; what stands there instead is named.
    """
    return [_found(place, name) for name in (layout.images, layout.labels)]


def _found(place: Place, name: str) -> Path:
    twin = name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"
    for candidate in (name, twin):
        path = below(place, candidate)
        with reads(path):
            if path.is_file():
                return path
    return located(place, name)


def _read(path: Path, dimensions: int, n: int | None = None) -> NDArray[np.uint8]:
    """Return the array in one file, ``n`` long where that is known: uint8 of that many dimensions.

    Raises:
        StorageError: The file cannot be read.
        DataError: It is not such a file, or not a whole one.
    """
    try:
        with reads(path), path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP
            raw.seek(0)
            if not zipped:
                return _array(path, raw, dimensions, n)
            try:
                with gzip.GzipFile(fileobj=raw) as unzipped:
                    return _array(path, unzipped, dimensions, n)
            except gzip.BadGzipFile as error:  # an OSError, and not the system's
                raise EOFError(str(error)) from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file", found=str(error), fix=_FIX) from error


def _array(path: Path, handle: io.BufferedIOBase, dimensions: int, n: int | None) -> NDArray[np.uint8]:
    """Return the array; no more is unpacked than its head states."""
    head = handle.read(4 + 4 * dimensions)
    # Two zeros, 8 for unsigned bytes, the number of dimensions, the length of each.
    magic = bytes((0, 0, 8, dimensions))
    what = "labels" if dimensions == 1 else "images"
    if head[:4] != magic or len(head) < 4 + 4 * dimensions:
        raise DataError(
            f"{path} is no IDX file of {what}",
            expected=f"magic number 0x{magic.hex()}",
            found=f"0x{head[:4].hex()}" if len(head) >= 4 else f"{len(head)} bytes",
            fix=f"{_FIX}, and check that images and labels are not exchanged",
        )
    shape = [int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4)]
    # Python's own numbers: the product may be more than 64 bits hold.
    length = 1
    for size in shape:
        length *= size
    if (n is not None and shape[0] != n) or not 0 < length <= _LARGEST:
        raise DataError(
            f"{path} holds the wrong array",
            expected=f"{'some' if n is None else n} {what} of at most {_LARGEST:,} bytes",
            found=f"uint8 {shape}",
            fix=f"{_FIX}, and check that images and labels belong together",
        )
    content = handle.read(length)
    # Reading on is what makes gzip compare its checksum.
    more = handle.read(1)
    if len(content) != length or more:
        raise DataError(
            f"{path} is cut short or goes on after its end",
            expected=f"{length} bytes after the head, as it states",
            found="more" if more else f"{len(content)}",
            fix=_FIX,
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
