"""Readers: one for each layout. A reader lists the images of one condition and gives their stored bytes and pixels.

A reader checks names, counts and labels when it is made, so that a wrong folder is an error before any forward
pass; it reads pixels only when asked.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.data.cifar_pickle import read_cifar_pickle
from robustbench_safety.errors import DataError
from robustbench_safety.files import digest_of, file_digest, read_bytes
from robustbench_safety.records import CifarPickleLayout, DatasetManifest, ImageFolderLayout, NpyLayout

__all__ = ["ArrayReader", "CifarPickleReader", "FileReader", "ImageFolderReader", "NpyReader", "Reader"]

Indices = NDArray[np.int64]
Stored = bytes | memoryview

_IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}
#: No published set has a larger picture; a file that claims one is damaged or hostile.
_LARGEST_PICTURE = 100_000_000


class Reader(ABC):
    """Images of one condition, in manifest order.

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

    @abstractmethod
    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the stored bytes of each image: the encoded file, or the slice of the array."""

    @abstractmethod
    def stamp(self) -> str:
        """Return a cheap digest (names, sizes, times) that changes when the files do."""

    def finish_digest(self, digest: str) -> str:
        """Return the data digest, given the digest over ids, label keys and stored bytes."""
        return digest


class ArrayReader(Reader):
    """Images of one size that are read by the block."""

    @abstractmethod
    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Return the pixels [n * frames, H, W, 3]: uint8, or float32 in [0, 1]."""


class FileReader(Reader):
    """Images of any size, one file each."""

    decoder = f"pillow {PIL.__version__}"

    @abstractmethod
    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        """Return the pixels [H, W, 3]."""


class CifarPickleReader(ArrayReader):
    """The official pickled batches."""

    def __init__(self, manifest: DatasetManifest, layout: CifarPickleLayout, folder: Path) -> None:
        self._paths = [folder / name for name in layout.files]
        batches = [read_cifar_pickle(path, layout.label_field) for path in self._paths]
        self._rows = batches[0][0] if len(batches) == 1 else np.concatenate([rows for rows, _ in batches])
        self.labels = np.concatenate([labels for _, labels in batches])
        self.sample_ids = array_ids(len(self._rows))
        _check_count(folder, manifest, len(self._rows))
        for path, md5 in zip(self._paths, layout.files.values(), strict=True):
            if md5 is not None and (found := file_digest(path, "md5")) != md5:
                raise DataError(
                    f"{path} is not the published file",
                    expected=f"md5 {md5}",
                    found=found,
                    fix="fetch and unpack the published archive again",
                )

    def stored(self, indices: Indices) -> Sequence[Stored]:
        return [memoryview(self._rows[i]) for i in indices]

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:
        pixels = self._rows[indices].reshape(-1, 3, 32, 32)
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))

    def stamp(self) -> str:
        return stamp_of(self._paths)


class NpyReader(ArrayReader):
    """A memory-mapped stack of images; arrays of Python objects are refused."""

    def __init__(self, manifest: DatasetManifest, layout: NpyLayout, folder: Path) -> None:
        self.class_sorted = layout.class_sorted
        self._paths = [folder / layout.images]
        self._images = _load_npy(folder / layout.images)
        shape, dtype = self._images.shape, self._images.dtype
        if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8:
            raise DataError(
                f"{folder / layout.images} holds the wrong array",
                expected="uint8 [N, H, W, 3]",
                found=f"{dtype} {list(shape)}",
            )
        if manifest.image_size is not None and shape[1:3] != manifest.image_size:
            raise DataError(
                f"{folder / layout.images} holds images of the wrong size",
                expected="x".join(map(str, manifest.image_size)),
                found=f"{shape[1]}x{shape[2]}",
            )
        _check_count(folder / layout.images, manifest, shape[0])
        self.sample_ids = array_ids(shape[0])
        if layout.labels is None:
            self.labels = np.full(shape[0], -1, dtype=np.int64)
            return
        self._paths.append(folder / layout.labels)
        labels = _load_npy(folder / layout.labels)
        if labels.shape != shape[:1] or labels.dtype.kind not in "iu":
            raise DataError(
                f"{folder / layout.labels} holds the wrong array",
                expected=f"{shape[0]} whole numbers",
                found=f"{labels.dtype} {list(labels.shape)}",
            )
        self.labels = labels.astype(np.int64)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        return [memoryview(np.ascontiguousarray(self._images[i])).cast("B") for i in indices]

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:
        return np.frombuffer(b"".join(stored), dtype=np.uint8).reshape(-1, *self._images.shape[1:])

    def stamp(self) -> str:
        return stamp_of(self._paths)


class ImageFolderReader(FileReader):
    """``<class key>/<image>``: one folder a class, sorted by class index and then by file name."""

    class_sorted = True

    def __init__(
        self, manifest: DatasetManifest, layout: ImageFolderLayout, folder: Path, classes: Sequence[str]
    ) -> None:
        root = folder / layout.path
        self._paths: list[Path] = []
        ids: list[str] = []
        labels: list[int] = []
        found = {entry.name for entry in root.iterdir() if entry.is_dir()}
        missing = [key for key in classes if key not in found]
        stray = sorted(found - set(classes))
        if missing or stray:
            wrong = [f"{len(names)} {what}, e.g. {names[0]!r}" for what, names in
                     (("missing", missing), ("unknown", stray)) if names]  # fmt: skip
            raise DataError(
                f"{root} does not hold the classes of {manifest.name}",
                expected=f"one folder for each of {len(classes)} classes",
                found=" and ".join(wrong),
                fix="unpack the archive again, or point --data at the folder above",
            )
        for label, key in enumerate(classes):
            names = sorted(
                entry.name for entry in (root / key).iterdir() if entry.suffix.lower() in _IMAGE_ENDINGS
            )
            for name in names:
                self._paths.append(root / key / name)
                ids.append(f"{key}/{Path(name).stem}")
                labels.append(label)
        _check_count(root, manifest, len(ids))
        if len(set(ids)) != len(ids):
            raise DataError(f"{root} holds two images that differ in their ending alone")
        self.sample_ids = ids
        self.labels = np.array(labels, dtype=np.int64)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        return [read_bytes(self._paths[i], largest=2**30) for i in indices]

    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        return decode_image(stored, self._paths[index])

    def stamp(self) -> str:
        return stamp_of(self._paths)


def decode_image(stored: Stored, path: Path) -> NDArray[np.uint8]:
    """Decode one picture with Pillow: uint8 [H, W, 3].

    Raises:
        DataError: It is damaged, of no known format, or too large; the file is named.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is common in ImageNet; damaged pixels raise
            with Image.open(io.BytesIO(stored)) as image:
                if image.width * image.height > _LARGEST_PICTURE:
                    raise DataError(
                        f"{path} is too large a picture",
                        expected=f"at most {_LARGEST_PICTURE} pixels",
                        found=f"{image.width}x{image.height}",
                    )
                return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} is not a picture that can be decoded",
            found=f"{len(stored)} bytes: {error}",
            fix="unpack it from the published archive again",
        ) from error


def array_ids(n: int) -> list[str]:
    """Return the sample ids of an array of ``n`` images: the zero-padded index."""
    width = max(5, len(str(n - 1)))
    return [f"{i:0{width}d}" for i in range(n)]


def stamp_of(paths: Iterable[Path]) -> str:
    """Return a digest over the name, size and time of change of each file."""
    entries: list[object] = []
    for path in paths:
        status = path.stat()
        entries.append([path.name, status.st_size, status.st_mtime_ns])
    return digest_of(entries)


def sample_digest(hasher: hashlib._Hash, sample_id: str, label_key: str, stored: Stored) -> None:
    """Add one sample to a data digest. Each part is preceded by its length, so that no two lists collide."""
    head = f"{len(sample_id)}:{sample_id}{len(label_key)}:{label_key}{len(stored)}:".encode()
    hasher.update(head)
    hasher.update(stored)


def _load_npy(path: Path) -> NDArray[np.generic]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing") from error
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is not a whole .npy array", found=str(error)) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path} is not a .npy array", found="an archive of several arrays (.npz)")
    return array


def _check_count(where: Path, manifest: DatasetManifest, found: int) -> None:
    if found != manifest.samples:
        raise DataError(
            f"{where} does not hold all of {manifest.name}",
            expected=f"{manifest.samples} images",
            found=str(found),
            fix="unpack the published archive again",
        )
