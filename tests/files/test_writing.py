"""Writes are whole or not at all, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import stat
import string
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from robustbench_safety.errors import DataError, StorageError
from robustbench_safety.files import (
    atomic_path,
    read_yaml,
    resource_folder,
    resource_names,
    slugify,
    write_bytes,
    write_json,
    write_yaml,
)
from robustbench_safety.records import (
    AccuracyTable,
    Baseline,
    ClassMap,
    ClassSubset,
    Condition,
    DatasetManifest,
    LabelSpace,
    Name,
    Suite,
)
from tests.small_disk import files_of_at_most


def test_a_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not path.exists()
        assert temporary.parent == path.parent, "a move within one folder is one step"
    assert path.read_bytes() == b"whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


def test_an_old_file_is_replaced_whole_by_the_new(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"a long old content")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [DataError("wrong"), ValueError("wrong"), KeyboardInterrupt()])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StorageError, match="a cannot be written; found No space left on device; free some space"
    ):
        write_bytes(tmp_path / "a", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_off_by_the_system_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    told = pytest.raises(StorageError, match="a cannot be written; found File too large")
    with files_of_at_most(1000), told:
        write_bytes(tmp_path / "a", b"x" * 5000)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "deeper" / "a"):
        with pytest.raises(
            StorageError, match=r"a cannot be written; found (Not a dir|File ex).*; name another"
        ):
            write_bytes(path, b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(
        StorageError, match=r"Is a directory; name another place: .* a folder where a file is"
    ):
        write_bytes(tmp_path / "a", b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_of_a_file_follows_the_umask_of_the_moment(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_a_name_as_long_as_the_system_allows_is_written(tmp_path: Path) -> None:
    write_bytes(tmp_path / ("é" * 127), b"content")
    assert (tmp_path / ("é" * 127)).read_bytes() == b"content"


def test_json_is_written_one_field_a_line_with_sorted_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "a", Condition(dataset="digits", kind="corruption", name="fog", level=3))
    expected = '{\n "dataset": "digits",\n "kind": "corruption",\n "level": 3,\n "name": "fog"\n}\n'
    assert (tmp_path / "a").read_text() == expected


letters = st.characters(codec="utf-8")

SHIPPED: list[tuple[str, type[BaseModel]]] = [
    ("data_manifests", DatasetManifest),
    ("data_manifests/labels", LabelSpace),
    ("data_manifests/subsets", ClassSubset),
    ("data_manifests/maps", ClassMap),
    ("data_manifests/baselines", Baseline),
    ("data_manifests/accuracies", AccuracyTable),
    ("suites", Suite),
]


@pytest.mark.parametrize(("folder", "record"), SHIPPED)
def test_every_shipped_file_comes_back_from_yaml_as_it_was(
    tmp_path: Path, folder: str, record: type[BaseModel]
) -> None:
    names = resource_names(folder)
    assert names
    for name in names:
        shipped = read_yaml(resource_folder(folder) / f"{name}.yaml", record)
        write_yaml(tmp_path / f"{name}.yaml", shipped)
        again = read_yaml(tmp_path / f"{name}.yaml", record)
        assert again == shipped
        assert again.model_dump_json() == shipped.model_dump_json(), name


def test_yaml_is_written_in_the_record_s_order_without_what_has_its_default(tmp_path: Path) -> None:
    fields = {
        "name": "1e3", "version": 1, "title": "no", "role": "clean",
        "layout": {"type": "npy", "images": "i.npy", "labels": "l.npy"},
        "conditions": [{"kind": "clean", "names": ["clean"], "levels": [0]}],
        "label_space": "digits", "samples": 3, "licence": "~", "citation": "a: b", "notes": "",
    }  # fmt: skip
    manifest = DatasetManifest.model_validate(fields, strict=False)
    write_yaml(tmp_path / "a.yaml", manifest)
    assert (tmp_path / "a.yaml").read_text() == (
        "name: \"1e3\"\nversion: 1\ntitle: 'no'\nrole: clean\n"
        "layout:\n  type: npy\n  images: i.npy\n  labels: l.npy\n"
        "conditions:\n- kind: clean\n  names:\n  - clean\n  levels:\n  - 0\n"
        "label_space: digits\nsamples: 3\nlicence: \"~\"\ncitation: 'a: b'\n"
    )
    assert read_yaml(tmp_path / "a.yaml", DatasetManifest) == manifest


@given(classes=st.lists(st.text(letters, min_size=1, max_size=12), min_size=2, max_size=6, unique=True))
@settings(deadline=None, derandomize=True)
def test_class_keys_of_any_text_come_back_from_yaml(
    tmp_path_factory: pytest.TempPathFactory, classes: list[str]
) -> None:
    fields = {"name": "mine", "classes": tuple(classes), "digest": "0" * 64, "source": classes[0]}
    try:
        space = LabelSpace.model_validate(fields)
    except ValidationError:
        assume(False)  # noqa: FBT003  # no key that could name a folder
    path = tmp_path_factory.getbasetemp() / "keys.yaml"
    write_yaml(path, space)
    assert read_yaml(path, LabelSpace) == space


def test_yaml_that_cannot_be_written_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"a\.yaml cannot be written"):
        write_yaml(path, Condition(dataset="digits", kind="clean", name="clean", level=0))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("timm:resnet50.a1_in1k", "timm-resnet50.a1_in1k"),
        ("My Model (v2)!", "my-model-v2"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("", "unnamed"),
        ("???", "unnamed"),
        ("Ünï", "n"),
        ("a" * 200, "a" * 80),
        ("a" * 79 + "--b", "a" * 79),
    ],
)
def test_a_slug_is_lower_case_and_safe(text: str, slug: str) -> None:
    assert slugify(text) == slug


@given(st.text(max_size=120))
def test_every_slug_is_a_name_and_its_own_slug(text: str) -> None:
    slug = slugify(text)
    assert TypeAdapter(Name).validate_python(slug) == slug
    assert slugify(slug) == slug
    assert set(slug) <= set(string.ascii_lowercase + string.digits + "._-")
