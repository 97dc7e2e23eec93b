"""Where two plain values differ, field by field."""

from __future__ import annotations

from robustbench_safety.files import differences


def test_equal_values_do_not_differ() -> None:
    assert list(differences({"a": {"b": [1]}}, {"a": {"b": [1]}})) == []


def test_every_difference_is_named_by_its_path_in_sorted_order() -> None:
    found = {"z": 1, "a": {"same": 0, "b": {"c": 1}}, "only-here": 5}
    expected = {"z": 2, "a": {"same": 0, "b": {"c": 2}}, "only-there": None, "list": [1]}
    assert list(differences(found, expected)) == [
        ("a.b.c", 1, 2),
        ("list", None, [1]),
        ("only-here", 5, None),
        ("z", 1, 2),
    ]


def test_a_mapping_against_another_kind_of_value_is_one_difference() -> None:
    assert list(differences({"a": {"b": 1}}, {"a": None})) == [("a", {"b": 1}, None)]
