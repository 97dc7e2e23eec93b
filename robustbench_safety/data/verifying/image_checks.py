"""Every image of a condition decoded, the damaged ones named; and the names of images compared."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robustbench_safety.data.base import FileReader, Stored
from robustbench_safety.data.readers.clips import VideoReader
from robustbench_safety.data.readers.image_folder import ImageFolderReader
from robustbench_safety.data.readers.image_list import ImageListReader
from robustbench_safety.data.verifying.findings import Finding, finding_of, some_of
from robustbench_safety.data.verifying.ordered_pool import OrderedPool
from robustbench_safety.errors import DataError, FileFormatError, RobustbenchSafetyError, StorageError

__all__ = ["ImageCheck", "check_sample_ids"]

#: Images handed to a thread at a time: enough that handing over costs nothing beside decoding the smallest.
_TOGETHER = 64
#: Images that cannot be read from files that hold many before the rest are left: each try may read a large
#: part of such a file again.
_FAILED_READS = 20
_ADDRESS = re.compile(r" <_io\.BytesIO object at 0x[0-9a-fA-F]+>")


def _own_files(reader: FileReader) -> Sequence[Path] | None:
    """Return the file of each image, which is its stored bytes; None where one file holds many images."""
    if isinstance(reader, ImageFolderReader | VideoReader):
        return reader.files()
    # The first is the list.
    return reader.files()[1:] if isinstance(reader, ImageListReader) else None


@dataclass(kw_only=True)
class ImageCheck:
    """Decodes the images of one condition in order, some at a time."""

    name: str
    """The condition, for the messages."""
    reader: FileReader
    size: tuple[int, int] | None
    """Height and width that each image has; None for any."""
    on_digest: Callable[[Path, str], None] | None = None
    """Told the sha256 of each file; None where nobody asks."""
    decoded: int = 0
    _unread: int = field(default=0, init=False)

    def run(self, pool: OrderedPool, advance: Callable[[int], None]) -> Iterator[Finding]:
        """Yield what is wrong, in the order of the images, whatever the number of threads.

        Args:
            pool: Threads that decode; the calling thread reads.
            advance: Told the images that were looked at so far.
        """
        paths, done = _own_files(self.reader), 0
        for checked in pool.map(
            lambda block: self._checked(block, paths), self._blocks(shared=paths is None)
        ):
            done += len(checked.digests)
            self.decoded += checked.decoded
            if self.on_digest is not None and paths is not None:
                for index, digest in checked.digests.items():
                    if digest:
                        self.on_digest(paths[index], digest)
            yield from checked.faults
            advance(done)
        if self._unread >= _FAILED_READS and paths is None:
            yield Finding(
                kind="unreadable",
                where=f"{self.name}: not all images were looked at",
                expected=f"fewer than {_FAILED_READS} that cannot be read",
                found=f"{self._unread} of the first {done}",
                fix="mend these files first, then verify again",
            )

    def _blocks(self, *, shared: bool) -> Iterator[dict[int, Stored | RobustbenchSafetyError]]:
        """Yield the stored bytes by image, or why they cannot be had."""
        n, together = len(self.reader.sample_ids), max(1, _TOGETHER // self.reader.frames)
        for start in range(0, n, together):
            if shared and self._unread >= _FAILED_READS:
                return
            indices = np.arange(start, min(start + together, n))
            try:
                read: Sequence[Stored | RobustbenchSafetyError] = self.reader.stored(indices)
            except (DataError, StorageError, FileFormatError):
                read = [self._stored(index) for index in range(start, start + len(indices))]
            yield dict(zip(range(start, start + len(indices)), read, strict=True))

    def _stored(self, index: int) -> Stored | RobustbenchSafetyError:
        try:
            return self.reader.stored(np.array([index]))[0]
        except (DataError, StorageError, FileFormatError) as error:
            self._unread += 1
            return error

    def _checked(
        self, block: dict[int, Stored | RobustbenchSafetyError], paths: Sequence[Path] | None
    ) -> _Checked:
        """Decode some images; runs in a thread."""
        out = _Checked()
        for index, stored in block.items():
            if isinstance(stored, RobustbenchSafetyError):
                out.digests[index] = ""
                refused = isinstance(stored, StorageError)
                out.faults.append(finding_of("unreadable" if refused else "undecodable", stored))
                continue
            asked = self.on_digest is not None and paths is not None
            out.digests[index] = hashlib.sha256(stored).hexdigest() if asked else ""
            if fault := self._fault(index, stored, paths):
                out.faults.append(fault)
            out.decoded += fault is None or fault.kind != "undecodable"
        return out

    def _fault(self, index: int, stored: Stored, paths: Sequence[Path] | None) -> Finding | None:
        try:
            height, width = self.reader.decode(index, stored).shape[-3:-1]
        except DataError as error:
            fault = finding_of("undecodable", error)
            # Pillow names the object that it read from by its address; a report should not change with it.
            return fault.model_copy(update={"found": _ADDRESS.sub("", fault.found)})
        if self.size is None or (height, width) == self.size:
            return None
        named = f"{self.name}, {self.reader.sample_ids[index]}" if paths is None else str(paths[index])
        return Finding(
            kind="size",
            where=f"{named} has the wrong size",
            expected="x".join(map(str, self.size)),
            found=f"{height}x{width}",
            fix="unpack the published archive again, or correct image_size in the manifest",
        )


@dataclass(kw_only=True)
class _Checked:
    faults: list[Finding] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)
    """sha256 by image, "" where none was taken."""
    decoded: int = 0


def check_sample_ids(name: str, found: Sequence[str], *, other: str, wanted: Sequence[str]) -> Finding | None:
    """Compare the images of a condition with those of another: they are the same, shown in another way.

    Args:
        name: The condition.
        found: Its sample ids.
        other: The condition that it is compared with.
        wanted: Its sample ids.
    """
    if list(found) == list(wanted):
        return None
    missing, more = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    parts = [
        f"{len(ids)} {what}: {some_of(ids)}" for what, ids in (("missing", missing), ("more", more)) if ids
    ]
    return Finding(
        kind="samples",
        where=f"{name} does not show the images of {other}",
        expected=f"the same {len(wanted)} images, in the same order",
        found="; ".join(parts) or "the same images in another order",
        fix="unpack the published archive again",
    )
