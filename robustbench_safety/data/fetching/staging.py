"""Where downloads and unpackings lie until they are whole: hidden folders, held by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from robustbench_safety.errors import FileFormatError, StorageError
from robustbench_safety.files import read_json, write_json, writes
from robustbench_safety.records import Record

__all__ = ["Part", "Source", "working_folder"]

_LOCK = "lock"


@contextmanager
def working_folder(path: Path, ending: str) -> Iterator[Path]:
    """Hold the folder ``.<name of path>.<ending>`` beside ``path``; an earlier run's files are still there.

    The folder is removed when the block ends and leaves it empty. A killed process holds nothing any more.

    Args:
        path: What the work is for; it need not exist.
        ending: What the work is.

    Raises:
        StorageError: Another process holds the folder, or it cannot be made.
    """
    # A name may have 255 bytes, and a character of it up to four.
    folder = path.with_name(f".{path.name[:60]}.{ending}")
    with writes(path):
        lock = _locked(folder, path)
    try:
        yield folder
    finally:
        _release(folder, lock)


def _locked(folder: Path, path: Path) -> BinaryIO:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise StorageError(
                f"{path} is being made by another process",
                found=f"{folder} in use",
                fix="wait until that process ends, then run the same command again",
            ) from error
        except OSError:
            return lock  # a network share without locks: nothing better can be had there
        if _still_named(lock, folder / _LOCK):
            return lock
        lock.close()  # who held it has removed it between our two calls


def _still_named(lock: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _release(folder: Path, lock: BinaryIO) -> None:
    try:
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        return  # it holds what a later run goes on with
    finally:
        lock.close()


class Source(Record):
    """What the bytes of a part were taken from."""

    address: str
    validator: str | None
    """Strong ETag, else Last-Modified: it changes when the file does."""
    total: int | None
    """Bytes of the whole file, where the server says."""


class Part:
    """The first bytes of a file, on disk, and what they were taken from. An OSError is the caller's to tell.

    Args:
        folder: Folder of this part alone.
    """

    def __init__(self, folder: Path) -> None:
        self.content = folder / "content"
        self._about = folder / "source.json"

    @property
    def n_bytes(self) -> int:
        """Bytes that have come."""
        return self.content.stat().st_size if self.content.exists() else 0

    def source(self) -> Source | None:
        """Return what it was taken from; None where that is not known."""
        try:
            return read_json(self._about, Source) if self._about.exists() else None
        except FileFormatError:
            return None  # torn by a crash: the part is then worth nothing

    def restart(self, source: Source) -> None:
        """Begin again from no bytes. At no moment do old bytes stand beside a new source."""
        self.discard()
        write_json(self._about, source)

    def discard(self) -> None:
        """Remove what has come."""
        self.content.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def remove_others(self) -> None:
        """Remove what an earlier run, killed at the last step, left in the folder beside the part."""
        kept = {_LOCK, self.content.name, self._about.name}
        for entry in self.content.parent.iterdir():
            if entry.name not in kept:
                entry.unlink()
