"""The files of an archive on their way to a folder: which names are taken, and how much there may be."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import BinaryIO, NoReturn

from robustbench_safety.errors import DataError

__all__ = ["Members", "check_free"]

_CHUNK = 2**20
#: Bytes of one name, as every file system has it; bytes and depth of a path, with room for the folder's own.
_LONGEST_NAME = 255
_LONGEST_PATH = 1024
_DEEPEST = 32
_DRIVE = re.compile(r"[A-Za-z]:")
#: Control characters, those that turn the direction of writing, and bytes that are no text.
_UNSEEN = frozenset({"Cc", "Cf", "Cs"})
_SHOWN = 120


def check_free(path: Path, archive: Path) -> None:
    """Refuse to overwrite ``path``.

    Raises:
        DataError: Something is there.
    """
    if os.path.lexists(path):
        raise DataError(
            f"{path} is there already",
            expected=f"nothing where {archive} is unpacked to",
            fix="remove it or move it away, then run the same command again",
        )


class Members:
    """Writes members below ``tree``, and refuses what is hostile or too much.

    Args:
        archive: Where they come from; for errors.
        tree: An empty folder.
        folder: Where the names at the top will be moved to.
        most_bytes: Bytes that the files may have in all.
        most_files: Files that there may be, and folders.
    """

    def __init__(self, archive: Path, tree: Path, folder: Path, *, most_bytes: int, most_files: int) -> None:
        self.n_files = 0
        self._archive, self._tree, self._folder = archive, tree, folder
        self._most_bytes, self._most_files = most_bytes, most_files
        self._bytes_left = most_bytes
        self._n_left_out = 0
        self._files: set[str] = set()
        self._folders: dict[str, str] = {}
        """By the name that a file system without upper case sees: the name as it is written."""

    def add_folder(self, name: str) -> None:
        """Make a folder, and those above it, unless it is one of macOS's own.

        Raises:
            DataError: Its name is not allowed, or there are too many.
        """
        parts = self._parts(name)
        if parts and not _of_macos(parts):
            self._make(parts, name)

    def add_file(self, name: str, source: BinaryIO, *, n_bytes: int) -> None:
        """Write a file of at most the bytes that are left, unless it is one of macOS's own.

        Args:
            name: As the archive has it.
            source: Its content.
            n_bytes: Bytes that the archive says it has.

        Raises:
            DataError: Its name is not allowed, or there is too much.
        """
        parts = self._parts(name)
        if not parts:
            self.refuse(name, "a file name", "none")
        if n_bytes > self._bytes_left:
            self.refuse(name, f"at most {self._most_bytes} bytes in all", f"{n_bytes} in this member")
        if _of_macos(parts):
            self._n_left_out += 1
            self._count(name, self.n_files + self._n_left_out, "files")
            self._copy(name, source, None, n_bytes)
            return
        self.n_files += 1
        self._count(name, self.n_files + self._n_left_out, "files")
        self._make(parts[:-1], name)
        path = "/".join(parts)
        seen = _seen(path)
        if seen in self._files or seen in self._folders:
            self.refuse(name, "every name once, upper and lower case alike", "a second one")
        if len(parts) == 1:
            check_free(self._folder / path, self._archive)
        self._files.add(seen)
        descriptor = os.open(self._tree / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "wb") as handle:
            self._copy(name, source, handle, n_bytes)

    def refuse(self, name: str, expected: str, found: str) -> NoReturn:
        """Raise the error that names the member.

        Raises:
            DataError: Always.
        """
        shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
        raise DataError(
            f"{self._archive}: member {shown!r} is refused",
            expected=expected,
            found=found,
            fix="fetch the published archive again; unpack it by hand if you know that it is right",
        )

    def _parts(self, name: str) -> tuple[str, ...]:
        """Return the parts of an allowed name; none for the folder itself."""
        if not (name.isascii() and name.isprintable()):
            unseen = next((char for char in name if unicodedata.category(char) in _UNSEEN), None)
            if unseen is not None:
                self.refuse(name, "a name that can be read", f"character U+{ord(unseen):04X}")
        if "\\" in name:
            self.refuse(name, "names parted by '/'", "a backslash")
        if name.startswith("/") or _DRIVE.match(name):
            self.refuse(name, "a relative path", "an absolute one")
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if ".." in parts:
            self.refuse(name, "a path below the folder", "'..'")
        longest, whole = max((len(part.encode()) for part in parts), default=0), len("/".join(parts).encode())
        if longest > _LONGEST_NAME or whole > _LONGEST_PATH or len(parts) > _DEEPEST:
            expected = (
                f"{_LONGEST_NAME} bytes a name, {_LONGEST_PATH} a path, {_DEEPEST} folders deep at most"
            )
            self.refuse(name, expected, f"{longest}, {whole}, {len(parts)}")
        return parts

    def _make(self, parts: tuple[str, ...], name: str) -> None:
        """Make the folder of these parts, and those above it, where they are not there yet."""
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            seen = _seen(path)
            if seen in self._files:
                self.refuse(name, "every name once, upper and lower case alike", f"file and folder {path!r}")
            known = self._folders.get(seen)
            if known is None:
                self._count(name, len(self._folders) + 1, "folders")
                if depth == 1:
                    check_free(self._folder / path, self._archive)
                (self._tree / path).mkdir(mode=0o755)
                self._folders[seen] = path
            elif known != path:
                self.refuse(name, "every name once, upper and lower case alike", f"{known!r} and {path!r}")

    def _count(self, name: str, n: int, what: str) -> None:
        if n > self._most_files:
            self.refuse(name, f"at most {self._most_files} {what}", "more")

    def _copy(self, name: str, source: BinaryIO, target: BinaryIO | None, n_bytes: int) -> None:
        """Copy a member's bytes, or pass over them; what its header says of their number is not relied on."""
        n = 0
        while chunk := source.read(_CHUNK):
            n += len(chunk)
            self._bytes_left -= len(chunk)
            if self._bytes_left < 0:
                self.refuse(name, f"at most {self._most_bytes} bytes in all", "more")
            if target is not None:
                target.write(chunk)
        if n != n_bytes:
            self.refuse(name, f"{n_bytes} bytes, as its header says", f"{n}")


def _of_macos(parts: tuple[str, ...]) -> bool:
    return parts[0] == "__MACOSX" or parts[-1].startswith("._")


def _seen(path: str) -> str:
    """Return the name for a file system that knows neither upper case nor two ways to write an accent."""
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
