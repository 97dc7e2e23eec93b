"""Tolerances from a file and from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.errors import FileFormatError, StorageError, UsageError
from robustbench_safety.files import read_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.gate.tolerances import read_tolerances, tolerances_in_units
from tests.reporting.gate.committed import plain, record_of


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("corruptions: 0.5\nanomaly: 1\n")
    assert read_tolerances(file, ["anomaly=2.5"]) == {"corruptions": 0.5, "anomaly": 2.5}
    assert read_tolerances(None) == {}


def test_points_are_hundredths_and_other_units_are_as_they_are() -> None:
    record = read_json(record_of("cifar10-clean", "cifar:resnet20"), ScoreRecord)
    found = tolerances_in_units({"clean_error": 0.5, "nll": 0.02, "brier": 0.01}, record)
    assert found["clean_error"] == pytest.approx(0.005)
    assert (found["nll"], found["brier"], found["rms"]) == (0.02, 0.01, 0.0)


def test_any_drop_counts_where_no_tolerance_is_given() -> None:
    assert set(tolerances_in_units({}, read_json(plain(), ScoreRecord)).values()) == {0.0}


@pytest.mark.parametrize(
    "text",
    [
        "corruptions: -1\n",
        "corruptions: .nan\n",
        "corruptions: .inf\n",
        "corruptions: '1'\n",
        "[1]\n",
        "corruptions: {a: 1}\n",
        "Corruptions!: 1\n",
        "corruptions: 1\ncorruptions: 2\n",
        "a: &x 1\nb: *x\n",
        "",
    ],
)
def test_a_file_that_holds_no_tolerances_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    with pytest.raises(FileFormatError, match=r"t\.yaml"):
        read_tolerances(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        read_tolerances(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["corruptions", "=1", "corruptions=", "corruptions=much", "corruptions=1=2"])
def test_what_is_no_column_and_number_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--tolerance"):
        read_tolerances(None, [text])


def test_two_tolerances_of_one_column_are_refused() -> None:
    with pytest.raises(UsageError, match="one tolerance a column"):
        read_tolerances(None, ["a=1", "a=2"])
