"""What every reader has: the images of one condition listed, their stored bytes, their pixels.

A reader checks names, counts and labels when it is made, so that a wrong folder is an error before any
forward pass; it reads pixels only when asked.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.pictures import DECODER
from robustbench_safety.errors import DataError
from robustbench_safety.files import digest_of, reads
from robustbench_safety.records import DatasetManifest

__all__ = [
    "ArrayReader",
    "FileReader",
    "Indices",
    "Reader",
    "Stored",
    "array_ids",
    "check_count",
    "checked_labels",
    "sample_digest",
    "stamp_of",
]

Indices = NDArray[np.int64]
Stored = bytes | memoryview


class _Listing(ABC):
    """Images of one condition, in manifest order; what every reader has.

    Attributes:
        sample_ids: Path below the condition's folder without ending, or the zero-padded array index.
        labels: Index in the dataset's label space, -1 for out-of-distribution images: int64 [N].
        class_sorted: Whether the images stand class by class.
        frames: Frames shown for each sample; 1 but in sequences.
        decoder: What turns stored bytes into pixels.
    """

    sample_ids: Sequence[str]
    labels: NDArray[np.int64]
    class_sorted = False
    frames = 1
    decoder = "none"
    _groups: NDArray[np.int64] | None = None

    @property
    def groups(self) -> NDArray[np.int64]:
        """Class that each image is filed under, out-of-distribution images too: what a limit goes round."""
        return self.labels if self._groups is None else self._groups

    @abstractmethod
    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the stored bytes of each image: the encoded file, or the slice of the array."""

    @abstractmethod
    def stamp(self) -> str:
        """Return a cheap digest (names, sizes, times) that changes when the files do."""

    def finish_digest(self, digest: str) -> str:
        """Return the data digest, given the digest over ids, label keys and stored bytes."""
        return digest


class ArrayReader(_Listing):
    """Images of one size that are read by the block."""

    @abstractmethod
    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Return the pixels [n * frames, H, W, 3]: uint8, or float32 in [0, 1]."""


class FileReader(_Listing):
    """Images of any size, one file each."""

    decoder = DECODER

    @abstractmethod
    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        """Return the pixels [H, W, 3].

        Raises:
            DataError: The file is damaged; it is named.
        """


Reader = ArrayReader | FileReader


def array_ids(n: int) -> list[str]:
    """Return the sample ids of an array of ``n`` images: the zero-padded index."""
    width = max(5, len(str(n - 1)))
    return [f"{i:0{width}d}" for i in range(n)]


def stamp_of(paths: Iterable[Path]) -> str:
    """Return a digest over the name, size and time of change of each file."""
    entries: list[object] = []
    for path in paths:
        with reads(path):
            status = path.stat()
        entries.append([path.name, status.st_size, status.st_mtime_ns])
    return digest_of(entries)


def sample_digest(hasher: hashlib._Hash, sample_id: str, label_key: str, stored: Stored) -> None:
    """Add one sample to a data digest. Each part is preceded by its length, so that no two lists collide."""
    head = f"{len(sample_id)}:{sample_id}{len(label_key)}:{label_key}{len(stored)}:".encode()
    hasher.update(head)
    hasher.update(stored)


def check_count(where: Path | str, manifest: DatasetManifest, found: int) -> None:
    """Refuse another number of images than the manifest's.

    Raises:
        DataError: ``where`` holds more or fewer.
    """
    if found != manifest.samples:
        raise DataError(
            f"{where} does not hold the images of {manifest.name}",
            expected=f"{manifest.samples} images",
            found=str(found),
            fix="unpack the published archive again",
        )


def checked_labels(
    where: Path | str, manifest: DatasetManifest, found: NDArray[np.generic], classes: Sequence[str]
) -> NDArray[np.int64]:
    """Return the labels int64 [N], -1 for every image of an out-of-distribution set.

    Raises:
        DataError: A label lies outside the ``classes``.
    """
    if manifest.role == "ood":
        return np.full(len(found), -1, dtype=np.int64)
    lowest, highest = found.min().item(), found.max().item()
    if lowest < 0 or highest >= len(classes):
        raise DataError(
            f"{where}: a label lies outside label space {manifest.subset or manifest.label_space}",
            expected=f"0 to {len(classes) - 1}",
            found=f"{lowest} to {highest}",
            fix="check that the labels belong to these images, and the manifest's label_space",
        )
    return found.astype(np.int64)
