"""Readers of what lies on disk, one for each layout: image folder, npy stack, official CIFAR pickles."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import cast

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import (
    ArrayReader,
    FileReader,
    Indices,
    Stored,
    array_ids,
    check_count,
    checked_labels,
    stamp_of,
)
from robustbench_safety.data.cifar_pickle import read_cifar_pickle
from robustbench_safety.data.pictures import IMAGE_ENDINGS, decode_image
from robustbench_safety.errors import DataError
from robustbench_safety.files import read_bytes, reads
from robustbench_safety.records import CifarPickleLayout, DatasetManifest, ImageFolderLayout, NpyLayout

__all__ = ["CifarPickleReader", "ImageFolderReader", "NpyReader"]

#: The largest picture of ImageNet has 15 MB.
_LARGEST_FILE = 64 * 2**20


class CifarPickleReader(ArrayReader):
    """The official pickled batches."""

    def __init__(
        self, manifest: DatasetManifest, layout: CifarPickleLayout, folder: Path, classes: Sequence[str]
    ) -> None:
        self._paths = [folder / name for name in layout.files]
        batches = [
            read_cifar_pickle(path, layout.label_field, md5=md5)
            for path, md5 in zip(self._paths, layout.files.values(), strict=True)
        ]
        self._rows = batches[0][0] if len(batches) == 1 else np.concatenate([rows for rows, _ in batches])
        check_count(folder, manifest, len(self._rows))
        self.sample_ids = array_ids(len(self._rows))
        self.labels = checked_labels(
            folder, manifest, np.concatenate([labels for _, labels in batches]), classes
        )

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the 3,072 values of each image, channel by channel."""
        return [memoryview(self._rows[i]) for i in indices]

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return uint8 [n, 32, 32, 3]."""
        pixels = self._rows[indices].reshape(-1, 3, 32, 32)
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))

    def stamp(self) -> str:
        """Return a digest of the files' names, sizes and times."""
        return stamp_of(self._paths)


class NpyReader(ArrayReader):
    """A memory-mapped stack of images; arrays of Python objects are refused."""

    def __init__(
        self, manifest: DatasetManifest, layout: NpyLayout, folder: Path, classes: Sequence[str]
    ) -> None:
        self.class_sorted = layout.class_sorted
        path = folder / layout.images
        self._paths = [path]
        images = _open_npy(path)
        shape = images.shape
        if len(shape) != 4 or shape[3] != 3 or images.dtype != np.uint8:
            raise _wrong_array(path, "uint8 [N, H, W, 3]", images)
        self._images = cast(NDArray[np.uint8], images)
        if manifest.image_size is not None and shape[1:3] != manifest.image_size:
            raise DataError(
                f"{path} holds images of the wrong size",
                expected="x".join(map(str, manifest.image_size)),
                found=f"{shape[1]}x{shape[2]}",
                fix="unpack the published archive again, or correct image_size in the manifest",
            )
        check_count(path, manifest, shape[0])
        self.sample_ids = array_ids(shape[0])
        found: NDArray[np.generic] = np.full(shape[0], -1)
        if layout.labels is not None:
            path = folder / layout.labels
            self._paths.append(path)
            found = _open_npy(path)
            if found.shape != shape[:1] or found.dtype.kind not in "iu":
                raise _wrong_array(path, f"{shape[0]} whole numbers", found)
        self.labels = checked_labels(path, manifest, found, classes)
        self._groups = found.astype(np.int64)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the slice of each image, row by row."""
        rows = [self._images[i].tobytes() for i in indices]
        _release_pages(self._images)
        return rows

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return uint8 [n, H, W, 3]."""
        return np.frombuffer(b"".join(stored), dtype=np.uint8).reshape(-1, *self._images.shape[1:])

    def stamp(self) -> str:
        """Return a digest of the files' names, sizes and times."""
        return stamp_of(self._paths)


def _release_pages(array: NDArray[np.uint8]) -> None:
    """Give the pages read so far back: mapped pages count as this process's memory, and would add up."""
    base: object = array.base
    if isinstance(base, mmap.mmap) and hasattr(base, "madvise"):  # not on every system
        base.madvise(mmap.MADV_DONTNEED)


class ImageFolderReader(FileReader):
    """``<class key>/<image>``: one folder a class, sorted by class index and then by file name."""

    class_sorted = True

    def __init__(
        self, manifest: DatasetManifest, layout: ImageFolderLayout, folder: Path, classes: Sequence[str]
    ) -> None:
        root = folder / layout.path
        _check_class_folders(root, manifest, classes)
        self._paths: list[Path] = []
        ids: list[str] = []
        found: list[int] = []
        for label, key in enumerate(classes):
            with reads(root / key):
                names = sorted(entry.name for entry in (root / key).iterdir())
            for name in names:
                if Path(name).suffix.lower() in IMAGE_ENDINGS:
                    self._paths.append(root / key / name)
                    ids.append(f"{key}/{Path(name).stem}")
                    found.append(label)
        if repeated := _first_repeated(ids):
            raise DataError(
                f"{root} holds two images {repeated} that differ in their ending alone",
                expected="one file for each sample id",
                fix="remove one of them",
            )
        check_count(root, manifest, len(ids))
        self.sample_ids = ids
        self._groups = np.array(found, dtype=np.int64)
        self.labels = checked_labels(root, manifest, self._groups, classes)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the encoded files."""
        return [read_bytes(self._paths[i], largest=_LARGEST_FILE) for i in indices]

    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        """Return uint8 [H, W, 3]; a damaged file is named."""
        return decode_image(stored, self._paths[index])

    def stamp(self) -> str:
        """Return a digest of the files' names, sizes and times."""
        return stamp_of(self._paths)


def _check_class_folders(root: Path, manifest: DatasetManifest, classes: Sequence[str]) -> None:
    with reads(root):
        found = {entry.name for entry in root.iterdir() if entry.is_dir()}
    wrong = []
    for what, names in (
        ("missing", [key for key in classes if key not in found]),
        ("unknown", sorted(found - set(classes))),
    ):
        if names:
            wrong.append(f"{len(names)} {what}, e.g. {names[0]!r}")
    if wrong:
        raise DataError(
            f"{root} does not hold the classes of {manifest.name}",
            expected=f"one folder for each of {len(classes)} classes",
            found=" and ".join(wrong),
            fix="unpack the archive again, or point --data at the folder above",
        )


def _first_repeated(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _open_npy(path: Path) -> NDArray[np.generic]:
    """Map a ``.npy`` file into memory; no other kind of file, and nothing that holds Python objects."""
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


def _wrong_array(path: Path, expected: str, found: NDArray[np.generic]) -> DataError:
    return DataError(
        f"{path} holds the wrong array",
        expected=expected,
        found=f"{found.dtype} {list(found.shape)}",
        fix="unpack the published archive again, or correct the manifest",
    )
