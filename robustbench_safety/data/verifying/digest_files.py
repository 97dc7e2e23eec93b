"""Files of digests as ``sha256sum`` writes them: made of a dataset, and compared with one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from robustbench_safety.data.store import Dataset
from robustbench_safety.data.verifying.findings import Finding, finding_of
from robustbench_safety.data.verifying.ordered_pool import OrderedPool, ordered_pool
from robustbench_safety.errors import DataError, FileFormatError, StorageError, UsageError
from robustbench_safety.files import atomic_path, file_digest, reads
from robustbench_safety.records import BuiltinLayout, GeneratedLayout, HuggingFaceLayout, RelabelledLayout

__all__ = ["DigestCheck", "files_of", "read_digests", "write_digests"]

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
#: ``sha256sum`` writes names with these in another way, with a backslash before the digest.
_ESCAPED = re.compile(r"[\\\n\r]")
#: A path has at most 4,096 bytes.
_LONGEST_LINE = 8192
#: Files hashed by a thread at a time.
_TOGETHER = 64


def read_digests(path: Path) -> dict[str, str]:
    """Return the digests in a file of the lines ``<64 hex digits>  <path>``, by path.

    Raises:
        StorageError: The file cannot be read.
        FileFormatError: A line has another form, a path leads out of the folder or stands twice.
    """
    out: dict[str, str] = {}
    with reads(path), path.open("rb") as handle:
        number = 0
        while line := handle.readline(_LONGEST_LINE):
            number += 1
            digest, name = _parsed(path, number, os.fsdecode(line.removesuffix(b"\n")))
            if name in out:
                raise _wrong_line(path, number, "each file once", f"{name} a second time")
            out[name] = digest
    if not out:
        raise FileFormatError(
            f"{path} holds no digest", expected="lines of digest and path", fix="name another file"
        )
    return out


def _parsed(path: Path, number: int, line: str) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if found is None:
        expected = "64 hex digits, two blanks and a path, as sha256sum writes them"
        raise _wrong_line(path, number, expected, f"{line[:100]!r}")
    name = PurePosixPath(found[2])
    if name.is_absolute() or ".." in name.parts or _ESCAPED.search(found[2]):
        raise _wrong_line(path, number, "a path below the dataset's folder", f"{found[2]!r}")
    return found[1].lower(), str(name)


def _wrong_line(path: Path, number: int, expected: str, found: str) -> FileFormatError:
    return FileFormatError(
        f"{path}, line {number} is wrong",
        expected=expected,
        found=found,
        fix="write the file anew in the dataset's folder",
    )


class DigestCheck:
    """Compares the files of a dataset with a file of digests.

    Args:
        path: The file of digests.
        folder: The dataset's own, which the paths in it are below.

    Raises:
        StorageError: The file of digests cannot be read.
        FileFormatError: It is none.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder = path, folder
        self._expected = read_digests(path)
        self._left = dict.fromkeys(sorted(self._expected))
        self._added: set[str] = set()
        self._changed: dict[str, str] = {}
        self.hashed = 0

    def present(self, files: Iterable[Path]) -> None:
        """Take note of files that the dataset is read from: each should be listed."""
        for file in files:
            relative = _relative(file, self._folder)
            if relative not in self._expected:
                self._added.add(relative)

    def took(self, file: Path, digest: str) -> None:
        """Take in the digest of a file, so that it is not read a second time."""
        relative = _relative(file, self._folder)
        if relative in self._left:
            del self._left[relative]
            self._compare(relative, digest)

    def finish(self, pool: OrderedPool) -> Iterator[tuple[str, Finding]]:
        """Hash what is left; yield every finding, with the kind of difference as its scope."""
        missing, unreadable = [], []
        for relative, result in _hashed(pool, self._folder, list(self._left)):
            if isinstance(result, str):
                self._compare(relative, result)
            elif (self._folder / relative).exists():
                unreadable.append(finding_of("unreadable", result))
            else:
                missing.append(relative)
        for relative in missing:
            yield (
                "missing files",
                self._finding(relative, "is missing", f"as {self._path} lists it", "no file"),
            )
        yield from (("unreadable files", finding) for finding in unreadable)
        for relative in sorted(self._added):
            expected = f"files that {self._path} lists"
            yield "additional files", self._finding(relative, "is additional", expected, "no digest of it")
        for relative, digest in sorted(self._changed.items()):
            expected = f"sha256 {self._expected[relative]}"
            yield "changed files", self._finding(relative, "was changed", expected, f"sha256 {digest}")

    def _compare(self, relative: str, digest: str) -> None:
        self.hashed += 1
        if digest != self._expected[relative]:
            self._changed[relative] = digest

    def _finding(self, relative: str, what: str, expected: str, found: str) -> Finding:
        return Finding(
            kind="digest",
            where=f"{self._folder / relative} {what}",
            expected=expected,
            found=found,
            fix="restore the file, or write the file of digests anew if this was meant",
        )


def files_of(dataset: Dataset) -> list[Path]:
    """Return every file that a dataset is read from, those of labels too, sorted by path.

    Raises:
        UsageError: Nothing of it lies in a folder.
        DataError: A condition is not whole.
    """
    layout = dataset.manifest.layout
    if isinstance(layout, BuiltinLayout | GeneratedLayout) or (
        isinstance(layout, HuggingFaceLayout) and layout.repository is not None
    ):
        raise UsageError(
            f"{dataset.name} has no folder of its own",
            expected="a dataset whose files lie on disk",
            found=f"layout {layout.type}",
            fix="name another dataset",
        )
    files: set[Path] = set()
    for condition in dataset.manifest.all_conditions():
        labels_alone = isinstance(layout, RelabelledLayout)
        files.update(
            dataset.check_presence(condition) if labels_alone else dataset.open(condition, seed=0).files()
        )
    return sorted(files, key=lambda file: _relative(file, dataset.folder))


def write_digests(
    dataset: Dataset,
    path: Path,
    *,
    workers: int | None = None,
    advance: Callable[[int, int], None] = lambda _done, _total: None,
) -> int:
    """Write the sha256 of every file that a dataset is read from, so that ``sha256sum -c`` takes it.

    Args:
        dataset: Whole and readable; its images are not decoded.
        path: The file to write, whole or not at all. The paths in it are below the dataset's folder.
        workers: Threads that hash; None for one a core, at most 8.
        advance: Told the files that were hashed, and how many there are.

    Returns:
        How many files there are.

    Raises:
        UsageError: Nothing of the dataset lies in a folder.
        DataError: A condition is not whole, or a file has a name that such a file cannot hold.
        StorageError: A file cannot be read or written.
    """
    names = [_relative(file, dataset.folder) for file in files_of(dataset)]
    for name in names:
        if _ESCAPED.search(name):
            raise DataError(
                f"{dataset.folder}: the name {name!r} cannot be written down",
                expected="names without backslash and line feed",
                fix="rename the file as it was published",
            )
    with atomic_path(path) as temporary, temporary.open("wb") as handle, ordered_pool(workers) as pool:
        for done, (name, result) in enumerate(_hashed(pool, dataset.folder, names), 1):
            if not isinstance(result, str):
                raise result
            handle.write(os.fsencode(f"{result}  {name}\n"))
            advance(done, len(names))
    return len(names)


def _hashed(pool: OrderedPool, folder: Path, names: list[str]) -> Iterator[tuple[str, str | StorageError]]:
    """Yield the digest of each file, in order, or why it cannot be read."""

    def digest(name: str) -> str | StorageError:
        try:
            return file_digest(folder / name)
        except StorageError as error:
            return error

    blocks = (names[start : start + _TOGETHER] for start in range(0, len(names), _TOGETHER))
    for block in pool.map(lambda some: [(name, digest(name)) for name in some], blocks):
        yield from block


def _relative(file: Path, folder: Path) -> str:
    """Return the path below the dataset's folder, with '/'."""
    text, head = str(file), "" if str(folder) == "." else f"{folder}{os.sep}"
    if not text.startswith(head):
        raise DataError(
            f"{file} does not lie below {folder}",
            expected="files in the dataset's own folder",
            fix="put it there",
        )
    return text.removeprefix(head).replace(os.sep, "/")
