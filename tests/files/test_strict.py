"""Strict reading: a wrong file is told by file, line, field, expected, found and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.errors import FileFormatError, StorageError
from robustbench_safety.files import read_json, read_yaml, write_json, yaml_fields
from robustbench_safety.records import Condition, DatasetManifest, ModelFile, ScoreRecord, Suite

MANIFEST = """\
name: mine
version: 1
title: My images
role: clean
layout:
  type: npy
  images: images.npy
  labels: labels.npy
conditions:
  - {kind: clean, names: [clean], levels: [0]}
label_space: digits
samples: 10
licence: none
citation: none
"""

SUITE = """\
name: mine
version: 1
title: My suite
label_space: digits
seed: 0
cells:
  - {id: error, dataset: digits, metric: error_rate}
  - id: pgd
    dataset: digits
    metric: error_rate
    attack: {name: pgd, norm: linf, eps: 2/255, steps: 20, step: 0.5/255}
columns: [error]
"""


def refusal(tmp_path: Path, text: str | bytes, record: type[DatasetManifest | Suite | ModelFile]) -> str:
    path = tmp_path / "some.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(FileFormatError) as raised:
        read_yaml(path, record)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert raised.value.fix
    return message.removeprefix(str(path))


def test_a_right_manifest_and_a_right_suite_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MANIFEST)
    (tmp_path / "b.yaml").write_text(SUITE)
    assert read_yaml(tmp_path / "a.yaml", DatasetManifest).samples == 10
    assert read_yaml(tmp_path / "b.yaml", Suite).cells[1].id == "pgd"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("samples: 10", "smaples: 10", ", line 12: smaples is an unknown field; expected one like samples"),
        ("samples: 10\n", "", ": samples is missing; found only name, version"),
        ("samples: 10", "samples: ten", ', line 12: samples is wrong; expected a valid integer; found "ten"'),
        ("samples: 10", "samples: '10'", ', line 12: samples is wrong; expected a valid integer; found "10"'),
        ("samples: 10", "samples: 010", ', line 12: samples is wrong; expected a valid integer; found "010"'),
        ("samples: 10", "samples: 1e1", ", line 12: samples is wrong; expected a valid integer"),
        ("samples: 10", "samples: 0", ", line 12: samples is wrong; expected greater than 0; found 0"),
        ("samples: 10", "samples: true", ", line 12: samples is wrong; expected a valid integer; found true"),
        ("samples: 10", "samples: 10\nsamples: 11", ", line 13: key 'samples' is written twice"),
        ("samples: 10", "samples: &n 10", ", line 12: anchors and aliases are not allowed"),
        ("role: clean", "role: claen", ", line 4: role is wrong; expected 'clean', 'shift'"),
        ("name: mine", "name: My Set", ", line 1: name is wrong; expected "),
        ("name: mine", "name: ../x", ", line 1: name is wrong; expected "),
        ("label_space: digits", "label_space: null", ": label_space may be null for roles 'ood' and"),
        (
            "  type: npy",
            "  type: npz",
            ", line 6: layout.type is wrong; expected one of 'image_folder', 'npy'",
        ),
        ("  type: npy\n", "", ", line 5: layout.type is missing; found only images, labels"),
        (
            "  images: images.npy",
            "  imagse: images.npy",
            ", line 7: layout.imagse is an unknown field; expected one like images",
        ),
        ("  images: images.npy\n", "", ", line 5: layout.images is missing; found only type, labels"),
        (
            "  images: images.npy",
            "  images: 3",
            ", line 7: layout.images is wrong; expected a valid string; found 3",
        ),
        (
            "  images: images.npy",
            "  images: /etc/passwd",
            ", line 7: layout.images: a path lies below its folder",
        ),
        (
            "layout:\n  type: npy\n",
            "layout: npy\nother:\n  type: npy\n",
            ", line 6: other is an unknown field",
        ),
        (
            "levels: [0]",
            "levels: [0, -1]",
            ", line 10: conditions.0.levels.1 is wrong; expected greater than or equal to 0; found -1",
        ),
        (
            "levels: [0]",
            "level: [0]",
            ", line 10: conditions.0.level is an unknown field; expected one like levels",
        ),
        ("conditions:\n  - {", "conditions:\n  {", ", line 9: conditions is wrong; expected a valid array"),
    ],
)
def test_a_wrong_manifest_is_told_by_line_field_expected_and_found(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in MANIFEST
    assert refusal(tmp_path, MANIFEST.replace(old, new), DatasetManifest).startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "metric: error_rate\n    attack",
            "metrik: error_rate\n    attack",
            ", line 10: cells.1.metrik is an unknown field; expected one like metric",
        ),
        (
            "steps: 20, ",
            "stesp: 20, ",
            ", line 11: cells.1.attack.stesp is an unknown field; expected one like step",
        ),
        (
            "steps: 20, ",
            "",
            ", line 11: cells.1.attack: steps is missing, pgd needs steps and step; correct it",
        ),
        ("norm: linf, ", "", ", line 11: cells.1.attack.norm is missing; found only name, eps, steps, step"),
        (
            "steps: 20",
            "steps: 2.5",
            ", line 11: cells.1.attack.steps is wrong; expected a valid integer",
        ),
        ("2/255", "2/0", ", line 11: cells.1.attack.eps is wrong; expected "),
        (
            "2/255",
            "3/1",
            ', line 11: cells.1.attack: eps is "3/1", in linf a share of the pixel range lies in (0, 1]',
        ),
        (
            "{id: error, dataset: digits",
            "{id: error, conditions: 5, dataset: digits",
            ", line 7: cells.0.conditions is wrong; expected 'all' or 'headline' or a valid array; found 5",
        ),
        (
            "{id: error, dataset: digits",
            "{id: error, conditions: [fog, 5], dataset: digits",
            ", line 7: cells.0.conditions.1 is wrong; expected a valid string; found 5",
        ),
        (
            "{id: error, dataset: digits",
            "{id: error, options: {bins: [1]}, dataset: digits",
            ", line 7: cells.0.options.bins is wrong;"
            " expected a valid integer or a valid number or a valid string;"
            " found a list of 1",
        ),
        ("columns: [error]", "columns: [eror]", ": column 'eror' is no cell and no aggregate; correct it"),
        ("seed: 0", "seed: 0\nsede: 1\nx: 2", "(1 more wrong after this one)"),
    ],
)
def test_a_wrong_suite_is_told_down_to_the_field_of_a_list_item(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in SUITE
    assert message in refusal(tmp_path, SUITE.replace(old, new), Suite)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is wrong; expected an object; found an empty file"),
        ("- 1\n- 2", " is wrong; expected an object; found a list of 2"),
        ("just text", ' is wrong; expected an object; found "just text"'),
        (b"\x89PNG\r\n\x1a\n\x00\x00", " is not valid YAML"),
        ("model: x\npreprocessing: {std: [.inf, 1.0, 1.0]}", ", line 2: preprocessing."),
        ("model: x\nname: 1e999", ", line 2: name is wrong; expected a valid string; found Infinity"),
    ],
)
def test_what_is_no_model_file_at_all_is_told_as_clearly(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert refusal(tmp_path, text, ModelFile).startswith(message)


def test_a_number_beyond_all_bounds_is_refused(tmp_path: Path) -> None:
    preprocessing = (
        "{input_size: null, resize: null, crop: null, interpolation: bilinear,"
        " mean: [0, 0, 0], std: [1, 1, 1e999]}"
    )
    found = refusal(tmp_path, f"model: x\npreprocessing: {preprocessing}", ModelFile)
    assert found.startswith(
        ", line 2: preprocessing.std.2 is wrong; expected a finite number; found Infinity"
    )


def test_a_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    found = refusal(tmp_path, MANIFEST.replace("samples: 10", f"samples: {'x' * 5000}"), DatasetManifest)
    assert len(found) < 400


def test_a_yaml_file_of_many_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as handle:
        handle.truncate(9 * 2**20)
    with pytest.raises(FileFormatError, match="too large"):
        read_yaml(path, Suite)


def test_an_absent_file_is_a_storage_error(tmp_path: Path) -> None:
    for read in (read_yaml, read_json):
        with pytest.raises(StorageError, match="absent cannot be read; found No such file"):
            read(tmp_path / "absent", Suite)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (MANIFEST, {"layout", "conditions", "samples"}),
        (SUITE, {"cells", "columns"}),
        ("a: {b: 1}\nno: 2\n1: 3", {"a", "no", "1"}),
        ("", set()),
        ("- a\n- b", set()),
        ("just text", set()),
    ],
)
def test_the_outermost_fields_of_a_file_tell_what_it_is(tmp_path: Path, text: str, fields: set[str]) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    found = yaml_fields(path)
    assert fields <= found
    assert "b" not in found
    assert "type" not in found
    assert ("layout" in found) == (text == MANIFEST)
    assert bool(found) == bool(fields)


def test_the_fields_of_what_is_no_yaml_are_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("a: 1\nb: c: d")
    with pytest.raises(FileFormatError, match=r"some\.yaml, line 2, is not valid YAML"):
        yaml_fields(path)
    path.write_text("a: 1\na: 2")
    with pytest.raises(FileFormatError, match="line 2: key 'a' is written twice"):
        yaml_fields(path)
    with path.open("wb") as handle:
        handle.truncate(9 * 2**20)
    with pytest.raises(FileFormatError, match="too large"):
        yaml_fields(path)
    with pytest.raises(StorageError, match="absent cannot be read"):
        yaml_fields(tmp_path / "absent")


CONDITION = '{"dataset": "digits", "kind": "clean", "name": "clean", "level": 0}'


def json_refusal(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "some.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(FileFormatError) as raised:
        read_json(path, Condition)
    return str(raised.value).removeprefix(str(path))


def test_json_that_was_written_is_read_back_equal(tmp_path: Path) -> None:
    condition = Condition(dataset="digits", kind="clean", name="clean", level=0)
    write_json(tmp_path / "a.json", condition)
    assert read_json(tmp_path / "a.json", Condition) == condition


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            CONDITION.replace("0}", '"0"}'),
            ': level is wrong; expected a valid integer; found "0"; correct it',
        ),
        (CONDITION.replace("level", "levle"), ": levle is an unknown field; expected one like level"),
        (CONDITION.replace('"level": 0', '"level": 0, "level": 1'), ": key 'level' is written twice"),
        ("", " is not valid JSON; found "),
        ("{", " is not valid JSON; found "),
        (b"\xff\x00", " is not valid JSON; found "),
        ("[" * 100_000, " is not valid JSON; found "),
        ("[" * 150 + "]" * 150, " is wrong; expected an object; found a list of 1"),
        (CONDITION.replace("0}", "9" * 5000 + "}"), " is "),
        (CONDITION.replace("0}", "NaN}"), ": level is wrong; expected a valid integer; found NaN"),
        ("null", " is wrong; expected an object; found an empty file"),
    ],
)
def test_wrong_json_is_told_by_field_expected_and_found(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert json_refusal(tmp_path, text).startswith(message)


def test_a_score_record_tells_what_is_wrong_deep_inside(tmp_path: Path) -> None:
    golden = Path(__file__).parent.parent / "golden" / "record.json"
    text = golden.read_text().replace('"direction": "lower"', '"direction": "down"', 1)
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(FileFormatError) as raised:
        read_json(path, ScoreRecord)
    assert "direction is wrong; expected 'lower' or 'higher'; found \"down\"" in str(raised.value)
