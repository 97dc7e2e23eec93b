"""Bytes of files, with the system's errors turned into ours."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustbench_safety.errors import FileFormatError, StorageError

#: Bytes; ImageNet's 21,843 classes have 220,000.
_LARGEST_LIST = 16 * 2**20

_IN_THE_WAY = "name another place: a file stands where a folder is needed, or a folder where a file is"
#: What helps against a refusal to write; against any other, a folder that may be written to.
_WRITE_FIXES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some space or name another folder"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.EISDIR), _IN_THE_WAY),
}

__all__ = ["file_digest", "read_bytes", "read_lines", "reads", "writes"]


@contextmanager
def reads(path: Path) -> Iterator[None]:
    """Run a block that reads ``path``.

    Raises:
        StorageError: The system refuses; names the path and the system's reason.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read",
            found=error.strerror or str(error),
            fix="check that it exists and may be read",
        ) from error


@contextmanager
def writes(path: Path) -> Iterator[None]:
    """Run a block that writes on behalf of ``path``.

    Raises:
        StorageError: The system refuses; names the path and the system's reason.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written",
            found=error.strerror or str(error),
            fix=_WRITE_FIXES.get(error.errno or 0, "name a folder that you may write to"),
        ) from error


def read_bytes(path: Path, *, largest: int | None = None) -> bytes:
    """Return the content of ``path``.

    Args:
        path: A file.
        largest: Bytes that it may have; None for any number.

    Raises:
        StorageError: The file cannot be read.
        FileFormatError: It is larger than ``largest`` bytes.
    """
    with reads(path), path.open("rb") as handle:
        # One byte more than is wanted tells that there is more, whatever the size that the system states.
        content = handle.read(-1 if largest is None else largest + 1)
    if largest is not None and len(content) > largest:
        raise FileFormatError(
            f"{path} is too large",
            expected=f"at most {largest} bytes",
            found="more",
            fix="check that it is the file you mean",
        )
    return content


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of the content of ``path``.

    Raises:
        StorageError: The file cannot be read.
    """
    with reads(path), path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty, without the space around them.

    Raises:
        StorageError: It cannot be read.
        FileFormatError: It is not text in UTF-8, or larger than a list can be.
    """
    try:
        text = read_bytes(path, largest=_LARGEST_LIST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{path} is not a text file", expected="text in UTF-8, one entry a line", found=str(error)
        ) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
