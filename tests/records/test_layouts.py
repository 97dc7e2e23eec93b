"""What a layout may say, and what its paths stand for under a condition."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from robustbench_safety.records import (
    CifarPickleLayout,
    ClipsLayout,
    HuggingFaceLayout,
    ImageFolderLayout,
    ImageListLayout,
    Layout,
    MatLayout,
    NpyLayout,
    expanded,
)
from robustbench_safety.records.layouts import placed


def layout(**fields: object) -> Layout:
    found: Layout = TypeAdapter(Layout).validate_python(fields)
    return found


IMAGE_LIST = {
    "type": "image_list",
    "file": "list.txt",
    "format": "words",
    "image": "0",
    "label": "1",
    "labels": "index",
}


@pytest.mark.parametrize(
    ("template", "level", "path"),
    [
        ("{name}/{level}", 3, "fog/3"),
        ("{name}.npy", 3, "fog.npy"),
        ("{name}{suffix}.npy", 0, "fog.npy"),
        ("{name}{suffix}.npy", 1, "fog.npy"),
        ("{name}{suffix}.npy", 2, "fog_2.npy"),
        ("{name}{suffix}.npy", 10, "fog_10.npy"),
        ("a/{level}/{name}/{level}", 0, "a/0/fog/0"),
        ("plain/path", 5, "plain/path"),
        ("", 5, ""),
    ],
)
def test_placeholders_stand_for_the_condition_s_name_level_and_suffix(
    template: str, level: int, path: str
) -> None:
    assert expanded(template, "fog", level) == path


@pytest.mark.parametrize("path", ["{nmae}/x", "{}", "{name}/{severity}", "{Name}", "{name }", "{{name}}x{}"])
@pytest.mark.parametrize(
    "fields",
    [
        {"type": "image_folder", "path": ""},
        {"type": "npy", "images": "", "labels": "l.npy"},
        {"type": "npy", "labels": "", "images": "i.npy"},
        {"type": "clips", "path": "", "format": "npy", "frames": 30},
        {**IMAGE_LIST, "file": ""},
    ],
)
def test_a_placeholder_that_stands_for_nothing_is_refused(fields: dict[str, object], path: str) -> None:
    where = next(name for name, value in fields.items() if value == "")
    assert layout(**{**fields, where: "{name}/{level}{suffix}"})
    with pytest.raises(ValidationError, match=r"stands for nothing: only \{name\}, \{level\} and \{suffix\}"):
        layout(**{**fields, where: path})


@pytest.mark.parametrize("path", ["../{name}", "/{name}", "{name}/../x"])
def test_a_template_lies_below_its_folder(path: str) -> None:
    with pytest.raises(ValidationError, match="below its folder"):
        layout(type="image_folder", path=path)


@pytest.mark.parametrize(
    ("made", "first", "second"),
    [
        # A folder for each: fog/1 and fog/2.
        (ImageFolderLayout(type="image_folder", path="{name}/{level}"), ("fog/1", 0), ("fog/2", 0)),
        # One folder for both.
        (ImageFolderLayout(type="image_folder", path="{name}"), ("fog", 0), ("fog", 0)),
        (NpyLayout(type="npy", images="{name}.npy"), ("fog.npy", 0), ("fog.npy", 0)),
        # The rows of one file tell the levels apart.
        (NpyLayout(type="npy", images="{name}.npy", levels_in_rows=5), ("fog.npy", 1), ("fog.npy", 2)),
        # The labels' file tells nothing.
        (NpyLayout(type="npy", images="i.npy", labels="{level}.npy"), ("i.npy", 0), ("i.npy", 0)),
        (
            ClipsLayout(type="clips", format="npy", path="{name}{suffix}.npy", frames=30),
            ("fog.npy", 0),
            ("fog_2.npy", 0),
        ),
        (ImageListLayout.model_validate({**IMAGE_LIST, "file": "{level}.txt"}), ("1.txt", 0), ("2.txt", 0)),
        (MatLayout(type="mat", file="a.mat", images="X", labels="y"), ("", 0), ("", 0)),
        (
            CifarPickleLayout(type="cifar_pickle", files={"test_batch": None}, label_field="labels"),
            ("", 0),
            ("", 0),
        ),
    ],
)
def test_a_place_tells_conditions_apart_exactly_where_their_images_lie_apart(
    made: Layout, first: tuple[str, int], second: tuple[str, int]
) -> None:
    assert (placed(made, "fog", 1), placed(made, "fog", 2)) == (first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "images"}, r"path holds \{image\}"),
        ({"path": "{label}"}, r"path holds \{image\}"),
        ({"path": "{image}/{name}"}, "no other braces"),
        ({"path": "../{image}"}, "below its folder"),
        (
            {"path": "{label}/{image}", "label": None, "labels": "none"},
            r"\{label\}, and label names no column",
        ),
        ({"label": None}, "labels are 'none' where label names no column"),
        ({"labels": "none"}, "labels are 'none' where label names no column"),
        ({"labels": "name"}, "'key', 'index' or 'none'"),
        ({"format": "json"}, "'words', 'csv' or 'tsv'"),
    ],
)
def test_a_list_of_images_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    assert layout(**{**IMAGE_LIST, "path": "{label}/{image}"})
    assert layout(**{**IMAGE_LIST, "label": None, "labels": "none"})
    with pytest.raises(ValidationError, match=message):
        layout(**{**IMAGE_LIST, **change})


def test_a_revision_belongs_to_a_repository() -> None:
    fields = {"type": "hugging_face", "split": "test", "image": "image", "label": None, "labels": "none"}
    both = {"repository": "owner/name", "revision": "abc"}
    assert HuggingFaceLayout.model_validate({**fields, **both}).revision == "abc"
    with pytest.raises(ValidationError, match="a revision belongs to a repository on the hub"):
        HuggingFaceLayout.model_validate({**fields, "revision": "abc"})


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "clips", "format": "npy", "path": "{name}.npy", "frames": 1},
        {"type": "clips", "format": "npy", "path": "{name}.npy", "frames": 30, "frames_of": {"tilt": 1}},
        {"type": "npy", "images": "i.npy", "levels_in_rows": -1},
        {"type": "relabelled", "source": "a", "file": "b", "format": "csv"},
        {"type": "image_folder", "folders": "name"},
        {"type": "tar"},
    ],
)
def test_a_layout_that_no_reader_knows_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        layout(**fields)


#: Fields that were there when digests were first taken; later ones are left out while at their default.
@pytest.mark.parametrize(
    ("plain", "later"),
    [
        (
            {"type": "image_folder", "path": "val"},
            {"folders": "number", "groups": {"noise": ["fog"]}, "others": "leave"},
        ),
        (
            {"type": "npy", "images": "i.npy", "labels": "l.npy", "class_sorted": False},
            {"levels_in_rows": 5},
        ),
    ],
)
def test_a_field_that_came_later_is_left_out_of_a_dump_while_it_says_nothing(
    plain: dict[str, object], later: dict[str, object]
) -> None:
    fields = TypeAdapter(Layout)
    assert fields.dump_python(fields.validate_python(plain), mode="json") == plain
    for name, value in later.items():
        said = {**plain, name: value}
        found = fields.validate_python(said, strict=False)
        assert fields.dump_python(found, mode="json") == said
