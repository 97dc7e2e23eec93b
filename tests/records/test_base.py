"""What every record promises: frozen, strict, without unknown fields."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from robustbench_safety.records import Condition, Name, RelativePath

CONDITION = Condition(dataset="digits", kind="corruption", name="fog", level=3)


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        CONDITION.level = 4  # type: ignore[misc]  # what is tested


def test_equal_records_are_one_key() -> None:
    again = Condition(dataset="digits", kind="corruption", name="fog", level=3)
    assert {CONDITION: 1}[again] == 1


@pytest.mark.parametrize(
    "change", [{"level": "3"}, {"level": 3.0}, {"level": True}, {"level": None}, {"x": 1}]
)
def test_nothing_is_converted_and_nothing_unknown_taken(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Condition.model_validate({**CONDITION.model_dump(), **change})


@pytest.mark.parametrize("name", ["a", "cifar-10-c", "0", "a_b.c", "a" * 80])
def test_a_name_is_a_slug(name: str) -> None:
    assert TypeAdapter(Name).validate_python(name) == name


@pytest.mark.parametrize("name", ["", "A", ".a", "-a", "_a", "a/b", "a b", "a\n", "ä", "..", "a" * 81])
def test_what_could_leave_a_folder_or_surprise_a_shell_is_no_name(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)


@pytest.mark.parametrize("path", ["", "val", "a/b.npy", "cifar-10-batches-py", "a..b", "..."])
def test_a_relative_path_lies_below_its_folder(path: str) -> None:
    assert TypeAdapter(RelativePath).validate_python(path) == path


@pytest.mark.parametrize("path", ["/a", "..", "../a", "a/../b", "a/..", "~/a", "a\\b", "\\\\host\\a"])
def test_a_path_that_could_leave_its_folder_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="below its folder"):
        TypeAdapter(RelativePath).validate_python(path)
