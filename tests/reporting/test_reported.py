"""Papers' numbers: each has a source and a certainty, stands in a column that exists, and is never ranked."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from robustbench_safety.errors import FileFormatError, UnknownNameError
from robustbench_safety.reporting.reported import read_reported, reported_rows
from robustbench_safety.reporting.rows import boards
from robustbench_safety.reporting.tables import csv_table, markdown_table
from tests.conftest import REPOSITORY

TABLE = """\
name: paper
title: T
suite: cifar10-safety
source: A paper, 2022
note: other sets
rows:
  - name: "Mine | <b>"
    model: WRN-40-4
    scores:
      corruptions: {value: 9.5, certainty: recalled}
      clean_error: {value: 4.04, certainty: verified, source: a page}
"""


def board_text(folder: Path, text: str = TABLE) -> tuple[str, str]:
    (folder / "records").mkdir(exist_ok=True)
    (folder / "reported").mkdir(exist_ok=True)
    (folder / "reported" / "paper.yaml").write_text(text)
    (board,) = boards(folder)
    assert board.rows == ()
    return csv_table(board), markdown_table(board)


def test_a_reported_row_shows_its_numbers_as_printed_and_says_what_is_recalled(tmp_path: Path) -> None:
    text, markdown = board_text(tmp_path)
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["kind"], row["corruptions"], row["clean_error"]) == ("reported", "9.5", "4.04")
    assert row["source"] == "A paper, 2022; a page; recalled, not verified: corruptions; other sets"
    assert row["corruptions_best_rank"] == row["consistency"] == ""
    assert "*9.5‡*" in markdown
    assert "*4.04*" in markdown
    assert "‡ recalled, and not verified in its source" in markdown
    assert "Mine \\| \\<b\\>" in markdown


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("corruptions:", "corruption:"), UnknownNameError, "expected one like corruptions"),
        (
            ("cifar10-safety", "cifar10-safty"),
            UnknownNameError,
            r"paper\.yaml: unknown suite",
        ),
        (("9.5", "109.5"), FileFormatError, "expected percent, as the tables show it, from 0 to 100"),
        (("9.5", "-9.5"), FileFormatError, "expected percent"),
        (("recalled", "sure"), FileFormatError, "certainty"),
        (("name: paper", "name: other"), FileFormatError, "expected paper; found other"),
        (("value: 9.5, ", ""), FileFormatError, "value"),
        (("certainty: recalled", "certainty: recalled, n: 3"), FileFormatError, "n"),
    ],
)
def test_a_table_with_a_mistake_is_refused_with_the_place(
    tmp_path: Path, change: tuple[str, str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        board_text(tmp_path, TABLE.replace(*change))


@pytest.mark.parametrize(("column", "value"), [("corruptions", 150.0), ("relative_mce", -3.0)])
def test_what_is_divided_by_a_baseline_may_lie_beyond_100_and_a_difference_below_0(
    tmp_path: Path, column: str, value: float
) -> None:
    own = TABLE.replace("cifar10-safety", "imagenet-safety").replace("corruptions", column)
    text, _ = board_text(tmp_path, own.replace("9.5", str(value)))
    (row,) = csv.DictReader(io.StringIO(text))
    assert float(row[column]) == value


def test_a_table_that_nothing_would_read_is_refused(tmp_path: Path) -> None:
    board_text(tmp_path)
    (tmp_path / "reported" / "paper.yaml").rename(tmp_path / "reported" / "paper.yml")
    with pytest.raises(FileFormatError, match=r"paper\.yml; expected a name that ends in \.yaml"):
        boards(tmp_path)


def test_every_committed_number_has_a_source_and_a_certainty() -> None:
    tables = read_reported(REPOSITORY / "leaderboard")
    assert len(tables) > 10
    for row in reported_rows(tables):
        for score in row.scores.values():
            assert score.source
            assert score.certainty in ("verified", "recalled")


def test_figures_that_are_known_from_two_sources_agree() -> None:
    """ResNet-50's mCE after a resize is 78.20 in the testbed's file and 78.2 in PixMix's table."""
    rows = reported_rows(read_reported(REPOSITORY / "leaderboard"))
    standard = [row for row in rows if row.model == "ResNet-50" and row.name in ("ResNet-50", "Baseline")]
    values = {round(row.scores["corruptions"].value, 1) for row in standard if "corruptions" in row.scores}
    assert values == {78.2}
