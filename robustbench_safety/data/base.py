"""What every reader has: the images of one condition listed, their stored bytes, their pixels.

A reader checks names, counts and labels when it is made, so that a wrong folder is an error before any
forward pass; it reads pixels only when asked.
"""

from __future__ import annotations

import hashlib
import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.pictures import DECODER
from robustbench_safety.errors import DataError
from robustbench_safety.files import digest_of, reads
from robustbench_safety.records import Condition, DatasetManifest

__all__ = [
    "ArrayReader",
    "FileReader",
    "Indices",
    "Place",
    "Reader",
    "Stored",
    "array_ids",
    "check_class_counts",
    "check_count",
    "checked_labels",
    "release_pages",
    "sample_digest",
    "stamp_of",
]

Indices = NDArray[np.int64]
Stored = bytes | memoryview


@dataclass(frozen=True, kw_only=True)
class Place:
    """The images of one condition: what a reader is opened on."""

    manifest: DatasetManifest
    folder: Path
    """The dataset's own."""
    condition: Condition
    classes: tuple[str, ...]
    """Class keys that labels index; empty for a set without labels."""


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

    def files(self) -> Sequence[Path]:
        """Return the files that are read, in order; none for images that the package makes."""
        return ()

    def stamp(self) -> str:
        """Return a cheap digest (names, sizes, times) that changes when the files do."""
        return stamp_of(self.files())

    def finish_digest(self, digest: str) -> str:
        """Return the data digest, given the digest over ids, label keys and stored bytes."""
        return digest


class ArrayReader(_Listing):
    """Images of one size that are read by the block."""

    @abstractmethod
    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Return the pixels [n * frames, H, W, 3]: uint8, or float32 in [0, 1]."""


class FileReader(_Listing):
    """Images of any size, encoded one by one; or clips."""

    decoder = DECODER

    @abstractmethod
    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        """Return the pixels [H, W, 3], of a clip [F, H, W, 3].

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
    if found not in (manifest.samples, *manifest.samples_also):
        raise DataError(
            f"{where} does not hold the images of {manifest.name}",
            expected=" or ".join(map(str, (manifest.samples, *manifest.samples_also))) + " images",
            found=str(found),
            fix="unpack the published archive again",
        )


def check_class_counts(
    where: Path | str, manifest: DatasetManifest, groups: NDArray[np.int64], classes: Sequence[str]
) -> None:
    """Refuse another number of images in a class than the manifest's, where it states one.

    Raises:
        DataError: A class has more or fewer; the first is named.
    """
    wanted = manifest.samples_per_class
    if wanted is None:
        return
    counts = np.bincount(groups, minlength=len(classes))
    wrong = np.flatnonzero(counts != wanted)
    if len(wrong):
        first = int(wrong[0])
        others = f", and {len(wrong) - 1} other classes are wrong" if len(wrong) > 1 else ""
        raise DataError(
            f"{where}: class {classes[first]}",
            expected=f"{wanted} images",
            found=f"{counts[first]}{others}",
            fix="unpack the published archive again",
        )


def release_pages(array: NDArray[np.generic]) -> None:
    """Give the pages read so far back: mapped pages count as this process's memory, and would add up."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):  # not on every system
        base.madvise(mmap.MADV_DONTNEED)


def checked_labels(
    where: Path | str, manifest: DatasetManifest, found: NDArray[np.generic], classes: Sequence[str]
) -> NDArray[np.int64]:
    """Return the labels int64 [N], -1 for every image of a set whose images belong to no class.

    Args:
        where: What is read; for the error.
        manifest: Of the dataset.
        found: Whole numbers [N].
        classes: What they index.

    Raises:
        DataError: A label lies outside the ``classes``.
    """
    if manifest.role in ("ood", "material"):
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
