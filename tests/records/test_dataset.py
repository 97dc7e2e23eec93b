"""What a manifest and a class list may say."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pydantic import ValidationError

from robustbench_safety.files import digest_of
from robustbench_safety.labels import class_digest, class_map_digest
from robustbench_safety.records import (
    Archive,
    ClassMap,
    ClassSubset,
    Condition,
    DatasetManifest,
    LabelSpace,
)

CLEAN = {"kind": "clean", "names": ["clean"], "levels": [0]}
NPY = {"type": "npy", "images": "images.npy", "labels": "labels.npy"}
GENERATED = {"type": "generated", "source": "digits", "variant": "cifar"}
RELABELLED = {"type": "relabelled", "source": "digits", "file": "real.json", "format": "real_json"}
ANY = {"type": "image_folder", "folders": "any"}
LIST = {
    "type": "image_list",
    "file": "a.txt",
    "format": "words",
    "image": "0",
    "label": "1",
    "labels": "index",
}
CLIPS = {"type": "clips", "format": "npy", "path": "{name}.npy", "frames": 30}
FOG = {"kind": "corruption", "names": ["fog"], "levels": [1, 2]}


def manifest(**change: object) -> DatasetManifest:
    fields: Mapping[str, object] = {
        "name": "mine",
        "version": 1,
        "title": "Mine",
        "role": "clean",
        "layout": NPY,
        "conditions": [CLEAN],
        "label_space": "digits",
        "samples": 10,
        "licence": "none",
        "citation": "none",
    }
    return DatasetManifest.model_validate({**fields, **change}, strict=False)


def test_conditions_come_in_the_order_of_the_manifest() -> None:
    groups = [
        {"kind": "corruption", "names": ["fog", "snow"], "levels": [1, 2]},
        {"kind": "sequence", "names": ["tilt"], "levels": [1]},
    ]
    found = manifest(layout=GENERATED, conditions=groups, role="corruption").all_conditions()
    assert [condition.path for condition in found] == [
        "mine/corruption/fog-1",
        "mine/corruption/fog-2",
        "mine/corruption/snow-1",
        "mine/corruption/snow-2",
        "mine/sequence/tilt-1",
    ]
    assert found[0] == Condition(dataset="mine", kind="corruption", name="fog", level=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"label_space": None},
            "label_space may be null for roles 'ood' and 'material' alone, not for role 'clean'",
        ),
        ({"label_space": None, "role": "ood", "subset": "a"}, "a subset needs the label_space"),
        ({"layout": {"type": "npy", "images": "a"}}, "labels may be left out for role 'ood' alone"),
        (
            {"layout": {"type": "image_folder"}, "role": "ood", "label_space": None},
            "an image_folder needs a label_space",
        ),
        ({"conditions": [CLEAN, CLEAN]}, r"condition \('clean', 'clean', 0\) is listed twice"),
        ({"conditions": [{**CLEAN, "names": ["a", "a"]}]}, "listed twice"),
        ({"conditions": [{**CLEAN, "levels": [0, 1]}]}, "layout npy holds one condition, 2 are listed"),
        ({"conditions": []}, "at least 1"),
        ({"conditions": [{**CLEAN, "levels": []}]}, "at least 1"),
        ({"layout": GENERATED}, "what is generated is a corruption or a sequence"),
        ({"layout": {**GENERATED, "source": "mine"}}, "a dataset cannot be made from itself"),
        ({"image_size": [0, 32]}, "greater than 0"),
        ({"samples": 0}, "greater than 0"),
        ({"version": 0}, "greater than or equal to 1"),
        ({"folder": "../other"}, "below its folder"),
        ({"layout": {**NPY, "images": "/etc/passwd"}}, "below its folder"),
        ({"layout": {"type": "image_folder", "path": "a/../.."}}, "below its folder"),
        (
            {"layout": {"type": "cifar_pickle", "files": {"../x": None}, "label_field": "labels"}},
            "below its folder",
        ),
        ({"layout": {"type": "cifar_pickle", "files": {}, "label_field": "labels"}}, "at least 1"),
        (
            {"label_space": None, "role": "ood", "layout": ANY, "class_map": "a"},
            "a class_map needs the label_space",
        ),
        ({"layout": ANY}, "folders may be 'any' for roles 'ood' and 'material' alone"),
        ({"layout": {**LIST, "label": None, "labels": "none"}}, "labels may be 'none' for role 'ood' alone"),
        ({"layout": RELABELLED}, "role 'labels' and layout 'relabelled' go together"),
        ({"role": "labels"}, "role 'labels' and layout 'relabelled' go together"),
        ({"headline": ["fog"]}, "headline names 'fog', which is no condition"),
        ({"columns": {"style": "(a"}}, "it is no regular expression"),
        ({"columns": {"style": "a"}}, "what one pair of parentheses matches; there are 0"),
        ({"columns": {"style": "(a)(b)"}}, "what one pair of parentheses matches; there are 2"),
        ({"columns": {"The Style": "(a)"}}, "pattern"),
        ({"samples_also": [0]}, "greater than 0"),
        ({"samples_per_class": 0}, "greater than 0"),
        ({"border": -1}, "greater than or equal to 0"),
        ({"headline_levels": [-1]}, "greater than or equal to 0"),
        ({"file_md5": {"../a": "0" * 32}}, "below its folder"),
        ({"file_md5": {"a": "0"}}, "pattern"),
        ({"conditions": [{**CLEAN, "kind": "sequence"}]}, "stored sequences have layout clips"),
        ({"layout": CLIPS}, "stored sequences have layout clips"),
        (
            {"layout": CLIPS, "conditions": [{**CLEAN, "kind": "sequence"}, CLEAN]},
            "stored sequences have layout clips, and conditions of one kind",
        ),
        (
            {"conditions": [{**FOG, "names": ["fog", "snow"]}], "layout": {**NPY, "images": "{name}.npy"}},
            "layout npy holds 2 conditions, 4 are listed",
        ),
        (
            {"conditions": [FOG], "layout": {"type": "image_folder", "path": "{name}"}},
            "layout image_folder holds one condition, 2 are listed",
        ),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        manifest(**change)


def test_an_out_of_distribution_set_needs_neither_labels_nor_a_label_space() -> None:
    found = manifest(role="ood", label_space=None, layout={"type": "npy", "images": "images.npy"})
    assert found.label_space is None


def test_prose_and_addresses_are_not_among_the_scored_fields() -> None:
    plain = digest_of(manifest().scored_fields())
    prose = manifest(
        title="T",
        folder="f",
        archives=[{"file": "a"}],
        licence="l",
        citation="c",
        notes="n",
        file_md5={"a": "0" * 32},
        by_hand="ask",
        unverified=["samples"],
        extras=["README*"],
        headline=["clean"],
        headline_levels=[0],
        companion="digits",
    ).scored_fields()
    assert digest_of(prose) == plain


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 11},
        {"version": 2},
        {"role": "shift"},
        {"label_space": "cifar-10"},
        {"subset": "a"},
        {"image_size": [32, 32]},
        {"pre_cropped": True},
        {"layout": {**NPY, "class_sorted": True}},
        {"conditions": [{**CLEAN, "names": ["other"]}]},
        {"class_map": "a"},
        {"columns": {"style": "^(.)"}},
        {"samples_also": [11]},
        {"samples_per_class": 1},
        {"border": 2},
        {"resize_to_input": True},
        {"layout": {**NPY, "levels_in_rows": 5}},
    ],
)
def test_what_can_move_a_number_is_among_the_scored_fields(change: dict[str, object]) -> None:
    assert digest_of(manifest(**change).scored_fields()) != digest_of(manifest().scored_fields())


def test_fields_that_came_later_leave_digests_alone_while_at_their_default() -> None:
    # The fields that manifests had when their digests were first taken.
    assert set(manifest().scored_fields()) == {
        "name", "version", "role", "layout", "conditions", "label_space", "subset", "samples", "image_size",
        "pre_cropped",
    }  # fmt: skip
    said = manifest(
        class_map=None,
        columns={},
        samples_also=[],
        samples_per_class=None,
        border=0,
        resize_to_input=False,
        layout={**NPY, "levels_in_rows": 0},
    )
    assert digest_of(said.scored_fields()) == digest_of(manifest().scored_fields())


def test_levels_in_rows_tell_the_conditions_of_one_file_apart() -> None:
    layout = {"type": "npy", "images": "{name}.npy", "labels": "labels.npy", "levels_in_rows": 2}
    found = manifest(role="corruption", layout=layout, conditions=[{**FOG, "names": ["fog", "snow"]}])
    assert len(found.all_conditions()) == 4


def test_stored_sequences_lie_in_clips() -> None:
    sequences = [{"kind": "sequence", "names": ["tilt", "scale"], "levels": [1]}]
    assert len(manifest(role="sequence", layout=CLIPS, conditions=sequences).all_conditions()) == 2


def test_other_labels_name_the_images_they_belong_to() -> None:
    found = manifest(role="labels", layout=RELABELLED)
    assert found.layout.type == "relabelled"


def test_an_archive_that_is_used_as_it_is_is_unpacked_nowhere() -> None:
    plain = Archive(file="a.tar")
    assert plain.unpack_to == ""
    assert "unpack_to" not in plain.model_dump()
    as_it_is = Archive(file="a.npy", unpack_to=None)
    assert as_it_is.model_dump()["unpack_to"] is None
    assert Archive.model_validate(as_it_is.model_dump()) == as_it_is


@pytest.mark.parametrize("field", ["md5", "sha256"])
def test_a_checksum_is_lower_case_hexadecimal_of_its_length(field: str) -> None:
    for wrong in ("", "abc", "G" * 64, "A" * 32, "a" * 33):
        with pytest.raises(ValidationError):
            Archive.model_validate({"file": "a.tar", field: wrong})


def space(*classes: str) -> LabelSpace:
    return LabelSpace(name="mine", classes=classes, digest=class_digest(classes), source="here")


def test_a_label_space_has_two_classes_or_more() -> None:
    assert space("a", "b").classes == ("a", "b")
    with pytest.raises(ValidationError, match="at least 2"):
        space("a")


def test_a_class_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="class 'a' is listed twice"):
        space("a", "b", "a")


@pytest.mark.parametrize("key", ["", ".", "..", ".git", "a/b", "a\\b", "a\nb", "a\x00", "x" * 201])
def test_a_class_key_that_cannot_name_a_folder_is_refused(key: str) -> None:
    with pytest.raises(ValidationError):
        space("a", key)


@pytest.mark.parametrize("key", ["n01440764", "apple pie", "0", "café", "x" * 200])
def test_a_class_key_is_any_other_text(key: str) -> None:
    assert space("first", key).classes[1] == key


def test_a_subset_counts_its_classes() -> None:
    fields = {"name": "few", "label_space": "mine", "digest": class_digest(["a", "b"]), "source": "here"}
    assert ClassSubset.model_validate({**fields, "classes": ("a", "b"), "count": 2}).count == 2
    with pytest.raises(ValidationError, match="the list has 2 classes, count says 3"):
        ClassSubset.model_validate({**fields, "classes": ("a", "b"), "count": 3})
    with pytest.raises(ValidationError, match="class 'b' is listed twice"):
        ClassSubset.model_validate({**fields, "classes": ("b", "b"), "count": 2})


def class_map(**change: object) -> ClassMap:
    classes = {"bird": ("owl",), "canine": ("fox", "dog")}
    fields = {
        "name": "kinds",
        "label_space": "pets",
        "classes": classes,
        "count": 2,
        "digest": class_map_digest(classes),
        "source": "here",
    }
    return ClassMap.model_validate({**fields, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 3}, "the map has 2 classes, count says 3"),
        ({"classes": {"bird": ("owl",)}, "count": 1}, "at least 2"),
        ({"classes": {"bird": ("owl",), "canine": ()}}, "class 'canine' stands for nothing"),
        ({"classes": {"bird": ("owl", "owl"), "canine": ("dog",)}}, "member 'owl' is listed twice"),
        ({"classes": {"bird": ("owl",), "a/b": ("dog",)}}, "pattern"),
        ({"classes": {"bird": ("owl",), "canine": ("a/b",)}}, "pattern"),
        ({"digest": "0"}, "pattern"),
    ],
)
def test_a_class_map_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    assert list(class_map().classes) == ["bird", "canine"]
    with pytest.raises(ValidationError, match=message):
        class_map(**change)


def test_levels_of_the_headline_are_levels_of_the_conditions() -> None:
    groups = [{"kind": "corruption", "names": ["fog"], "levels": [1, 2]}]
    change = {"layout": GENERATED, "conditions": groups, "role": "corruption"}
    assert manifest(**change, headline_levels=[2]).headline_levels == (2,)
    with pytest.raises(ValidationError, match="headline_levels names 3, which is no condition's level"):
        manifest(**change, headline_levels=[3])
