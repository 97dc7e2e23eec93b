"""Images that a text file names, one a line."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from robustbench_safety.data.readers.columns import check_columns, stand_class_by_class
from robustbench_safety.data.readers.image_folder import without_ending
from robustbench_safety.data.readers.places import located
from robustbench_safety.errors import DataError
from robustbench_safety.files import read_bytes, reads
from robustbench_safety.records import ImageListLayout

__all__ = ["ImageListReader"]

#: The largest picture of ImageNet has 15 MB.
_LARGEST_FILE = 64 * 2**20
#: A list of the 1.3 million training images of ImageNet has 77 MB.
_LARGEST_LIST = 256 * 2**20
#: Classes that an error shows.
_SHOWN = 5
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_FIX = "take the published list again, or correct the layout in the manifest"


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What a line says."""

    line: int
    image: str
    label: str
    """As it is written; empty where no column is read."""


class ImageListReader(FileReader):
    """The images of a list, in the list's order.

    A line that stands twice names one image, and whether there are enough is the manifest's to say: the
    list of ROBIN's test images repeats four. An image that two lines label differently is an error.
    """

    def __init__(self, place: Place, layout: ImageListLayout) -> None:
        self._list = located(place, layout.file)
        self._root = place.folder
        rows, repeated = _distinct(_rows(self._list, layout))
        check_count(_with_repeats(self._list, repeated), place.manifest, len(rows))
        self._names = [_path(self._list, layout, row) for row in rows]
        self.sample_ids = _sample_ids(self._list, layout, rows)
        _check_presence(self._list, self._root, self._names)
        labelled = bool(place.classes) and layout.label is not None
        self._groups = _classes(self._list, place, layout, rows) if labelled else _folders(rows)
        self.class_sorted = stand_class_by_class(self._groups)
        if labelled:
            check_class_counts(self._list, place.manifest, self._groups, place.classes)
        self.labels = checked_labels(self._list, place.manifest, self._groups, place.classes)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the encoded files."""
        return [read_bytes(self._root / self._names[i], largest=_LARGEST_FILE) for i in indices]

    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        """Return uint8 [H, W, 3]; a damaged file is named."""
        return decode_image(stored, self._root / self._names[index])

    def files(self) -> Sequence[Path]:
        """Return the list and the pictures."""
        return [self._list, *(self._root / name for name in self._names)]


def _wrong_line(path: Path, line: int, what: str, expected: str, found: str) -> DataError:
    return DataError(f"{path}, line {line}: {what}", expected=expected, found=found, fix=_FIX)


# -------------------------------------------------------------------------------------------------- lines


def _rows(path: Path, layout: ImageListLayout) -> Iterator[_Row]:
    content = read_bytes(path, largest=_LARGEST_LIST)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text", expected="UTF-8", found=str(error), fix=_FIX) from error
    if layout.format == "csv":
        return _csv_rows(path, layout, text)
    # Not splitlines: it knows many more ends of lines, and a name may hold one of them.
    lines = ((number, line.removesuffix("\r")) for number, line in enumerate(text.split("\n"), start=1))
    lines = ((number, line) for number, line in lines if line.strip())
    return _word_rows(path, layout, lines) if layout.format == "words" else _tsv_rows(path, layout, lines)


def _word_rows(path: Path, layout: ImageListLayout, lines: Iterator[tuple[int, str]]) -> Iterator[_Row]:
    for number, line in lines:
        image, *rest = line.rsplit(maxsplit=1)
        # A list of paths alone would lose what follows the last blank of a path.
        if not rest or (layout.labels != "key" and not _WHOLE_NUMBER.fullmatch(rest[0])):
            raise _wrong_line(path, number, "it ends in no label", "a path, a blank, a number", repr(line))
        yield _Row(line=number, image=image, label="" if layout.label is None else rest[0])


def _tsv_rows(path: Path, layout: ImageListLayout, lines: Iterator[tuple[int, str]]) -> Iterator[_Row]:
    image, label = (_column_number(path, column) for column in (layout.image, layout.label or "0"))
    n = 0
    for number, line in lines:
        fields = line.split("\t")
        n = n or len(fields)
        if len(fields) != n or max(image, label) >= n:
            expected = f"{n} columns" if len(fields) != n else f"a column {max(image, label)}, counted from 0"
            raise _wrong_line(path, number, "a wrong number of columns", expected, str(len(fields)))
        yield _Row(line=number, image=fields[image], label="" if layout.label is None else fields[label])


def _column_number(path: Path, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text):
        raise DataError(
            f"{path} has no head line, so it has no column {text!r}",
            expected="the column's number, counted from 0",
            fix="correct the layout in the manifest",
        )
    return int(text)


def _csv_rows(path: Path, layout: ImageListLayout, text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    head: list[str] = []
    try:
        for fields in reader:
            if len(fields) < 2 and not "".join(fields).strip():
                continue
            if not head:
                head = fields
                check_columns(path, head, [layout.image] + ([layout.label] if layout.label else []))
                image, label = head.index(layout.image), head.index(layout.label or layout.image)
                continue
            if len(fields) != len(head):
                what = "a wrong number of columns"
                raise _wrong_line(path, reader.line_num, what, str(len(head)), str(len(fields)))
            given = "" if layout.label is None else fields[label]
            yield _Row(line=reader.line_num, image=fields[image], label=given)
    except csv.Error as error:
        raise _wrong_line(path, reader.line_num, "it is no CSV", "fields with commas", str(error)) from error


def _distinct(rows: Iterator[_Row]) -> tuple[list[_Row], int]:
    """Return the rows without those that say again what one before has said, and how many those were."""
    seen: set[tuple[str, str]] = set()
    kept: list[_Row] = []
    repeated = 0
    for row in rows:
        key = (row.image, row.label)
        if key in seen:
            repeated += 1
            continue
        seen.add(key)
        kept.append(row)
    return kept, repeated


def _with_repeats(path: Path, repeated: int) -> str:
    return f"{path} (repeated lines left out: {repeated})" if repeated else str(path)


# ------------------------------------------------------------------------------------------ paths and ids


def _path(path: Path, layout: ImageListLayout, row: _Row) -> str:
    """Return where an image lies below the dataset's folder."""
    values = {"{image}": row.image, "{label}": row.label}
    # In one go: a name may hold braces.
    name = re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], layout.path)
    parts = name.split("/")
    # The second character tells a drive of Windows.
    if {"", ".", ".."} & set(parts) or name[1:2] == ":" or "\\" in name or any(sign < " " for sign in name):
        raise _wrong_line(
            path,
            row.line,
            "a path that may lead elsewhere",
            "one below the dataset's folder, with '/', without '.' and '..'",
            repr(name),
        )
    if not is_picture(parts[-1]):
        raise _wrong_line(path, row.line, "it names no picture", "a name with a picture's ending", repr(name))
    return name


def _sample_ids(path: Path, layout: ImageListLayout, rows: Sequence[_Row]) -> list[str]:
    """Return the sample ids; no two rows may have the same."""
    first: dict[str, _Row] = {}
    for row in rows:
        # Some lists leave the endings out, and then the layout's path has them.
        sample_id = without_ending(row.image) if is_picture(row.image.rpartition("/")[2]) else row.image
        if "{label}" in layout.path:
            sample_id = f"{row.label}/{sample_id}"
        before = first.setdefault(sample_id, row)
        if before is not row:
            raise _wrong_line(
                path,
                row.line,
                f"it names {sample_id} again, and says something else",
                f"{before.image} {before.label}, as in line {before.line}",
                f"{row.image} {row.label}",
            )
    return list(first)


def _check_presence(path: Path, root: Path, names: Sequence[str]) -> None:
    """Refuse a list that names images that are not there; each folder is listed once."""
    there: dict[str, set[str]] = {}
    missing = []
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in there:
            there[folder] = _files_in(root / folder)
        if file not in there[folder]:
            missing.append(name)
    if missing:
        raise DataError(
            f"{path} names images that are not there",
            expected=str(root / missing[0]),
            found=f"{len(missing)} of {len(names)} missing",
            fix="unpack the images where the manifest's layout says, or correct its path",
        )


def _files_in(folder: Path) -> set[str]:
    with reads(folder):
        try:
            with os.scandir(folder) as entries:
                return {entry.name for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return set()


# ------------------------------------------------------------------------------------------------- labels


def _folders(rows: Sequence[_Row]) -> NDArray[np.int64]:
    """Return the number of the folder that each image lies in."""
    numbers: dict[str, int] = {}
    folders = (row.image.rpartition("/")[0] for row in rows)
    return np.array([numbers.setdefault(folder, len(numbers)) for folder in folders], dtype=np.int64)


def _classes(path: Path, place: Place, layout: ImageListLayout, rows: Sequence[_Row]) -> NDArray[np.int64]:
    """Return the class of each image."""
    known = {key: index for index, key in enumerate(place.classes)}
    if layout.labels == "index":
        known = {str(index): index for index in range(len(place.classes))}
    for row in rows:
        if row.label not in known:
            raise _wrong_line(
                path,
                row.line,
                f"no class of {place.manifest.subset or place.manifest.label_space}",
                f"one of {', '.join(list(known)[:_SHOWN])} ...",
                repr(row.label),
            )
    return np.array([known[row.label] for row in rows], dtype=np.int64)
