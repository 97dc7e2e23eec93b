"""``rbs report``: one record as a page in one file, and its figures as PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robustbench_safety.errors import FileFormatError, UsageError
from robustbench_safety.files import atomic_path, write_bytes
from robustbench_safety.reporting.filing import Filed, file_of, record_path
from robustbench_safety.reporting.pages.model_page import Shelf, report_page, shelf_of
from robustbench_safety.reporting.rows import Row, boards
from robustbench_safety.reporting.shipped import shipped_suite

__all__ = ["Report", "figures_folder", "leaderboard_around", "read_report", "write_report"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A record with what it is shown among."""

    filed: Filed
    row: Row | None
    """Its row, where it lies on the leaderboard and is not superseded."""
    shelf: Shelf
    leaderboard: Path | None
    """The leaderboard that it is shown on."""


def leaderboard_around(path: Path) -> Path | None:
    """Return the leaderboard that a record lies in, None for a file that lies elsewhere.

    Example:
        >>> leaderboard_around(Path("/a/leaderboard/records/cifar10-clean/mine--0123abcd.json")).name
        'leaderboard'
        >>> leaderboard_around(Path("/a/mine.json")) is None
        True
    """
    records = path.absolute().parent.parent
    return records.parent if records.name == "records" else None


def figures_folder(out: Path) -> Path:
    """Return the folder of figures beside a page.

    Example:
        >>> figures_folder(Path("to/report.html")).as_posix()
        'to/report_figures'
    """
    return out.with_name(f"{out.stem}_figures")


def read_report(path: Path, *, leaderboard: Path | None) -> Report:
    """Read a record and the leaderboard that it is shown on.

    Args:
        path: Of the record.
        leaderboard: The folder; None for the one that the record lies in, or for none.

    Raises:
        UsageError: ``path`` is a folder.
        StorageError: There is no such record or leaderboard.
        FileFormatError: It is no record, or one that lies in a leaderboard and was changed.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", expected="a record, a file that ends in .json")
    filed = file_of(path)
    around = leaderboard_around(path)
    if around is not None:
        expected = record_path(around, filed.record, digest=filed.digest)
        if path.name != expected.name or path.absolute().parent.name != expected.parent.name:
            raise FileFormatError(
                f"{path} was changed after it was written",
                expected=f"the file name {expected.parent.name}/{expected.name} for this content",
                found=f"{path.absolute().parent.name}/{path.name}",
                fix="restore it; to report on a record that is not filed, copy it out of records/",
            )
    shown = leaderboard or around
    if shown is None:
        why = "no leaderboard was named, and the record lies in none."
        return Report(filed=filed, row=None, shelf=_alone(filed, why), leaderboard=None)
    name = filed.record.suite.name
    board = next((one for one in boards(shown) if one.suite.name == name), None)
    if board is None:
        shelf = _alone(filed, f"the leaderboard has no row on {name}.")
        return Report(filed=filed, row=None, shelf=shelf, leaderboard=shown)
    row = next((one for one in board.rows if one.digest == filed.digest), None)
    return Report(filed=filed, row=row, shelf=shelf_of(board), leaderboard=shown)


def _alone(filed: Filed, why: str) -> Shelf:
    return Shelf(board=None, field=None, suite=shipped_suite(filed.record.suite), why_alone=why)


def write_report(report: Report, out: Path, *, png: Path | None) -> list[Path]:
    """Write the page, and the figures where a folder is named. Everything is drawn before a file is written.

    Args:
        report: What to show.
        out: File of the page.
        png: Folder of the figures; None for no figures.

    Returns:
        The files, the page first.

    Raises:
        UsageError: ``out`` is the record itself, lies among records or is a folder, or ``png`` is a file.
        StorageError: They cannot be written.
        ModuleNotFoundError: Figures are wanted and matplotlib is not installed.
    """
    _check_places(report, out, png)
    filed, row, shelf = report.filed, report.row, report.shelf
    page = report_page(filed.record, filed.digest, row, shelf).encode()
    figures: dict[str, bytes] = {}
    if png is not None:
        from robustbench_safety.reporting.figures.drawing import figures_of

        same = shelf.board is not None and filed.record.suite == shelf.board.suite
        field = shelf.field if same else None
        suite = shelf.suite if same or shelf.board is None else None
        figures = figures_of(filed.record, row, field, suite)
    written = [out]
    # The page comes to its place last: where that or a figure cannot be written there is no page.
    with atomic_path(out) as temporary:
        temporary.write_bytes(page)
        for name, content in figures.items():
            written.append((png or out.parent) / name)
            write_bytes(written[-1], content)
    return written


def _check_places(report: Report, out: Path, png: Path | None) -> None:
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder", expected="the name of a file, e.g. report.html")
    if out.resolve() == report.filed.path.resolve() or (out.exists() and out.samefile(report.filed.path)):
        raise UsageError(f"--out {out} is the record itself", fix="name another file")
    if png is not None and png.exists() and not png.is_dir():
        raise UsageError(f"--png {png} is a file", expected="a folder for the figures")
    if report.leaderboard is not None and (report.leaderboard / "records").resolve() in out.resolve().parents:
        raise UsageError(f"--out {out} lies among the records", fix="name a file elsewhere")
    if out.suffix not in (".html", ".htm"):
        # A record, a companion, a picture: what is there already would be lost.
        found = out.suffix or "no ending"
        raise UsageError(f"--out {out}", expected="a name that ends in .html", found=found)
