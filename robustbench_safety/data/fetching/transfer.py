"""One file over HTTP into a part on disk, which a later try, or a later run, goes on with.

Pooch, which the rest of a download is left to, begins again from nothing after a cut and takes as many bytes
as come. Archives here have up to 20 gigabytes.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests
from urllib3.exceptions import HTTPError

from robustbench_safety.data.fetching.addresses import InterruptedTransferError, opened
from robustbench_safety.data.fetching.staging import Part, Source
from robustbench_safety.errors import DataError, IncompleteError

__all__ = ["OnBytes", "Wanted", "transfer"]

OnBytes = Callable[[int, int | None], None]

#: Tries in succession that bring less than ``_NEWS`` bytes each: a line cut every gigabyte still gets there.
_TRIES = 5
_NEWS = 2**20
#: Seconds: the first pause, doubled after each try, and the longest that a server may ask for.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 120.0
#: Taken from a server that does not say how many bytes there are: ImageNet's training images have 148 GB.
_MOST_BYTES = 256 * 2**30
_CHUNK = 2**16
#: Bytes that tell a web page from an archive.
_HEAD = 512
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<!--")
#: Timed out, too early, too many requests: with whatever befalls the server itself, these pass.
_PASSING = frozenset({408, 425, 429, *range(500, 600)})
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The file that is asked for."""

    address: str
    n_bytes: int | None
    has_digest: bool
    """Whether a digest will tell if parts of two files were joined."""


def transfer(wanted: Wanted, part: Part, on_bytes: OnBytes) -> None:
    """Bring ``part`` to its full length, going on from the bytes that it has.

    Args:
        wanted: The file.
        part: Where its bytes go.
        on_bytes: Told the bytes that have come, fewer again after a new start, and how many there will be.

    Raises:
        UsageError: The address is not allowed.
        DataError: The server has no such file, another one, or points to an address that is not allowed.
        IncompleteError: The connection was cut or refused too often; the part stays.
        OSError: The disk is full; the part stays.
    """
    furthest, failures = part.n_bytes, 0
    while True:
        try:
            return _attempt(wanted, part, on_bytes)
        except InterruptedTransferError as error:
            # Counted from the furthest byte: a server that begins anew each time brings no news.
            failures = 1 if part.n_bytes >= furthest + _NEWS else failures + 1
            furthest = max(furthest, part.n_bytes)
            if failures >= _TRIES or error.wait > _LONGEST_PAUSE:
                raise IncompleteError(
                    f"{wanted.address} could not be fetched whole",
                    found=str(error),
                    fix=f"run the same command again later: {part.n_bytes} bytes have come and are kept",
                ) from error
            time.sleep(max(error.wait, min(_FIRST_PAUSE * 2 ** (failures - 1), _LONGEST_PAUSE)))


def _attempt(wanted: Wanted, part: Part, on_bytes: OnBytes) -> None:
    before = _to_continue(wanted, part)
    begin = 0 if before is None else part.n_bytes
    headers = {"Accept-Encoding": "identity"}
    if before is not None:
        if begin == (before.total or wanted.n_bytes):
            return  # killed between the last byte and the check
        headers["Range"] = f"bytes={begin}-"
        if before.validator is not None:
            headers["If-Range"] = before.validator
    with opened(wanted.address, headers) as response:
        if before is not None and response.status_code in (206, 416):
            match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            first, total = match.groups() if match else (None, None)
            found = _source(wanted, response, total)
            if response.status_code == 416 and found.total == begin and not _changed(before, found):
                return  # the server had not said how many there are, and these are all
            if first != str(begin) or _changed(before, found):
                part.discard()
                raise InterruptedTransferError(
                    "the file has changed, or the server sends another part than asked for"
                )
            _check_total(wanted, found)
            _receive(wanted, found, part, _chunks(response), on_bytes)
        elif response.status_code == 200:  # also where ranges are ignored, or the file has changed
            found = _source(wanted, response, response.headers.get("Content-Length"))
            chunks = _past_a_page(wanted, _chunks(response))
            _check_total(wanted, found)
            part.restart(found)
            _receive(wanted, found, part, chunks, on_bytes)
        else:
            raise _refusal(wanted, response)


def _to_continue(wanted: Wanted, part: Part) -> Source | None:
    """Return the source of a part that may be continued; None where the transfer begins from nothing."""
    source, n = part.source(), part.n_bytes
    if source is None or n == 0 or source.address != wanted.address:
        return None
    if source.validator is None and not wanted.has_digest:
        return None  # nothing would tell if the file has changed since
    return source if n <= min(source.total or n, wanted.n_bytes or n) else None


def _source(wanted: Wanted, response: requests.Response, total: str | None) -> Source:
    tag = response.headers.get("ETag")
    if tag is None or tag.startswith("W/"):  # a weak one does not promise the same bytes
        tag = response.headers.get("Last-Modified")
    n = int(total) if total is not None and total.isdecimal() else None
    return Source(address=wanted.address, validator=tag, total=n)


def _changed(before: Source, found: Source) -> bool:
    pairs = (before.validator, found.validator), (before.total, found.total)
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def _receive(wanted: Wanted, found: Source, part: Part, chunks: Iterable[bytes], on_bytes: OnBytes) -> None:
    n, total = part.n_bytes, wanted.n_bytes or found.total
    on_bytes(n, total)
    # A full disk ends this with the bytes written till then in place, and right.
    with part.content.open("ab") as handle:
        for chunk in chunks:
            n += len(chunk)
            if n > (total or _MOST_BYTES):
                break
            handle.write(chunk)
            on_bytes(n, total)
    if n > (total or _MOST_BYTES):
        part.discard()
        raise _another(wanted, total or _MOST_BYTES, "more")
    if total is not None and n < total:
        raise InterruptedTransferError(f"the connection ended after {n} of {total} bytes")


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield the bytes as they are sent: a ``.tar.gz`` whose compression is called an encoding stays one."""
    try:
        yield from response.raw.stream(_CHUNK, decode_content=False)
    except HTTPError as error:
        raise InterruptedTransferError(f"the connection ended early: {error}") from error


def _past_a_page(wanted: Wanted, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Return all the chunks, unless they begin a web page."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD:
            break
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:_HEAD].lower().startswith(_PAGES):
        raise DataError(
            f"{wanted.address} gave a web page and not the file",
            expected="a published archive",
            found=f"HTML that begins {head[:60]!r}",
            fix="open the address in a browser: it may want a login or a click; then fetch the file by hand",
        )
    return itertools.chain([head], chunks)


def _check_total(wanted: Wanted, found: Source) -> None:
    if None not in (wanted.n_bytes, found.total) and wanted.n_bytes != found.total:
        raise _another(wanted, wanted.n_bytes, f"{found.total}")


def _another(wanted: Wanted, expected: int | None, found: str) -> DataError:
    return DataError(
        f"{wanted.address} has another file than the published one",
        expected=f"{expected} bytes",
        found=found,
        fix="check the address; if it is right, the file there was replaced or damaged",
    )


def _refusal(wanted: Wanted, response: requests.Response) -> Exception:
    found = f"HTTP {response.status_code} {response.reason or ''}".strip()
    if response.status_code in _PASSING:
        return InterruptedTransferError(found, wait=_wait(response.headers.get("Retry-After", "")))
    return DataError(
        f"{wanted.address} cannot be fetched",
        expected="HTTP 200 OK",
        found=found,
        fix="check the address, or fetch the file by hand",
    )


def _wait(asked: str) -> float:
    """Return the seconds of a Retry-After header, which holds a number or a date."""
    if asked.isdecimal():
        return float(asked)
    try:
        return max(0.0, (parsedate_to_datetime(asked).astimezone(UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return 0.0
