"""Canonical JSON and its digest: literal values, so that no change goes unseen."""

from __future__ import annotations

import pytest

from robustbench_safety.files import canonical_json, digest_of
from robustbench_safety.records import Condition

CONDITION = Condition(dataset="digits", kind="corruption", name="fog", level=3)


def test_the_canonical_text_of_a_value_is_fixed_to_the_byte() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"é": "\n"}, "c": 1e-7}
    assert canonical_json(value) == '{"a":{"é":"\\n"},"b":[1,2.5,null,true],"c":1e-07}'.encode()


def test_a_record_is_written_as_its_fields() -> None:
    assert canonical_json(CONDITION) == b'{"dataset":"digits","kind":"corruption","level":3,"name":"fog"}'


def test_digests_of_literal_values_never_change() -> None:
    # printf '{"a":1}' | sha256sum, and so on
    assert digest_of({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert digest_of([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
    assert digest_of(CONDITION) == "2e56f06b5b54442c95cd1925296b4087a73524c85c1a6ef323fae10e0b747268"


def test_the_order_of_keys_does_not_matter_and_that_of_lists_does() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of([1, 2]) != digest_of([2, 1])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": value})
