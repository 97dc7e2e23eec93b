"""The tree of exceptions, and what each says."""

from __future__ import annotations

import pickle
import re

import pytest

from robustbench_safety import errors
from robustbench_safety.errors import (
    IncompleteError,
    RobustbenchSafetyError,
    UnknownNameError,
    UsageError,
)

TREE = sorted(set(errors.__all__) - {"RobustbenchSafetyError"})


def test_the_tree_drawn_in_the_docstring_is_the_tree_of_classes() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == TREE
    assert all(getattr(errors, name).__bases__ == (RobustbenchSafetyError,) for name in drawn)


def test_an_error_tells_its_four_parts_in_one_line() -> None:
    error = UsageError("--limit", expected="at least 1", found="0", fix="leave it out")
    assert str(error) == "--limit; expected at least 1; found 0; leave it out"


def test_parts_that_are_not_given_are_not_mentioned() -> None:
    assert str(UsageError("--limit")) == "--limit"


@pytest.mark.parametrize("name", TREE)
def test_an_error_from_another_process_keeps_its_parts(name: str) -> None:
    error = getattr(errors, name)("a", expected="b", found="c", fix="d")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error) == "a; expected b; found c; d"


def test_an_interrupted_run_alone_ends_with_exit_code_3() -> None:
    codes = {name: getattr(errors, name).exit_code for name in TREE}
    assert codes.pop("IncompleteError") == IncompleteError.exit_code == 3
    assert set(codes.values()) == {2}


def test_an_unknown_name_shows_the_near_ones() -> None:
    error = UnknownNameError.among("dataset", "cifar10", ["cifar-10", "cifar-100", "digits"], fix="list them")
    assert error.what == "unknown dataset 'cifar10'"
    assert error.expected.startswith("one like cifar-10")
    assert "digits" not in error.expected
    assert error.fix == "list them"


def test_near_names_are_found_whatever_the_case_and_shown_as_they_are() -> None:
    assert UnknownNameError.among("model", "vit-b-32", ["ViT-B-32"]).expected == "one like ViT-B-32"
    assert UnknownNameError.among("model", "RESNET", ["resnet"]).expected == "one like resnet"


def test_a_part_of_a_name_is_near_it_and_its_beginning_nearer() -> None:
    names = ["jpeg_compression", "motion_blur", "pixelate", "blurred_and_turned_upside_down"]
    assert UnknownNameError.among("corruption", "jpeg", names).expected == "one like jpeg_compression"
    assert UnknownNameError.among("corruption", "blur", names).expected == (
        "one like blurred_and_turned_upside_down, motion_blur"
    )
    assert UnknownNameError.among("corruption", "upside", names).expected.startswith("one like blurred_and_")
    # Another spelling goes before a longer name that happens to hold what was typed.
    longer = ["cifar-10", "openood-cifar10-tin"]
    assert UnknownNameError.among("dataset", "cifar10", longer).expected.startswith("one like cifar-10, ")
    # Two letters are in too many names to say anything.
    assert UnknownNameError.among("corruption", "el", names).expected.startswith("one of ")


def test_an_unknown_name_without_near_ones_shows_the_first_and_how_many_more() -> None:
    known = [f"{n:03d}" for n in range(25)]
    expected = UnknownNameError.among("suite", "zzzz", known).expected
    assert expected.startswith("one of 000, 001, ")
    assert expected.endswith("019 and 5 more")


def test_an_unknown_name_among_none_says_that_there_is_none() -> None:
    assert UnknownNameError.among("class subset", "a", []).expected == "a class subset, and there is none"
