"""The folder of a site: the same bytes each time, nothing half-written, nothing of others touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.cli.app import run
from robustbench_safety.errors import StorageError, UsageError
from robustbench_safety.reporting.filing import Filed
from robustbench_safety.reporting.leaderboard import build_tables
from robustbench_safety.reporting.pages.model_page import Shelf, model_page
from robustbench_safety.reporting.pages.site import LIST, build_site
from robustbench_safety.reporting.rows import Row
from tests.leaderboards import HOSTILE, file, file_hostile


@pytest.fixture
def leaderboard(tmp_path: Path) -> Path:
    folder = tmp_path / "leaderboard"
    file(folder, "first", scores={"corruptions": 0.1})
    file(folder, "second", scores={"corruptions": 0.2})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_site_has_a_page_for_each_suite_and_row_and_their_downloads(leaderboard: Path) -> None:
    files = build_site(leaderboard)
    site = leaderboard / "site"
    names = [str(path.relative_to(site)) for path in files]
    records = sorted(path.name for path in leaderboard.glob("records/*/*.json"))
    suite = "digits-safety"
    assert set(names) >= {"index.html", "static/site.css", "static/site.js", f"{suite}/index.html"}
    assert sorted(name for name in names if "--" in name) == sorted(
        f"{suite}/{name.removesuffix('.json')}{ending}" for name in records for ending in (".json", ".html")
    )
    assert all(path.is_file() for path in files)
    for name in records:
        assert (site / suite / name).read_bytes() == (leaderboard / "records" / suite / name).read_bytes()


def test_the_csv_beside_a_page_is_that_of_the_tables(leaderboard: Path) -> None:
    build_tables(leaderboard)
    build_site(leaderboard)
    table = leaderboard / "tables" / "digits-safety.csv"
    assert (leaderboard / "site" / "digits-safety" / table.name).read_bytes() == table.read_bytes()


def test_the_same_records_make_the_same_bytes_wherever_they_lie(leaderboard: Path, tmp_path: Path) -> None:
    build_site(leaderboard)
    first = contents(leaderboard / "site")
    build_site(leaderboard)
    assert contents(leaderboard / "site") == first
    moved = leaderboard.rename(tmp_path / "elsewhere")
    build_site(moved, tmp_path / "other")
    assert contents(tmp_path / "other") == first
    assert str(tmp_path).encode() not in b"".join(first.values())


def test_pages_of_rows_that_are_gone_are_removed_and_files_of_others_are_not(leaderboard: Path) -> None:
    build_site(leaderboard)
    site = leaderboard / "site"
    own = site / "digits-safety" / "my notes.txt"
    own.write_text("mine")
    gone = next(leaderboard.glob("records/*/second--*.json"))
    gone.unlink()
    build_site(leaderboard)
    assert not list(site.rglob("second--*"))
    assert list(site.rglob("first--*.html"))
    assert own.read_text() == "mine"
    for path in leaderboard.glob("records/*/*.json"):
        path.unlink()
    own.unlink()
    build_site(leaderboard)
    assert not (site / "digits-safety").exists()
    assert b"There is no record yet" in (site / "index.html").read_bytes()


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(leaderboard: Path, tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "index.html").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis holds files .* found index\.html; name another folder"):
        build_site(leaderboard, folder)
    assert contents(folder) == {"index.html": b"mine"}
    for name in ("records", "tables", "reported/site", "records/digits-safety"):
        with pytest.raises(UsageError, match="of the leaderboard"):
            build_site(leaderboard, leaderboard / name)
    with pytest.raises(UsageError, match="holds files"):
        build_site(leaderboard, leaderboard)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="no folder"):
        build_site(leaderboard, tmp_path / "file")


def test_a_published_branch_with_its_git_folder_can_be_built_into(leaderboard: Path, tmp_path: Path) -> None:
    (tmp_path / "pages" / ".git").mkdir(parents=True)
    build_site(leaderboard, tmp_path / "pages")
    assert (tmp_path / "pages" / "index.html").is_file()


def test_an_interrupted_build_leaves_whole_files_and_the_next_one_cleans_up(
    leaderboard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_site(leaderboard)
    site = leaderboard / "site"
    before = contents(site)
    third = file(leaderboard, "third", scores={"corruptions": 0.3})
    fourth = file(leaderboard, "fourth", scores={"corruptions": 0.4})

    def stopped(filed: Filed, row: Row, shelf: Shelf) -> str:
        if "fourth" in filed.path.name:
            raise KeyboardInterrupt
        return model_page(filed, row, shelf)

    monkeypatch.setattr("robustbench_safety.reporting.pages.site.model_page", stopped)
    with pytest.raises(KeyboardInterrupt):
        build_site(leaderboard)
    assert not list(site.rglob("*.part"))
    assert list(site.rglob("third--*.html"))
    for page in site.rglob("*.html"):
        assert page.read_text().endswith("</html>\n")
    monkeypatch.undo()
    third.unlink()
    fourth.unlink()
    build_site(leaderboard)
    assert contents(site) == before


def test_no_list_of_files_leads_out_of_the_site(leaderboard: Path, tmp_path: Path) -> None:
    build_site(leaderboard)
    site = leaderboard / "site"
    (tmp_path / "precious").write_text("1")
    (leaderboard / "precious").write_text("2")
    listed = (site / LIST).read_text()
    (site / LIST).write_text(
        f"{listed}../precious\n../../precious\n{tmp_path}/precious\n/etc/passwd\n..\n\n.\n"
    )
    build_site(leaderboard)
    assert (tmp_path / "precious").read_text() == "1"
    assert (leaderboard / "precious").read_text() == "2"
    assert (site / LIST).read_text() == listed


def test_names_never_become_paths(tmp_path: Path) -> None:
    file_hostile(tmp_path / "leaderboard")
    files = build_site(tmp_path / "leaderboard", tmp_path / "deep" / "site")
    assert len([path for path in files if "--" in path.name]) == 2 * len(HOSTILE)
    assert {path.parent.name for path in files} == {"site", "static", "digits-safety"}
    assert all(path.name.isascii() and len(path.name) < 120 for path in files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "leaderboard"]


def test_a_folder_without_records_has_no_site(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not a leaderboard"):
        build_site(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_site_that_cannot_be_written_is_an_error_that_names_the_file(
    leaderboard: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        build_site(leaderboard, tmp_path / "file" / "site")


def test_the_command_makes_tables_and_site(
    leaderboard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--leaderboard", str(leaderboard)]
    assert run(["leaderboard", "build", *folder, "--no-site"]) == 0
    assert (leaderboard / "tables" / "digits-safety.md").is_file()
    assert not (leaderboard / "site").exists()
    assert run(["leaderboard", "build", *folder]) == 0
    assert "site/index.html and 10 more files" in capsys.readouterr().out.replace("\n", "")
    assert (leaderboard / "site" / "index.html").is_file()
    assert run(["leaderboard", "build", *folder, "--site", str(tmp_path / "other")]) == 0
    assert contents(tmp_path / "other") == contents(leaderboard / "site")
    assert run(["leaderboard", "build", *folder, "--site", str(tmp_path), "--no-site"]) == 2
    assert "one of the two" in capsys.readouterr().err
    assert run(["leaderboard", "build", *folder, "--site", str(tmp_path)]) == 2
    assert "holds files that are not of a site" in capsys.readouterr().err


def test_no_name_steers_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file_hostile(tmp_path)
    assert run(["leaderboard", "show", "--leaderboard", str(tmp_path)]) == 0
    assert run(["leaderboard", "build", "--leaderboard", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "[bold red]x[/]" in out
    table = (tmp_path / "tables" / "digits-safety.csv").read_text()
    assert "\n=1+1" not in table
    assert "'=1+1" in table
