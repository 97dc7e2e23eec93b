"""A download ends whole, checked and in its place, or with an error and nothing there that seems whole."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import numpy as np
import pooch
import pytest
import requests

from robustbench_safety.data.fetching import addresses, transfer
from robustbench_safety.data.fetching import download as download_module
from robustbench_safety.data.fetching.download import Download, download
from robustbench_safety.data.fetching.staging import working_folder
from robustbench_safety.errors import DataError, IncompleteError, StorageError, UsageError
from tests.conftest import REPOSITORY
from tests.local_server import Answer, LocalServer
from tests.small_disk import files_of_at_most, mounted

#: Four chunks and a bit.
CONTENT = np.random.default_rng(0).bytes(4 * 2**16 + 1000)
OTHER = np.random.default_rng(1).bytes(len(CONTENT))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
GOOD = Answer(content=CONTENT)
CUT = Answer(content=CONTENT, cut_after=100_000)
PAGE = b"\n<!DOCTYPE html><html><title>Sign in</title></html>" + b" " * 1000

Fetch = Callable[..., Download]


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries, which are not waited for."""
    seconds: list[float] = []
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=seconds.append))
    return seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "root" / "archive.tar"


@pytest.fixture
def fetch(path: Path) -> Fetch:
    """Return a function that downloads from a server to ``path``; what is known changes as told."""

    def run(server: LocalServer | str, **change: object) -> Download:
        address = server if isinstance(server, str) else server.address
        known: dict[str, object] = {"n_bytes": len(CONTENT), "md5": None, "sha256": SHA256}
        known |= {"on_bytes": lambda n, total: None}
        return download(address, path, **{**known, **change})  # type: ignore[arg-type]

    return run


def left(path: Path) -> list[str]:
    """Return the names of all files below the folder of ``path``."""
    below = path.parent.rglob("*") if path.parent.exists() else ()
    return sorted(str(entry.relative_to(path.parent)) for entry in below if entry.is_file())


PART = [".archive.tar.part/content", ".archive.tar.part/source.json"]


def part_of(path: Path) -> Path:
    return path.parent / PART[0]


def test_a_file_comes_whole_checked_and_alone(fetch: Fetch, path: Path) -> None:
    with LocalServer(GOOD) as server:
        got = fetch(server)
    assert got == Download(path=path, sha256=SHA256, n_bytes=len(CONTENT), verified=True)
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["archive.tar"]


@pytest.mark.parametrize(
    ("known", "verified"),
    [
        ({"n_bytes": None, "sha256": None}, False),
        ({"sha256": None}, False),
        ({"sha256": None, "md5": MD5}, True),
        ({"sha256": SHA256.upper(), "md5": MD5.upper()}, True),
    ],
)
def test_a_file_counts_as_verified_only_where_a_digest_was_known(
    fetch: Fetch,
    known: dict[str, object],
    verified: bool,  # noqa: FBT001
) -> None:
    with LocalServer(GOOD) as server:
        got = fetch(server, **known)
    assert got.verified is verified
    assert got.sha256 == SHA256


def test_progress_is_told_from_the_first_byte_to_the_last_and_with_the_total(fetch: Fetch) -> None:
    told: list[tuple[int, int | None]] = []
    with LocalServer(GOOD) as server:
        fetch(server, n_bytes=None, on_bytes=lambda n, total: told.append((n, total)))
    assert told == [(n, len(CONTENT)) for n in (0, 65536, 131072, 196608, 262144, len(CONTENT))]


def test_pooch_says_nothing_and_keeps_its_own_level(fetch: Fetch) -> None:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    pooch.get_logger().addHandler(handler)
    try:
        with LocalServer(GOOD) as server:
            fetch(server)
    finally:
        pooch.get_logger().removeHandler(handler)
    assert said == []
    assert pooch.get_logger().level == logging.NOTSET


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_mode_of_the_file_follows_the_umask(fetch: Fetch, path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        with LocalServer(GOOD) as server:
            fetch(server)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


# What lies there already


def test_a_right_file_is_kept_and_the_server_is_not_asked(fetch: Fetch, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    before = path.stat()
    kept = before.st_ino, before.st_mtime_ns
    with LocalServer(GOOD) as server:
        assert fetch(server).verified
        assert server.asked == []
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == kept
    assert left(path) == ["archive.tar"]


def test_a_right_file_needs_no_folder_to_work_in(fetch: Fetch, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    with LocalServer(GOOD) as server, working_folder(path, "part"):
        assert fetch(server).verified


@pytest.mark.parametrize(
    ("content", "found"), [(OTHER, "expected sha256 .*; found sha256"), (b"short", "found 5 bytes")]
)
def test_a_wrong_file_is_named_and_never_overwritten(
    fetch: Fetch, path: Path, content: bytes, found: str
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    told = pytest.raises(DataError, match=f"archive.tar is not the published file; .*{found}.*remove it")
    with LocalServer(GOOD) as server, told:
        fetch(server)
    assert server.asked == []
    assert path.read_bytes() == content


def test_a_folder_or_a_dead_link_in_the_place_of_the_file_is_an_error(fetch: Fetch, path: Path) -> None:
    path.mkdir(parents=True)
    with LocalServer(GOOD) as server:
        with pytest.raises((DataError, StorageError), match=r"archive\.tar"):
            fetch(server)
        path.rmdir()
        path.symlink_to("nowhere")
        with pytest.raises(StorageError, match=r"archive\.tar cannot be read"):
            fetch(server)
    assert server.asked == []


# Going on


@pytest.mark.parametrize("etag", ['"one"', None])
def test_a_cut_connection_is_gone_on_with_from_the_byte_where_it_ended(
    fetch: Fetch, path: Path, waits: list[float], etag: str | None
) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    both = {"etag": etag, "last_modified": date}
    first = Answer(content=CONTENT, cut_after=100_000, **both)  # type: ignore[arg-type]
    second = Answer(content=CONTENT, cut_after=50_000, **both)  # type: ignore[arg-type]
    third = Answer(content=CONTENT, **both)  # type: ignore[arg-type]
    with LocalServer(first, second, third) as server:
        fetch(server)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert [one.headers.get("If-Range") for one in server.asked] == [None, etag or date, etag or date]
    assert waits == [1.0, 2.0]


def test_a_weak_etag_is_not_what_a_range_is_asked_by(fetch: Fetch) -> None:
    weak = {"etag": 'W/"one"', "last_modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    first = Answer(content=CONTENT, cut_after=100_000, **weak)  # type: ignore[arg-type]
    with LocalServer(first, Answer(content=CONTENT, **weak)) as server:  # type: ignore[arg-type]
        fetch(server)
    assert server.asked[1].headers["If-Range"] == weak["last_modified"]


def test_without_a_validator_a_part_is_continued_only_if_a_digest_will_tell(fetch: Fetch, path: Path) -> None:
    cut, good = Answer(content=CONTENT, etag=None, cut_after=100_000), Answer(content=CONTENT, etag=None)
    with LocalServer(cut, good) as server:
        fetch(server)
    assert server.ranges == [None, "bytes=100000-"]
    path.unlink()
    with LocalServer(cut, good) as server:
        fetch(server, sha256=None)
    assert server.ranges == [None, None]
    assert path.read_bytes() == CONTENT


def test_a_transfer_that_is_cut_too_often_keeps_its_part_and_the_next_run_goes_on(
    fetch: Fetch, path: Path, waits: list[float]
) -> None:
    tiny = Answer(content=CONTENT, cut_after=10)
    with LocalServer(CUT, tiny, tiny, tiny, tiny, GOOD) as server:
        with pytest.raises(IncompleteError, match=r"could not be fetched whole; .*100040 bytes have come"):
            fetch(server)
        assert waits == [1.0, 2.0, 4.0, 8.0]
        assert len(server.asked) == 5
        assert left(path) == PART
        fetch(server)
    assert server.ranges[-1] == "bytes=100040-"
    assert path.read_bytes() == CONTENT
    assert left(path) == ["archive.tar"]


def test_tries_that_bring_much_are_not_counted(
    fetch: Fetch, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_NEWS", 30_000)
    piece = Answer(content=CONTENT, cut_after=30_000)
    with LocalServer(*[piece] * 8, GOOD) as server:
        fetch(server)
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 9


def test_a_server_that_begins_anew_after_every_cut_is_not_asked_for_ever(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_NEWS", 30_000)
    answers = [Answer(content=CONTENT, ranges=False, cut_after=n) for n in (100_000, 10_000)]
    with LocalServer(*answers * 5, GOOD) as server, pytest.raises(IncompleteError):
        fetch(server)
    assert len(server.asked) == 5


def test_a_connection_that_is_cut_before_the_first_byte_is_no_part(fetch: Fetch) -> None:
    with LocalServer(Answer(content=CONTENT, cut_after=0), GOOD) as server:
        fetch(server)
    assert server.ranges == [None, None]


def test_a_part_without_a_byte_is_none(fetch: Fetch, path: Path) -> None:
    with LocalServer(CUT, Answer(status=404), GOOD) as server:
        with pytest.raises(DataError):
            fetch(server)
        part_of(path).write_bytes(b"")
        fetch(server)
    assert server.ranges == [None, "bytes=100000-", None]


def test_a_killed_process_is_gone_on_with(fetch: Fetch, path: Path) -> None:
    come = 2 * 2**16
    # The package around the module loads torch, which takes longer than all else here.
    code = (
        "import sys, types\nfrom pathlib import Path\nimport robustbench_safety\n"
        "package = sys.modules['robustbench_safety.data'] = types.ModuleType('robustbench_safety.data')\n"
        "package.__path__ = [str(Path(robustbench_safety.__file__).parent / 'data')]\n"
        "from robustbench_safety.data.fetching.download import download\n"
        f"download(sys.argv[1], Path(sys.argv[2]), n_bytes=None, md5=None, sha256={SHA256!r}, "
        "on_bytes=lambda n, total: None)\n"
    )
    with LocalServer(Answer(content=CONTENT, stall_after=come), GOOD) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", code, server.address, str(path)], cwd=REPOSITORY, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 60
        while not (part_of(path).exists() and part_of(path).stat().st_size == come):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(StorageError, match=r"archive\.tar is being made by another process"):
            fetch(server)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not path.exists()
        fetch(server)
    assert server.ranges == [None, f"bytes={come}-"]
    assert path.read_bytes() == CONTENT
    assert left(path) == ["archive.tar"]


@pytest.mark.parametrize("chunked", [True, False])
def test_a_part_that_lacks_only_its_check_is_not_asked_for_again(
    fetch: Fetch,
    path: Path,
    chunked: bool,  # noqa: FBT001
) -> None:
    with LocalServer(
        Answer(content=CONTENT, cut_after=100_000, chunked=chunked), Answer(status=404)
    ) as server:
        with pytest.raises(DataError):
            fetch(server)
        part_of(path).write_bytes(CONTENT)
        fetch(server)
        assert len(server.asked) == 2
    assert path.read_bytes() == CONTENT


def test_a_whole_part_whose_length_nobody_said_is_found_whole_by_the_server_s_416(
    fetch: Fetch, path: Path
) -> None:
    endless = Answer(content=CONTENT, chunked=True, cut_after=len(CONTENT))
    with LocalServer(endless, GOOD) as server:
        fetch(server, n_bytes=None)
    assert server.ranges == [None, f"bytes={len(CONTENT)}-"]
    assert path.read_bytes() == CONTENT


def test_a_416_for_a_file_of_another_length_begins_anew(fetch: Fetch, path: Path) -> None:
    long = Answer(content=OTHER, chunked=True, cut_after=150_000)
    short = Answer(content=CONTENT[:1000])
    with LocalServer(long, short) as server:
        fetch(server, n_bytes=None, sha256=None)
    assert server.ranges == [None, "bytes=150000-", None]
    assert path.read_bytes() == CONTENT[:1000]


def test_a_416_of_a_changed_file_of_the_same_length_begins_anew(fetch: Fetch, path: Path) -> None:
    endless = Answer(content=CONTENT, chunked=True, cut_after=len(CONTENT))
    with LocalServer(endless, Answer(content=OTHER, etag='"two"', if_range=False)) as server:
        fetch(server, n_bytes=None, sha256=None)
    assert server.ranges == [None, f"bytes={len(CONTENT)}-", None]
    assert path.read_bytes() == OTHER


def test_what_a_kill_between_check_and_place_leaves_is_removed(fetch: Fetch, path: Path) -> None:
    folder = path.parent / ".archive.tar.part"
    folder.mkdir(parents=True)
    (folder / "whole").write_bytes(OTHER)
    (folder / "tmpabc").write_bytes(b"")
    with LocalServer(GOOD) as server:
        fetch(server)
    assert path.read_bytes() == CONTENT
    assert left(path) == ["archive.tar"]


# Never a part of another file


def test_a_server_that_ignores_ranges_sends_all_again_and_it_is_taken_from_the_first_byte(
    fetch: Fetch, path: Path
) -> None:
    told: list[int] = []
    with LocalServer(CUT, Answer(content=CONTENT, ranges=False)) as server:
        fetch(server, on_bytes=lambda n, total: told.append(n))
    assert server.ranges == [None, "bytes=100000-"]
    assert path.read_bytes() == CONTENT
    assert told[:4] == [0, 65536, 100000, 0]


@pytest.mark.parametrize("heeded", [True, False])
@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) - 5])
def test_a_file_that_changes_between_two_tries_is_fetched_from_its_first_byte(
    fetch: Fetch,
    path: Path,
    heeded: bool,  # noqa: FBT001
    length: int,
) -> None:
    changed = Answer(content=OTHER[:length], etag='"two"', if_range=heeded)
    with LocalServer(CUT, changed) as server:
        got = fetch(server, n_bytes=None, sha256=None)
    assert path.read_bytes() == OTHER[:length]
    assert got.n_bytes == length


def test_a_file_of_another_length_is_another_file_even_without_a_validator(fetch: Fetch, path: Path) -> None:
    changed, sha256 = OTHER[:-5], hashlib.sha256(OTHER[:-5]).hexdigest()
    answers = Answer(content=CONTENT, etag=None, cut_after=100_000), Answer(content=changed, etag=None)
    with LocalServer(*answers) as server:
        fetch(server, n_bytes=None, sha256=sha256)
    assert server.ranges == [None, "bytes=100000-", None]
    assert path.read_bytes() == changed


def test_a_range_that_begins_elsewhere_is_not_joined(fetch: Fetch, path: Path) -> None:
    with LocalServer(CUT, Answer(content=CONTENT, begin_at=50_000), GOOD) as server:
        fetch(server, n_bytes=None, sha256=None)
    assert server.ranges == [None, "bytes=100000-", None]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("spoil", ["address", "about", "no about"])
def test_a_part_of_unknown_origin_is_not_continued(fetch: Fetch, path: Path, spoil: str) -> None:
    with (
        LocalServer(Answer(content=OTHER, cut_after=100_000), Answer(status=404)) as server,
        pytest.raises(DataError),
    ):
        fetch(server)
    about = path.parent / PART[1]
    assert left(path) == PART
    with LocalServer(GOOD) as server:
        if spoil == "address":
            assert server.address not in about.read_text()
        elif spoil == "about":
            about.write_text("{")
        else:
            about.unlink()
        fetch(server)
    assert server.ranges == [None]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(("chunked", "n_bytes"), [(False, None), (True, len(CONTENT))])
def test_a_part_longer_than_the_file_is_not_continued(
    fetch: Fetch,
    path: Path,
    chunked: bool,  # noqa: FBT001
    n_bytes: int | None,
) -> None:
    cut = Answer(content=CONTENT, cut_after=100_000, chunked=chunked)
    with LocalServer(cut, Answer(status=404), GOOD) as server:
        with pytest.raises(DataError):
            fetch(server, n_bytes=n_bytes)
        part_of(path).write_bytes(CONTENT + b"more")
        fetch(server, n_bytes=n_bytes)
    assert server.ranges == [None, "bytes=100000-", None]
    assert path.read_bytes() == CONTENT


# Wrong files


@pytest.mark.parametrize(
    ("known", "expected"), [({}, f"sha256 {SHA256}"), ({"sha256": None, "md5": MD5}, f"md5 {MD5}")]
)
def test_a_wrong_digest_is_told_and_the_part_removed(
    fetch: Fetch, path: Path, known: dict[str, object], expected: str
) -> None:
    told = pytest.raises(DataError, match=f"gave another file .*expected {expected}; found")
    with LocalServer(Answer(content=OTHER)) as server, told:
        fetch(server, **known)
    assert list(path.parent.iterdir()) == []


def test_both_digests_must_hold(fetch: Fetch, path: Path) -> None:
    with LocalServer(GOOD) as server:
        with pytest.raises(DataError, match=r"expected md5 0{32}; found md5"):
            fetch(server, md5="0" * 32)
        with pytest.raises(DataError, match=r"expected sha256 0{64}; found sha256"):
            fetch(server, md5=MD5, sha256="0" * 64)
    assert left(path) == []


def test_a_part_joined_from_two_files_is_removed_so_that_the_next_run_is_well(
    fetch: Fetch, path: Path
) -> None:
    # The server lies: the file has changed, its length and its ETag have not.
    with LocalServer(Answer(content=OTHER, cut_after=100_000), GOOD) as server:
        with pytest.raises(DataError, match="gave another file"):
            fetch(server)
        assert left(path) == []
        fetch(server)
    assert path.read_bytes() == CONTENT


def test_another_length_that_a_range_reveals_is_refused(fetch: Fetch, path: Path) -> None:
    longer = CONTENT + b"more"
    with (
        LocalServer(
            Answer(content=longer, chunked=True, cut_after=100_000), Answer(content=longer)
        ) as server,
        pytest.raises(DataError, match=f"expected {len(CONTENT)} bytes; found {len(longer)}"),
    ):
        fetch(server)
    assert server.ranges == [None, "bytes=100000-"]
    assert not path.exists()


@pytest.mark.parametrize("size", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_another_length_than_the_known_one_is_refused_before_a_byte_is_stored(
    fetch: Fetch, path: Path, size: int
) -> None:
    told: list[int] = []
    with (
        LocalServer(Answer(content=(CONTENT + b"more")[:size])) as server,
        pytest.raises(DataError, match=f"expected {len(CONTENT)} bytes; found {size}; check the address"),
    ):
        fetch(server, on_bytes=lambda n, total: told.append(n))
    assert told == []
    assert len(server.asked) == 1
    assert left(path) == []


def test_a_stream_of_unstated_length_is_stopped_at_the_known_number_of_bytes(
    fetch: Fetch, path: Path
) -> None:
    most: list[int] = []
    with (
        LocalServer(Answer(content=CONTENT * 3, length=False)) as server,
        pytest.raises(DataError, match=f"expected {len(CONTENT)} bytes; found more"),
    ):
        fetch(server, on_bytes=lambda n, total: most.append(n))
    assert max(most) <= len(CONTENT)
    assert left(path) == []


def test_a_stream_of_which_nothing_is_known_is_stopped_at_the_bound(
    fetch: Fetch, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_MOST_BYTES", 100_000)
    with (
        LocalServer(Answer(content=CONTENT, length=False)) as server,
        pytest.raises(DataError, match="expected 100000 bytes; found more"),
    ):
        fetch(server, n_bytes=None, sha256=None)
    assert left(path) == []


def test_a_stream_that_ends_early_without_saying_so_is_not_taken_for_whole(fetch: Fetch, path: Path) -> None:
    cut = Answer(content=CONTENT, length=False, cut_after=100_000)
    with LocalServer(cut, GOOD) as server:
        fetch(server)
    assert server.ranges == [None, "bytes=100000-"]
    with LocalServer(Answer(content=CONTENT[:1000], length=False)) as server:
        path.unlink()
        with pytest.raises(DataError, match=f"expected {len(CONTENT)} bytes; found 1000"):
            fetch(server, sha256=None)
    assert not path.exists()


@pytest.mark.parametrize(
    "page", [PAGE, b"\xef\xbb\xbf  <HTML>", b"<!-- x -->\n<html>", b" " * 150 + b"<html>"]
)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_web_page_in_the_place_of_the_archive_is_called_one(
    fetch: Fetch,
    path: Path,
    page: bytes,
    chunked: bool,  # noqa: FBT001
) -> None:
    with (
        LocalServer(Answer(content=page, chunked=chunked)) as server,
        pytest.raises(
            DataError, match=r"gave a web page and not the file; .*found HTML that begins .*by hand"
        ),
    ):
        fetch(server, n_bytes=None, sha256=None)
    assert left(path) == []


def test_a_web_page_leaves_the_part_that_came_before_it(fetch: Fetch, path: Path) -> None:
    with LocalServer(CUT, Answer(content=PAGE, ranges=False), GOOD) as server:
        with pytest.raises(DataError, match="web page"):
            fetch(server)
        fetch(server)
    assert server.ranges == [None, "bytes=100000-", "bytes=100000-"]
    assert path.read_bytes() == CONTENT


def test_an_archive_that_is_called_an_encoding_is_stored_as_sent(fetch: Fetch, path: Path) -> None:
    packed = gzip.compress(b"content", mtime=0)
    with LocalServer(Answer(content=packed, headers={"Content-Encoding": "gzip"})) as server:
        fetch(server, n_bytes=len(packed), sha256=hashlib.sha256(packed).hexdigest())
    assert server.asked[0].headers["Accept-Encoding"] == "identity"
    assert path.read_bytes() == packed


# What servers answer


@pytest.mark.parametrize("status", [204, 206, 301, 304, 401, 403, 404, 410, 416])
def test_a_refusal_is_told_at_once(fetch: Fetch, path: Path, waits: list[float], status: int) -> None:
    with LocalServer(Answer(status=status)) as server, pytest.raises(DataError, match=f"found HTTP {status}"):
        fetch(server)
    assert len(server.asked) == 1
    assert waits == []
    assert left(path) == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_refusal_is_waited_for_as_long_as_the_server_asks(
    fetch: Fetch, path: Path, waits: list[float], status: int
) -> None:
    busy = Answer(status=status, headers={"Retry-After": "7"})
    with LocalServer(busy, Answer(status=status), GOOD) as server:
        fetch(server)
    assert waits == [7.0, 2.0]
    assert path.read_bytes() == CONTENT


def test_a_server_that_asks_for_a_time_of_day_is_waited_for(fetch: Fetch, waits: list[float]) -> None:
    def busy(after: float) -> Answer:
        when = format_datetime(datetime.now(UTC) + timedelta(seconds=after), usegmt=True)
        return Answer(status=503, headers={"Retry-After": when})

    with LocalServer(
        busy(60), busy(-60), Answer(status=503, headers={"Retry-After": "soon"}), GOOD
    ) as server:
        fetch(server)
    assert 30 < waits[0] <= 60
    assert waits[1:] == [2.0, 4.0]


def test_a_server_that_asks_for_too_long_is_left(fetch: Fetch, waits: list[float]) -> None:
    with (
        LocalServer(Answer(status=429, headers={"Retry-After": "3600"})) as server,
        pytest.raises(IncompleteError, match=r"HTTP 429 Too Many Requests; run the same command again later"),
    ):
        fetch(server)
    assert waits == []
    assert len(server.asked) == 1


def test_a_server_that_never_recovers_is_left_after_five_tries(fetch: Fetch, waits: list[float]) -> None:
    with LocalServer(Answer(status=503)) as server, pytest.raises(IncompleteError, match="HTTP 503"):
        fetch(server)
    assert len(server.asked) == 5
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_a_server_that_is_not_there_is_told(fetch: Fetch, path: Path, waits: list[float]) -> None:
    with LocalServer(GOOD) as server:
        address = server.address
    with pytest.raises(IncompleteError, match=r"could not be fetched whole; .*Connection refused"):
        fetch(address)
    assert len(waits) == 4
    assert left(path) == []


def test_a_server_that_falls_silent_is_left_after_the_time_for_a_read(
    fetch: Fetch, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_TIMEOUTS", (5.0, 0.1))
    with LocalServer(Answer(content=CONTENT, stall_after=2**16), GOOD) as server:
        fetch(server)
    assert server.ranges == [None, "bytes=65536-"]
    assert path.read_bytes() == CONTENT


# Addresses


@pytest.mark.parametrize(
    "address",
    [
        "http://example.com/a",
        "http://127.0.0.1.example.com/a",
        "http://127.0.0.2/a",
        "http://example.com\\@127.0.0.1/a",
        "http://127.0.0.1@example.com/a",
        "https://user:secret@example.com/a",
        "ftp://example.com/a",
        "file:///etc/passwd",
        "https://",
        "https:///a",
        "https://[::1/a",
        "/etc/passwd",
        "",
    ],
)
def test_an_address_that_is_neither_https_nor_this_machine_is_refused_before_anything_is_sent(
    fetch: Fetch, path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("something was sent")

    monkeypatch.setattr("requests.Session.send", refuse)
    with pytest.raises(UsageError, match=r"nothing is fetched from .*; expected https://HOST"):
        fetch(address)
    assert not path.parent.exists()


@pytest.mark.parametrize("address", ["https://example.com/a", "HTTPS://Example.com", "http://[::1]:80/a"])
def test_https_and_this_machine_are_allowed(address: str) -> None:
    assert addresses.check_address(address)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_followed_with_the_same_range(fetch: Fetch, path: Path, status: int) -> None:
    away = Answer(status=status, headers={"Location": "/elsewhere"}, content=b"moved")
    with LocalServer(CUT, away, GOOD) as server:
        fetch(server)
    assert [one.path for one in server.asked] == ["/archive.tar", "/archive.tar", "/elsewhere"]
    assert server.ranges == [None, "bytes=100000-", "bytes=100000-"]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/a",
        "//example.com/a",
        "ftp://127.0.0.1/a",
        "file:///etc/passwd",
        "http://[::1",
        "http://example.com\\@127.0.0.1/a",
    ],
)
def test_a_redirection_to_an_address_that_is_not_allowed_is_refused_without_connecting(
    fetch: Fetch, path: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str | None] = []
    send = requests.Session.send

    def record(
        session: requests.Session, request: requests.PreparedRequest, **options: object
    ) -> requests.Response:
        sent.append(request.url)
        return send(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", record)
    with (
        LocalServer(Answer(status=302, headers={"Location": location}), GOOD) as server,
        pytest.raises(DataError, match="points to an address that nothing is fetched from; expected https"),
    ):
        fetch(server)
    assert sent == [server.address]
    assert left(path) == []


def test_redirections_that_go_round_are_left(fetch: Fetch) -> None:
    with (
        LocalServer(Answer(status=302, headers={"Location": "/archive.tar"})) as server,
        pytest.raises(DataError, match="points from address to address; expected at most 10"),
    ):
        fetch(server)
    assert len(server.asked) == 11


def test_the_body_of_a_redirection_is_not_read(fetch: Fetch, path: Path) -> None:
    stalled = Answer(status=302, headers={"Location": "/elsewhere"}, content=CONTENT, stall_after=10)
    with LocalServer(stalled, GOOD) as server:
        fetch(server)
        assert not server.leave.is_set()
    assert path.read_bytes() == CONTENT


def test_this_machine_is_reached_without_the_proxy_of_the_environment(
    fetch: Fetch, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with LocalServer(GOOD) as server:
        fetch(server)
    assert path.read_bytes() == CONTENT


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", 300_000) as folder:
        yield folder


def test_a_write_that_the_system_cuts_short_is_told_and_gone_on_with(fetch: Fetch, path: Path) -> None:
    with LocalServer(GOOD) as server:
        with (
            files_of_at_most(100_000),
            pytest.raises(StorageError, match=r"archive\.tar cannot be written; found File too large"),
        ):
            fetch(server)
        assert left(path) == PART
        assert part_of(path).read_bytes() == CONTENT[:100_000]
        fetch(server)
    assert server.ranges == [None, "bytes=100000-"]
    assert path.read_bytes() == CONTENT


def test_a_full_disk_is_told_and_what_came_is_gone_on_with(
    fetch: Fetch, path: Path, small_disk: Path
) -> None:
    place = small_disk / "archive.tar"
    known = {"n_bytes": None, "md5": None, "sha256": SHA256, "on_bytes": lambda n, total: None}
    with LocalServer(GOOD) as server:
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 200_000)
        with pytest.raises(
            StorageError, match=r"archive\.tar cannot be written; found No space left on device"
        ):
            download(server.address, place, **known)  # type: ignore[arg-type]
        assert not place.exists()
        came = part_of(place).read_bytes()
        assert 0 < len(came) < len(CONTENT)
        assert came == CONTENT[: len(came)]
        ballast.unlink()
        download(server.address, place, **known)  # type: ignore[arg-type]
    assert server.ranges == [None, f"bytes={len(came)}-"]
    assert place.read_bytes() == CONTENT


def test_a_disk_that_is_full_only_at_the_last_step_is_told(
    fetch: Fetch, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with LocalServer(GOOD) as server:
        with monkeypatch.context() as patched:
            patched.setattr(download_module, "os", SimpleNamespace(fsync=full, path=os.path))
            with pytest.raises(StorageError, match=r"archive\.tar cannot be written; found No space left"):
                fetch(server)
        assert left(path) == PART
        fetch(server)
    assert server.ranges == [None]
    assert left(path) == ["archive.tar"]


def test_a_folder_that_cannot_be_made_is_told(fetch: Fetch, path: Path) -> None:
    path.parent.write_bytes(b"")
    with LocalServer(GOOD) as server, pytest.raises(StorageError, match=r"archive\.tar cannot be written"):
        fetch(server)
    assert server.asked == []


def test_a_folder_whose_lock_is_removed_while_it_is_taken_is_held_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, n_calls = fcntl.flock, 0

    def late(handle: BinaryIO, kind: int) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 1:  # who had it before lets go between our opening and our taking of it
            Path(handle.name).unlink()
        flock(handle, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    with (
        working_folder(path, "part"),
        pytest.raises(StorageError, match="by another process"),
        working_folder(path, "part"),
    ):
        pass
    assert n_calls == 3


def test_a_share_without_locks_is_used_as_it_is(
    fetch: Fetch, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(handle: object, kind: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with LocalServer(GOOD) as server:
        fetch(server)
    assert left(path) == ["archive.tar"]


def test_a_name_as_long_as_the_system_allows_is_fetched(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)
    with LocalServer(GOOD) as server:
        download(server.address, path, n_bytes=None, md5=None, sha256=SHA256, on_bytes=lambda n, total: None)
    assert path.read_bytes() == CONTENT
