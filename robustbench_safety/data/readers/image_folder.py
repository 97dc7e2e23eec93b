"""Pictures in folders that are called after their classes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import (
    FileReader,
    Indices,
    Place,
    Stored,
    check_class_counts,
    check_count,
    checked_labels,
)
from robustbench_safety.data.pictures import decode_image, is_picture
from robustbench_safety.data.readers.places import located
from robustbench_safety.errors import DataError
from robustbench_safety.files import read_bytes, reads
from robustbench_safety.records import ImageFolderLayout

__all__ = ["ImageFolderReader", "class_folders", "first_repeated", "listed", "walked", "without_ending"]

#: The largest picture of ImageNet has 15 MB.
_LARGEST_FILE = 64 * 2**20


class ImageFolderReader(FileReader):
    """``<class>/<image>``: one folder a class, in the order of the class index and then of the file name.

    With ``folders: any``, pictures at any depth, in the order of their paths.
    """

    class_sorted = True

    def __init__(self, place: Place, layout: ImageFolderLayout) -> None:
        self._root = located(place, layout.path, layout.groups)
        if layout.folders == "any":
            self._names, groups = walked(self._root)
            classes: Sequence[str] = ()
        else:
            classes = class_folders(self._root, place, layout)
            self._names, groups = listed(self._root, classes, is_picture)
        self.sample_ids = [without_ending(name) for name in self._names]
        if repeated := first_repeated(self.sample_ids):
            raise DataError(
                f"{self._root} holds two images {repeated} that differ in their ending alone",
                expected="one file for each sample id",
                fix="remove one of them",
            )
        self._groups = np.array(groups, dtype=np.int64)
        if classes:
            check_class_counts(self._root, place.manifest, self._groups, classes)
        check_count(self._root, place.manifest, len(self._names))
        self.labels = checked_labels(self._root, place.manifest, self._groups, classes)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the encoded files."""
        return [read_bytes(self._root / self._names[i], largest=_LARGEST_FILE) for i in indices]

    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        """Return uint8 [H, W, 3]; a damaged file is named."""
        return decode_image(stored, self._root / self._names[index])

    def files(self) -> Sequence[Path]:
        """Return the pictures."""
        return [self._root / name for name in self._names]


def without_ending(name: str) -> str:
    """Return the path of a picture without its ending: the sample id."""
    return name.rpartition(".")[0]


def class_folders(root: Path, place: Place, layout: ImageFolderLayout) -> list[str]:
    """Return the name of each class's folder, in class order.

    Raises:
        DataError: A class has no folder, or a folder no class.
    """
    n = len(place.classes)
    wanted = list(place.classes) if layout.folders == "key" else [str(number) for number in range(n)]
    with reads(root), os.scandir(root) as entries:
        # A file that is no folder, a README say, does no harm.
        found = {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")}
    wrong = []
    for what, names in (
        ("missing", [name for name in wanted if name not in found]),
        ("unknown", sorted(found - set(wanted)) if layout.others == "refuse" else []),
    ):
        if names:
            wrong.append(f"{len(names)} {what}, e.g. {names[0]!r}")
    if wrong:
        raise DataError(
            f"{root} does not hold the classes of {place.manifest.name}",
            expected=f"one folder for each of {n} classes",
            found=" and ".join(wrong),
            fix="check that it is this dataset's folder and whole, or point --data at the folder above",
        )
    return wanted


def listed(root: Path, folders: Sequence[str], wanted: Callable[[str], bool]) -> tuple[list[str], list[int]]:
    """Return the wanted files of each folder, by name, and the number of the folder that each lies in."""
    names: list[str] = []
    groups: list[int] = []
    for label, folder in enumerate(folders):
        with reads(root / folder), os.scandir(root / folder) as entries:
            found = sorted(entry.name for entry in entries if wanted(entry.name))
        names += [f"{folder}/{name}" for name in found]
        groups += [label] * len(found)
    return names, groups


def walked(root: Path) -> tuple[list[str], list[int]]:
    """Return every picture below ``root``, and the number of the first folder that each lies in."""
    names: list[str] = []
    groups: list[int] = []
    numbers: dict[str, int] = {}
    for name in sorted(_walk(root, "")):
        names.append(name)
        first = name.split("/", 1)[0] if "/" in name else ""
        groups.append(numbers.setdefault(first, len(numbers)))
    return names, groups


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    with reads(folder), os.scandir(folder) as entries:
        for entry in entries:
            # A link to a folder could lead round in circles.
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith("."):
                    yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
            elif is_picture(entry.name):
                yield prefix + entry.name


def first_repeated(names: Sequence[str]) -> str | None:
    """Return the first name that stands a second time."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
