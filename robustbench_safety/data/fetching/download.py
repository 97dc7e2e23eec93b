"""One published file, fetched by pooch, checked, and then put in its place."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pooch

from robustbench_safety.data.fetching.addresses import check_address
from robustbench_safety.data.fetching.staging import Part, working_folder
from robustbench_safety.data.fetching.transfer import OnBytes, Wanted, transfer
from robustbench_safety.errors import DataError
from robustbench_safety.files import reads, writes

__all__ = ["Download", "download"]

_CHUNK = 2**20
#: Name of the file that pooch puts, whole, into the working folder.
_WHOLE = "whole"


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file in its place."""

    path: Path
    sha256: str
    """What the file has, known before or not: what a manifest should say."""
    n_bytes: int
    verified: bool
    """Whether an md5 or a sha256 was known, and the file has it. A known length alone verifies nothing."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of the published file."""

    n_bytes: int | None
    md5: str | None
    sha256: str | None

    @property
    def has_digest(self) -> bool:
        return self.md5 is not None or self.sha256 is not None


def download(
    address: str, path: Path, *, n_bytes: int | None, md5: str | None, sha256: str | None, on_bytes: OnBytes
) -> Download:
    """Fetch the file at ``address`` to ``path``, unless it is there already.

    Until it is whole and checked the file lies in the hidden folder ``.<name>.part`` beside ``path``; a cut
    connection, a full disk or a killed process leaves it there, and the same call goes on from it. A part is
    continued only if the server says that the file is still the same, or a digest will tell.

    Args:
        address: https, or http to this machine; redirections too are followed to such addresses alone.
        path: Where the file goes. One that lies there is checked and kept, never overwritten.
        n_bytes: Its length, where known; no byte more is stored.
        md5: Its hexadecimal digest, where known.
        sha256: The same; where both are known both must hold.
        on_bytes: Told the bytes that have come, and how many there will be where that is known. It is called
            for every 64 kilobytes or less. The count falls when the transfer has to begin again.

    Returns:
        What lies at ``path``. Where nothing was known beforehand anything but a web page is taken.

    Raises:
        UsageError: The address is not allowed.
        DataError: Another file lies at ``path``, or the server has none, a web page, or another one.
        IncompleteError: The connection was cut or refused too often; what came is kept.
        StorageError: The disk is full, the folder cannot be written, or another process fetches this file.
    """
    known = _Known(n_bytes=n_bytes, md5=md5, sha256=sha256)
    check_address(address)
    if (present := _present(path, known)) is not None:
        return present
    wanted = Wanted(address=address, n_bytes=n_bytes, has_digest=known.has_digest)
    with working_folder(path.absolute(), "part") as folder:
        # Again, now that nobody else can put it there.
        if (present := _present(path, known)) is not None:
            return present
        return _fetched(wanted, path, folder, known, on_bytes)


def _present(path: Path, known: _Known) -> Download | None:
    """Return the file at ``path`` if there is one and it is right."""
    if not os.path.lexists(path):
        return None
    present = _described(path, path, known)
    if isinstance(present, Download):
        return present
    expected, found = present
    raise DataError(
        f"{path} is not the published file",
        expected=expected,
        found=found,
        fix="remove it or move it away, then run the same command again",
    )


def _described(content: Path, path: Path, known: _Known) -> Download | tuple[str, str]:
    """Return the record of the file in ``content``, or what was expected and what was found instead."""
    with reads(content):
        n = content.stat().st_size
        if known.n_bytes is not None and n != known.n_bytes:
            return f"{known.n_bytes} bytes", f"{n} bytes"
        hashers = {"sha256": hashlib.sha256()}
        if known.md5 is not None:
            hashers["md5"] = hashlib.md5(usedforsecurity=False)
        # One pass for both: the largest archives do not fit into the system's cache.
        with content.open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                for hasher in hashers.values():
                    hasher.update(chunk)
    found = {name: hasher.hexdigest() for name, hasher in hashers.items()}
    for name, expected in (("md5", known.md5), ("sha256", known.sha256)):
        if expected is not None and expected.lower() != found[name]:
            return f"{name} {expected.lower()}", f"{name} {found[name]}"
    return Download(path=path, sha256=found["sha256"], n_bytes=n, verified=known.has_digest)


def _fetched(wanted: Wanted, path: Path, folder: Path, known: _Known, on_bytes: OnBytes) -> Download:
    part = Part(folder)
    records: list[Download] = []

    def fetch(_address: str, output: str, _pooch: object) -> None:
        transfer(wanted, part, on_bytes)
        records.append(_checked(wanted.address, part, path, known))
        # The check is ours and comes before: pooch would remove what a kill during its own check leaves.
        with part.content.open("rb") as handle:
            os.fsync(handle.fileno())
        part.content.replace(output)

    with writes(path), _quiet():
        part.remove_others()
        keeper = pooch.create(
            path=folder, base_url="", registry={_WHOLE: None}, urls={_WHOLE: wanted.address}
        )
        Path(keeper.fetch(_WHOLE, downloader=fetch)).replace(path)
        part.discard()
    return records[0]


def _checked(address: str, part: Part, path: Path, known: _Known) -> Download:
    """Return the record of a part that has come whole; one that is wrong is removed."""
    described = _described(part.content, path, known)
    if isinstance(described, Download):
        return described
    part.discard()
    expected, found = described
    raise DataError(
        f"{address} gave another file than the published one; it was not kept",
        expected=expected,
        found=found,
        fix="run the same command again; if that is no better, the file at that address was replaced",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pooch from writing to the terminal, which is the caller's."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
