"""Published archives to folders: nothing of a damaged, hostile or half-unpacked archive is left behind.

The members are written by this package and never by the library that reads the archive, so that no setting of
a library (``filter="data"`` of tarfile, say) is what keeps a file inside its folder. Links of every kind are
refused: no published archive needs one, and what a link points to is only known when it is followed.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self, cast

from robustbench_safety.data.fetching.members import Members, check_free
from robustbench_safety.data.fetching.staging import working_folder
from robustbench_safety.errors import DataError, StorageError
from robustbench_safety.files import reads

__all__ = ["unpack"]

_BLOCK = 512
#: Bytes between the contents of two members, and after the last: headers, long names, padding. tarfile takes
#: a long name into memory, whatever length it claims.
_BETWEEN = 2 * 2**20
#: Read ahead by tarfile.
_AHEAD = 2**18
_COMPRESSED: tuple[tuple[bytes, Callable[[Path], object]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
_ZIPPED = (b"PK\x03\x04", b"PK\x05\x06")
#: Stored, deflated, bzip2 and lzma; the standard library reads no others, such as Deflate64.
_ZIP_METHODS = frozenset({0, 8, 12, 14})
#: Encrypted; encrypted with names and sizes hidden too.
_ENCRYPTED = 0x01 | 0x40
_NO_FILES = frozenset({stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK})


def unpack(archive: Path, folder: Path, *, most_bytes: int, most_files: int) -> int:
    """Unpack ``archive`` into ``folder``: a tar, plain or compressed by gzip, bzip2 or xz, or a zip.

    What it is its first bytes tell, not its name. All is unpacked into the hidden folder ``.<name of
    archive>.unpacking`` on the disk of ``folder``, and moved only when it is whole and right. A kill during
    the moves themselves may leave some of the top-level names in place, each whole; the next run names them.

    Files are written with mode 0644 and folders with 0755, less the umask; times and owners are not kept.
    What macOS adds (``__MACOSX``, ``._*``) is left out.

    Args:
        archive: The file; it stays.
        folder: Where its top-level names go; made where missing. None of them may be there already.
        most_bytes: Bytes that the files may have in all, counted as they come.
        most_files: Files that there may be, and folders.

    Returns:
        The number of files unpacked.

    Raises:
        DataError: It is no archive, damaged, encrypted or hostile, or holds too much (the member is named),
            or a name is in ``folder`` already. ``folder`` is as it was.
        StorageError: The archive cannot be read, the disk is full, the folder cannot be written, or another
            process unpacks this archive there. ``folder`` is as it was.
    """
    archive, folder = archive.absolute(), folder.resolve()
    unpack_members = _kind(archive)
    # Nothing is moved from disk to disk: a link was followed, and a mounted folder is worked in.
    beside = folder if folder.is_mount() else folder.parent
    with working_folder(beside / archive.name, "unpacking") as work, _told(archive, folder):
        tree = work / "tree"
        _remove(tree)  # a killed run's
        try:
            tree.mkdir(mode=0o700)
            members = Members(archive, tree, folder, most_bytes=most_bytes, most_files=most_files)
            unpack_members(archive, members)
            if not members.n_files:
                raise DataError(f"{archive} holds no file", fix="remove it and fetch it again")
            _move(archive, tree, folder)
        finally:
            _remove(tree)
    return members.n_files


def _kind(archive: Path) -> Callable[[Path, Members], None]:
    """Return what unpacks an archive that begins as this one does."""
    with reads(archive), archive.open("rb") as handle:
        head = handle.read(_BLOCK)
    if head.startswith(_ZIPPED):
        return _unpack_zip
    try:
        with _decompressed(archive, head) as stream:
            tarfile.TarInfo.frombuf(stream.read(_BLOCK), tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError as error:
        raise DataError(
            f"{archive} is no archive that can be unpacked",
            expected="a tar, plain or compressed by gzip, bzip2 or xz, or a zip",
            found=f"a file that begins {head[:16]!r}",
            fix="check that it is the published file",
        ) from error
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(archive, error) from error
    return _unpack_tar


def _decompressed(archive: Path, head: bytes) -> BinaryIO:
    for begin, opened in _COMPRESSED:
        if head.startswith(begin):
            return cast(BinaryIO, opened(archive))
    return archive.open("rb")


class _EndError(Exception):
    """The block of zeros that ends every tar."""


class _Header(tarfile.TarInfo):
    """A header, or an error: tarfile itself takes a damaged header after the first for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) == _BLOCK and not any(buf):
            raise _EndError
        return super().frombuf(buf, encoding, errors)


class _Metered:
    """A stream that no more can be read of than is due."""

    def __init__(self, archive: Path, stream: BinaryIO) -> None:
        self._archive = archive
        self._stream = stream
        self.expect(0)

    def expect(self, n_bytes: int) -> None:
        """Let a member of ``n_bytes`` be read, and what stands between it and the next."""
        self._left = n_bytes + _BETWEEN + _AHEAD

    def read(self, n: int) -> bytes:
        chunk = self._stream.read(n)
        self._left -= len(chunk)
        if self._left < 0:
            raise DataError(
                f"{self._archive} holds more than its members",
                expected=f"at most {_BETWEEN} bytes between two of them and after the last",
                found="more",
                fix="check that it is the published file",
            )
        return chunk


def _unpack_tar(archive: Path, members: Members) -> None:
    with archive.open("rb") as handle:
        head = handle.read(_BLOCK)
    with _decompressed(archive, head) as stream:
        metered = _Metered(archive, stream)
        try:
            with tarfile.open(
                fileobj=cast(BinaryIO, metered), mode="r|", bufsize=_AHEAD, tarinfo=_Header
            ) as opened:
                while (member := opened.next()) is not None:
                    metered.expect(member.size)
                    _take(opened, member, members)
                    # The list of all members so far, for those who ask; a million take a gigabyte.
                    opened.members.clear()  # type: ignore[attr-defined]
                raise tarfile.ReadError("a damaged header, or none where the next member should be")
        except _EndError:
            metered.expect(0)
            while metered.read(_AHEAD):
                pass  # the checksum of the compressed stream stands at its end


def _take(opened: tarfile.TarFile, member: tarfile.TarInfo, members: Members) -> None:
    if member.isdir():
        members.add_folder(member.name)
        return
    source = None if member.issparse() or not member.isreg() else opened.extractfile(member)
    if source is None:
        found = "a link" if member.issym() or member.islnk() else f"a member of type {member.type!r}"
        members.refuse(member.name, "files and folders alone", "a sparse file" if member.isreg() else found)
    with source:
        members.add_file(member.name, cast(BinaryIO, source), n_bytes=member.size)


def _unpack_zip(archive: Path, members: Members) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            # The library's own name ends where a NUL stands.
            name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
            if member.flag_bits & _ENCRYPTED:
                members.refuse(name, "a member without a password", "an encrypted one: unpack it by hand")
            if member.compress_type not in _ZIP_METHODS:
                members.refuse(
                    name, "a known compression", f"method {member.compress_type}: unpack it by hand"
                )
            if kind in _NO_FILES:
                members.refuse(name, "files and folders alone", f"a link or device of mode {kind:o}")
            if name.endswith("/"):
                members.add_folder(name)
            else:
                with opened.open(member) as source:
                    members.add_file(name, cast(BinaryIO, source), n_bytes=member.file_size)


def _move(archive: Path, tree: Path, folder: Path) -> None:
    """Move what lies in ``tree`` into ``folder``: all of it, or nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(entry.name for entry in tree.iterdir())
    for name in names:
        check_free(folder / name, archive)
    moved: list[str] = []
    try:
        for name in names:
            (tree / name).rename(folder / name)
            moved.append(name)
    except BaseException:
        for name in moved:
            (folder / name).rename(tree / name)
        raise


def _remove(tree: Path) -> None:
    if tree.exists():
        shutil.rmtree(tree)


@contextmanager
def _told(archive: Path, folder: Path) -> Iterator[None]:
    """Turn what the libraries raise into our errors."""
    try:
        yield
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        ValueError,
        NotImplementedError,
        RecursionError,  # tarfile calls itself for every header that describes the next
    ) as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        # The decompressors raise it without a number; a place where no byte can be is told by EINVAL.
        if error.errno in (None, errno.EINVAL):
            raise _damaged(archive, error) from error
        raise StorageError(
            f"{archive} cannot be unpacked into {folder}",
            found=error.strerror or str(error),
            fix="free some space or name another folder",
        ) from error


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(
        f"{archive} is damaged, or cut short",
        expected="a whole archive",
        found=str(error) or type(error).__name__,
        fix="remove it and fetch it again",
    )
