"""The site of a leaderboard: a folder of pages for any static host, or for no host at all.

Whoever opens ``index.html`` from a disk sees the same as on a server. The same records make the same bytes.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from robustbench_safety.errors import UsageError
from robustbench_safety.files import read_bytes, writes
from robustbench_safety.reporting.filing import file_of
from robustbench_safety.reporting.pages.environment import STATIC
from robustbench_safety.reporting.pages.index_page import index_page
from robustbench_safety.reporting.pages.model_page import model_page, shelf_of
from robustbench_safety.reporting.pages.suite_page import page_name, suite_page
from robustbench_safety.reporting.pages.table_data import json_table
from robustbench_safety.reporting.rows import Board, boards
from robustbench_safety.reporting.tables import csv_table

__all__ = ["LIST", "build_site"]

#: Names every file of the site, so that the next build removes those that are no longer made, and no others.
LIST = ".rbs-site"

_FIRST = "index.html"
_LARGEST = 64 * 2**20
#: A file, or one in a folder: slugs both.
_OURS = re.compile(r"([a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*")
#: Folders of a leaderboard that hold something else.
_TAKEN = ("records", "reported", "tables")


def build_site(leaderboard: Path, site: Path | None = None, *, read: list[Board] | None = None) -> list[Path]:
    """Write every page of a leaderboard and remove those of rows that are gone.

    Each file comes to be whole or not at all. Records are read one at a time.

    Args:
        leaderboard: Folder of records.
        site: Where to; None for ``site`` in the leaderboard. A folder with other files in it is refused.
        read: The leaderboard's boards, where they have been read already.

    Returns:
        The files: the first page first, the others by name.

    Raises:
        UsageError: The folder is not one for a site.
        StorageError: There is no such leaderboard, or a file cannot be written.
        FileFormatError: A record was changed after it was written.
    """
    site = site or leaderboard / "site"
    _check_folder(leaderboard, site)
    shown = boards(leaderboard) if read is None else read
    names = sorted(_names(shown), key=lambda name: (name != _FIRST, name))
    old = _listed(site)
    # What is about to be written is listed first: a build that ends half-way leaves nothing unknown behind.
    _write(site / LIST, _list_of({*old, *names}))
    for name, content in _files(shown):
        _write(site / name, content)
    for name in sorted(old - set(names)):
        _remove(site, name)
    _write(site / LIST, _list_of(names))
    return [site / name for name in names]


def _names(shown: list[Board]) -> Iterator[str]:
    """Yield the name of every file that :func:`_files` makes."""
    yield from (_FIRST, *(f"static/{path.name}" for path in _static()))
    for board in shown:
        suite = board.suite.name
        yield from (f"{suite}/index.html", f"{suite}/{suite}.csv", f"{suite}/{suite}.json")
        for row in board.rows:
            yield from (f"{suite}/{page_name(row)}", f"{suite}/{row.path.name}")


def _files(shown: list[Board]) -> Iterator[tuple[str, bytes]]:
    yield _FIRST, index_page(shown).encode()
    for path in _static():
        yield f"static/{path.name}", path.read_bytes()
    for board in shown:
        suite = board.suite.name
        yield f"{suite}/index.html", suite_page(board).encode()
        yield f"{suite}/{suite}.csv", csv_table(board).encode()
        yield f"{suite}/{suite}.json", json_table(board).encode()
        shelf = shelf_of(board)
        for row in board.rows:
            yield f"{suite}/{row.path.name}", read_bytes(row.path, largest=_LARGEST)
            filed = file_of(row.path, known_digest=row.digest)
            yield f"{suite}/{page_name(row)}", model_page(filed, row, shelf).encode()


def _static() -> list[Path]:
    return sorted(path for path in STATIC.iterdir() if path.suffix in (".css", ".js"))


def _check_folder(leaderboard: Path, site: Path) -> None:
    """Refuse a folder whose files this build could overwrite or later remove."""
    place = site.resolve()
    for name in _TAKEN:
        taken = (leaderboard / name).resolve()
        if place == taken or taken in place.parents:
            raise UsageError(
                f"{site} is for {name} of the leaderboard", fix="name another folder with --site"
            )
    if not site.exists() or (site / LIST).is_file():
        return
    if not site.is_dir():
        raise UsageError(f"{site} is no folder", expected="a folder for the site")
    # What begins with a dot is nobody's page: the .git of a branch that is published.
    if others := sorted(path.name for path in site.iterdir() if not path.name.startswith(".")):
        raise UsageError(
            f"{site} holds files that are not of a site made here",
            expected="a new or empty folder",
            found=", ".join(others[:3]) + (" ..." if len(others) > 3 else ""),
            fix="name another folder with --site",
        )


def _listed(site: Path) -> set[str]:
    """Return the files that an earlier build has listed, as far as such a name can be one of ours."""
    path = site / LIST
    if not path.is_file():
        return set()
    names = read_bytes(path, largest=_LARGEST).decode(errors="replace").splitlines()
    return {name for name in names if _OURS.fullmatch(name)}


def _list_of(names: set[str] | list[str]) -> bytes:
    return "".join(f"{name}\n" for name in sorted(names)).encode()


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; unlike a record, a page is made again where the machine fails."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with writes(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
    finally:
        with suppress(OSError):  # it never came to be, or the error under way says why it stays
            temporary.unlink(missing_ok=True)


def _remove(site: Path, name: str) -> None:
    path = site / name
    with writes(path):
        path.unlink(missing_ok=True)
        if path.parent != site and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
