"""YAML without surprises: what scalars mean, and what is refused, with its line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_safety.errors import FileFormatError
from robustbench_safety.files.yaml_text import dump_yaml, parse_yaml

PATH = Path("some.yaml")


def parsed(text: str | bytes) -> object:
    return parse_yaml(PATH, text.encode() if isinstance(text, str) else text)[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-12", -12),
        ("999999999999999999", 999999999999999999),
        ("1.5", 1.5),
        ("1e-3", 0.001),
        ("-2.5E+2", -250.0),
        (".5", 0.5),
        ("'1'", "1"),
        ('"null"', "null"),
    ],
)
def test_a_scalar_is_null_true_false_a_decimal_number_or_text(text: str, value: object) -> None:
    found = parsed(f"key: {text}")
    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "yes",
        "on",
        "off",
        "010",
        "0o10",
        "0x1f",
        "1_000",
        "1:30",
        "2020-01-01",
        "2020-02-30",
        ".inf",
        ".nan",
        "1.5.0",
        "e5",
        "=",
        "9" * 19,
        "9" * 5000,
    ],
)
def test_what_yaml_1_1_would_turn_into_something_else_stays_text(text: str) -> None:
    assert parsed(f"key: {text}") == {"key": text}


def test_keys_are_text_as_they_are_written() -> None:
    assert parsed("1: a\nno: b\nnull: c") == {"1": "a", "no": "b", "null": "c"}


def test_the_line_of_every_field_and_list_item_is_known() -> None:
    data, lines = parse_yaml(PATH, b"# note\na:\n  b: [x,\n      y]\nc:\n  - d: 1\n  - d:\n      2\n")
    assert data == {"a": {"b": ["x", "y"]}, "c": [{"d": 1}, {"d": 2}]}
    assert lines["a",] == 2
    assert lines["a", "b"] == 3
    assert lines["a", "b", 1] == 4
    assert lines["c", 0] == lines["c", 0, "d"] == 6
    assert lines["c", 1] == lines["c", 1, "d"] == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: key 'a' is written twice; keep one of them"),
        ("a: {x: 1, x: 1}", "line 1: key 'x' is written twice"),
        ("a: &b 1\nc: *b", "line 1: anchors and aliases are not allowed; write the value out"),
        ("a: [1]\nb: *a", "line 2: anchors and aliases are not allowed"),
        ("a: !!python/object/apply:os.system ['true']", "line 1: tags are not allowed"),
        ("a: !!str 1", "line 1: tags are not allowed"),
        ("a: 1\n---\nb: 2", "line 2: a second document begins"),
        ("? [a, b]\n: 1", "line 1: a key is a list or a mapping"),
        ("a: [1", "line 2, is not valid YAML; found did not find expected"),
        ("a: 1\nb: c: d", "line 2, is not valid YAML; found mapping values are not allowed"),
        ("a:\n\t- 1", "line 2, is not valid YAML; found "),
        (b"a: \xff\xfe", "is not valid YAML; found "),
        (b"\x00\x01\x02", "is not valid YAML; found "),
        ("\x07", "is not valid YAML; found "),
    ],
)
def test_what_is_refused_is_named_with_its_line(text: str | bytes, message: str) -> None:
    with pytest.raises(FileFormatError) as raised:
        parsed(text)
    assert str(raised.value).startswith("some.yaml")
    assert message in str(raised.value)


@pytest.mark.parametrize("bracket", ["[", "{a: ", "- ", "? "])
def test_endless_nesting_is_refused_at_once(bracket: str) -> None:
    started = time.perf_counter()
    with pytest.raises(
        FileFormatError, match=r"nested more than 20 deep|a key is a list|maximum nesting depth"
    ):
        parsed(bracket * 1_000_000)
    assert time.perf_counter() - started < 10


def test_nesting_as_deep_as_a_manifest_s_is_no_trouble() -> None:
    assert parsed("[" * 20 + "]" * 20) is not None


@given(st.binary(max_size=40) | st.text("ab:-[]{}&*!?|>'\"#\n 01.,~", max_size=40).map(str.encode))
def test_any_bytes_give_plain_data_or_our_error(text: bytes) -> None:
    try:
        data = parsed(text)
    except FileFormatError:
        return
    assert data is None or isinstance(data, str | int | float | bool | list | dict)


# ------------------------------------------------------------------------------------------ writing

#: What a reader of YAML, ours or another, could take for something else than text.
HARD = [
    "", " ", "0", "-1", "+1", "010", "0x1f", "0o17", "1e3", "1E3", ".5", "5.", "1.0", "-.5e-3", "1_000",
    "1:30", "no", "No", "NO", "yes", "on", "off", "y", "n", "null", "Null", "NULL", "~", "true", "False",
    ".inf", ".NaN", "inf", "2020-01-01", " a", "a ", "a: b", "a:", ":a", "a #x", "#x", "- a", "-", "?", "? a",
    "*a", "&a", "!a", "!!str 1", "%a", "@a", "`a", "|", ">", "[a", "{a", "a]", "a, b", "'a'", '"a"', "it's",
    "a\nb", "a\n", "\na", "\n", "a\n\nb\n", "\ta", "a\tb", "a\r\nb", "\r", "---", "--- a", "...", "<<", "=",
    "\\", "a\\nb", "\u00e9", "\u4e2d\u6587", "\U0001f600", "\x00", "\x07", "\x7f", "\u2028", "\u2029",
    "\ufeff", "x" * 300, "word " * 60, "a" + " " * 120 + "b", "9" * 19, "1" * 18,
]  # fmt: skip


@pytest.mark.parametrize("text", HARD)
def test_text_that_looks_like_something_else_comes_back_as_text(text: str) -> None:
    for data in ({"key": text}, [text], {"a": {"b": [text, text]}}, {"key": [{"k": text}]}):
        assert parsed(dump_yaml(data)) == data


@pytest.mark.parametrize("key", [key for key in HARD if len(key) < 100])
def test_a_key_that_looks_like_something_else_comes_back_as_it_was(key: str) -> None:
    assert parsed(dump_yaml({key: 1, "other": {key: "x"}})) == {key: 1, "other": {key: "x"}}


characters = st.characters(codec="utf-8")
texts = (
    st.text(characters, max_size=30)
    | st.sampled_from(HARD)
    | st.text("0123456789.eE+-_: #\n'\"a", max_size=8)
)
numbers = st.integers(-(10**18) + 1, 10**18 - 1) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    texts | numbers | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=plain)
def test_plain_data_come_back_as_they_were(data: object) -> None:
    found = parsed(dump_yaml(data))
    assert found == data
    assert repr(found) == repr(data), "a whole number is no float, and true is no 1"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=texts)
def test_another_reader_of_yaml_finds_the_same_text(text: str) -> None:
    assert yaml.safe_load(dump_yaml({"key": text})) == {"key": text}


def test_fields_stand_in_their_own_order_and_equal_ones_are_written_out() -> None:
    shared = ["x"]
    assert dump_yaml({"b": shared, "a": shared}) == "b:\n- x\na:\n- x\n"


def test_text_is_written_plainly_where_it_can_be() -> None:
    text = dump_yaml({"name": "mine", "title": "Caf\u00e9", "n": 3, "none": None, "yes": True, "x": "no"})
    assert text == "name: mine\ntitle: Caf\u00e9\nn: 3\nnone: null\n'yes': true\nx: 'no'\n"
