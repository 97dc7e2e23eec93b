"""Records as they lie on a leaderboard: one file each, named by what it holds."""

from __future__ import annotations

import functools
import gc
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, create_model

from robustbench_safety.companion import Companion, write_companion
from robustbench_safety.errors import FileFormatError, StorageError
from robustbench_safety.files import digest_of, read_bytes, read_json, write_json
from robustbench_safety.records import Curves, ScoreRecord

__all__ = [
    "Filed",
    "collector_at_rest",
    "file_of",
    "filed_records",
    "listed_records",
    "read_records",
    "record_path",
    "records_folder",
    "write_record",
]

#: A record has some 200 kilobytes, of a suite with many detectors a few megabytes.
_LARGEST = 64 * 2**20

#: What the digest leaves out, in the text that ``write_json`` makes.
_TIMINGS = re.compile(rb'\n "timings": \{[^{}]*\n \},')
_VERIFIED_AT = re.compile(rb'(\n "verification": \{)\n  "at": "[^"\\]*",')

#: Spaces that a line of a record begins with at most.
_DEEPEST = 7

#: What a field of a record begins with, where ``write_json`` has written it: deeper lines have more spaces.
_FIELD = b'\n "'

#: Fields that are most of a record, and that no table shows.
_DETAILS: dict[str, Any] = {"conditions": {}, "groups": {}, "curves": Curves(), "prediction_digests": {}}


@dataclass(frozen=True, kw_only=True)
class Filed:
    """A record and the file that it was read from."""

    record: ScoreRecord
    digest: str
    """Of the record's digested fields: what other records name it by."""
    path: Path

    @property
    def companion_path(self) -> Path:
        """The Parquet file beside the record."""
        return self.path.with_suffix(".parquet")


def records_folder(leaderboard: Path) -> Path:
    """Return the folder of records.

    Raises:
        StorageError: There is no such leaderboard.
    """
    folder = leaderboard / "records"
    if not folder.is_dir():
        raise StorageError(
            f"{leaderboard} is not a leaderboard",
            expected="a folder with records/ in it",
            found="no such folder" if not leaderboard.exists() else "no records/ there",
            fix="name one with --leaderboard DIR",
        )
    return folder


def record_path(leaderboard: Path, record: ScoreRecord, *, digest: str | None = None) -> Path:
    """Return ``records/<suite>/<slug>--<first 8 of its digest>.json``.

    Args:
        leaderboard: The folder.
        record: What lies or is to lie there.
        digest: Of the record, where it is known already.
    """
    digest = digest or digest_of(record.digested_fields())
    return leaderboard / "records" / record.suite.name / f"{record.slug}--{digest[:8]}.json"


def write_record(leaderboard: Path, record: ScoreRecord, companion: Companion) -> Path:
    """File a record and its companion. What is there already is left as it is: records are immutable.

    Raises:
        StorageError: The folder cannot be written.
    """
    path = record_path(leaderboard, record)
    # The companion first: a record is never seen without it.
    if not path.with_suffix(".parquet").exists():
        write_companion(path.with_suffix(".parquet"), companion)
    if not path.exists():
        write_json(path, record)
    return path


def filed_records(leaderboard: Path) -> Iterator[Filed]:
    """Yield every record, by suite and file name, one at a time: thousands do not fit into memory.

    Raises:
        StorageError: There is no such leaderboard.
        FileFormatError: A record was changed after it was written, or is none.
    """
    return _each(leaderboard, file_of)


def listed_records(leaderboard: Path) -> Iterator[Filed]:
    """Yield every record as a table needs it: without conditions, groups, curves and digests of predictions.

    The digest is that of the whole. Whether the details are what they should be is not looked at.

    Raises:
        StorageError: There is no such leaderboard.
        FileFormatError: A record was changed after it was written, or is none.
    """
    return _each(leaderboard, _listed)


def _each(leaderboard: Path, read: Callable[[Path], Filed]) -> Iterator[Filed]:
    folder = records_folder(leaderboard)
    for path in sorted(folder.glob("*/*.json")):
        if path.exists() and not path.is_file():
            # Who opened a pipe would wait for somebody to write into it.
            raise FileFormatError(f"{path} is no file", expected="a record", fix="remove it")
        filed = read(path)
        expected = record_path(leaderboard, filed.record, digest=filed.digest)
        if path != expected:
            raise FileFormatError(
                f"{path} was changed after it was written",
                expected=f"the file name {expected.parent.name}/{expected.name} for this content",
                found=f"{path.parent.name}/{path.name}",
                fix="restore it: a correction is a new record",
            )
        yield filed


@functools.cache
def _listed_type() -> type[BaseModel]:
    """Return the type of a record without its details, whose fields are checked as there."""
    config = cast(ConfigDict, {**ScoreRecord.model_config, "extra": "ignore"})
    kept = {name: field for name, field in ScoreRecord.model_fields.items() if name not in _DETAILS}
    fields: dict[str, Any] = {name: (field.annotation, field) for name, field in kept.items()}
    return create_model("ListedRecord", __config__=config, **fields)


def _listed(path: Path) -> Filed:
    """Read a record without its details, in a fraction of the time that it takes whole."""
    text = read_bytes(path, largest=_LARGEST)
    digest = _digest_as_written(text)
    if path.stem.endswith(f"--{digest[:8]}"):
        try:
            listed = _listed_type().model_validate_json(_without_details(text))
        except ValueError:
            pass  # what is wrong is said below
        else:
            fields = {name: getattr(listed, name) for name in _listed_type().model_fields}
            shown = [*fields["columns"], *fields["beside"]]
            once = fields["columns"] and len({*shown}) == len(shown)
            if once and {*shown} <= fields["scores"].keys():
                record = ScoreRecord.model_construct(**fields, **_DETAILS)
                return Filed(record=record, digest=digest, path=path)
    whole = file_of(path)
    return replace(whole, record=whole.record.model_copy(update=_DETAILS))


def _without_details(text: bytes) -> bytes:
    """Return the text of a record without its details; the whole where it is not laid out as expected."""
    known = ScoreRecord.model_fields.keys()
    start, *fields = text.split(_FIELD, 1 + len(known))
    names = [field.partition(b'"')[0].decode(errors="replace") for field in fields]
    if names != sorted({*names} & known):
        return text
    kept = [field for name, field in zip(names, fields, strict=True) if name not in _DETAILS]
    return _FIELD.join([start, *kept])


def read_records(leaderboard: Path) -> list[ScoreRecord]:
    """Read every record, sorted by suite and file name.

    Raises:
        StorageError: There is no such leaderboard.
        FileFormatError: A record was changed after it was written, or is none.
    """
    return [filed.record for filed in filed_records(leaderboard)]


def file_of(path: Path, *, known_digest: str | None = None) -> Filed:
    """Read one record, wherever it lies and whatever its file is called.

    Args:
        path: Its file.
        known_digest: What an earlier reading has found; it is not taken again.

    Raises:
        StorageError: It cannot be read.
        FileFormatError: It is no record.
    """
    text = read_bytes(path, largest=_LARGEST)
    digest = known_digest or _digest_as_written(text)
    if path.stem.endswith(f"--{digest[:8]}"):
        # The text is, but for spaces, what the digest is taken of: keys in order, none twice. To read it once
        # more and to write it anew, as below, takes three times as long, and a leaderboard has thousands.
        try:
            with collector_at_rest():
                record = ScoreRecord.model_validate_json(text)
            return Filed(record=record, digest=digest, path=path)
        except ValueError:
            pass  # what is wrong is said below, by the reader that finds the place
    record = read_json(path, ScoreRecord)
    return Filed(record=record, digest=digest_of(record.digested_fields()), path=path)


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep the collector of cycles from looking through the heap while records come to be.

    A record of a safety suite is thousands of objects without a cycle, and the heap of the libraries is
    large: on a busy machine 14 ms a record with the collector, 5 without.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _digest_as_written(text: bytes) -> str:
    """Return the digest of a record that lies as :func:`write_record` writes it; of other text another.

    The text has a field a line, so without the spaces between its tokens, and without the fields that the
    digest leaves out, it is the canonical JSON. A line feed inside a string is written escaped.
    """
    # Times stand near the end, and the text is long.
    before, times, after = text.rpartition(b'\n "timings"')
    kept = before + _VERIFIED_AT.sub(rb"\1", _TIMINGS.sub(b"", times + after, count=1), count=1)
    # As an array, in half the time that replacing takes. One more byte, so that each has one after it.
    characters = np.frombuffer(kept + b"\0", dtype=np.uint8)
    dropped = np.zeros(len(characters), dtype=np.bool_)
    dropped[-1] = True
    places = np.flatnonzero(characters == ord("\n"))
    for _ in range(1 + _DEEPEST):
        dropped[places] = True
        places = places + 1
        places = places[characters[places] == ord(" ")]
    colons = np.flatnonzero(characters == ord(":"))
    colons = colons[(characters[colons - 1] == ord('"')) & (characters[colons + 1] == ord(" "))]
    dropped[colons + 1] = True
    return hashlib.sha256(characters[~dropped].data).hexdigest()
