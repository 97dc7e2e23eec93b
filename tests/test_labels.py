"""Label spaces and subsets: keyed, counted and digested."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from timm.data.imagenet_info import ImageNetInfo

from robustbench_safety import labels
from robustbench_safety.errors import DataError, FileFormatError, UnknownNameError
from robustbench_safety.labels import (
    class_digest,
    class_map_digest,
    load_class_map,
    load_class_names,
    load_label_space,
    load_subset,
    project_logits,
    right_classes,
    subset_columns,
)
from robustbench_safety.records import ClassMap, ClassSubset, LabelSpace


def listing(name: str, classes: list[str], *, digest: str | None = None, more: str = "") -> str:
    lines = "".join(f"  - {key!r}\n" for key in classes)
    return f"name: {name}\ndigest: {digest or class_digest(classes)}\nsource: here\n{more}classes:\n{lines}"


def subset(*classes: str, label_space: str = "digits") -> ClassSubset:
    return ClassSubset(
        name="few",
        label_space=label_space,
        classes=classes,
        count=len(classes),
        digest=class_digest(classes),
        source="here",
    )


@pytest.mark.parametrize(
    ("name", "n", "first", "last", "digest"),
    [
        (
            "cifar-10",
            10,
            "airplane",
            "truck",
            "2ce042b1e0b48db4bb214408e6414ba18b2731c24af244f2d6c112fddf31af00",
        ),
        (
            "cifar-100",
            100,
            "apple",
            "worm",
            "4a53f81a8af29bb6aa646bfe2c455db1b061edfde82a39c0cfc313ef536c681b",
        ),
        ("digits", 10, "0", "9", "7427877c40fb0361401248f9c96abe6117396bc6ab16811b5b1706274c02443e"),
        (
            "imagenet-1k",
            1000,
            "n01440764",
            "n15075141",
            "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15",
        ),
    ],
)
def test_the_shipped_lists_are_the_ones_they_were(
    name: str, n: int, first: str, last: str, digest: str
) -> None:
    space = load_label_space(name)
    assert len(space.classes) == len(set(space.classes)) == n
    assert (space.classes[0], space.classes[-1]) == (first, last)
    assert space.digest == class_digest(space.classes) == digest


def test_the_digest_of_a_list_is_that_of_its_keys_each_with_a_line_feed() -> None:
    # printf 'cat\ndog\n' | sha256sum
    assert class_digest(["cat", "dog"]) == "f641fdcd8af73b2f6334ab63c13d2eb857cd16f2aa4ea0ba20ba0eb9627918b5"
    assert class_digest(["cat", "dog"]) != class_digest(["dog", "cat"])
    assert class_digest(["a", "b"]) != class_digest(["ab"])


def test_classes_of_imagenet_stand_in_the_order_of_their_wnids() -> None:
    classes = load_label_space("imagenet-1k").classes
    assert list(classes) == sorted(classes)


@pytest.mark.realdata
def test_the_wnids_of_imagenet_are_those_of_the_published_table(shared: Path) -> None:
    table = (shared / "facts" / "imagenet_wnids.txt").read_text().splitlines()
    assert [line.split("\t")[1] for line in table] == list(load_label_space("imagenet-1k").classes)


@pytest.mark.realdata
def test_the_names_of_cifar_10_are_those_of_its_batches_meta(real_data: Path) -> None:
    with (real_data / "cifar-10-batches-py" / "batches.meta").open("rb") as handle:
        names = pickle.load(handle, encoding="bytes")[b"label_names"]
    assert [name.decode() for name in names] == list(load_label_space("cifar-10").classes)


@pytest.mark.realdata
def test_the_names_of_cifar_100_are_those_of_the_published_classes(real_data: Path) -> None:
    with np.load(real_data / "cifar-100-test.npz") as content:
        names = content["class_names"].tolist()
    assert names == list(load_label_space("cifar-100").classes)


def test_an_unknown_label_space_shows_near_ones_and_what_to_do() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown label space 'cifar10'; expected one like cifar-10.*; mend"
    ):
        load_label_space("cifar10", fix="mend it")


def test_a_label_space_of_one_s_own_lies_below_labels_and_goes_first(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "pets.yaml").write_text(listing("pets", ["cat", "dog"]))
    (tmp_path / "labels" / "digits.yaml").write_text(listing("digits", ["null", "one"]))
    assert load_label_space("pets", beside=tmp_path).classes == ("cat", "dog")
    assert load_label_space("digits", beside=tmp_path).classes == ("null", "one")
    assert len(load_label_space("cifar-10", beside=tmp_path).classes) == 10


def test_a_manifest_of_one_s_own_is_not_taken_for_the_label_space_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text("name: digits\n")
    assert len(load_label_space("digits", beside=tmp_path).classes) == 10


def test_a_list_that_was_changed_is_caught_by_its_digest(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    path = tmp_path / "labels" / "pets.yaml"
    path.write_text(listing("pets", ["dog", "cat"], digest=class_digest(["cat", "dog"])))
    with pytest.raises(
        FileFormatError, match=r"pets\.yaml: the class list is not the one its digest was taken of"
    ):
        load_label_space("pets", beside=tmp_path)


def test_a_list_under_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "cats.yaml").write_text(listing("pets", ["cat", "dog"]))
    with pytest.raises(FileFormatError, match="name is wrong; expected cats; found pets"):
        load_label_space("cats", beside=tmp_path)


def test_a_subset_gives_its_columns_in_its_own_order() -> None:
    space = load_label_space("digits")
    assert subset_columns(subset("7", "0", "9"), space).tolist() == [7, 0, 9]


def test_a_class_outside_the_space_is_named_and_counted() -> None:
    space = load_label_space("digits")
    with pytest.raises(
        DataError, match=r"subset few does not lie in label space digits; .* found 2 others, e.g. 'x'"
    ):
        subset_columns(subset("1", "x", "y"), space)


def test_a_subset_file_is_checked_against_digest_and_space(tmp_path: Path) -> None:
    (tmp_path / "subsets").mkdir()
    path = tmp_path / "subsets" / "few.yaml"
    path.write_text(listing("few", ["7", "0"], more="label_space: digits\ncount: 2\n"))
    assert load_subset("few", beside=tmp_path).classes == ("7", "0")
    path.write_text(listing("few", ["7", "x"], more="label_space: digits\ncount: 2\n"))
    with pytest.raises(DataError, match="does not lie in label space digits"):
        load_subset("few", beside=tmp_path)
    path.write_text(listing("few", ["7", "0"], digest="0" * 64, more="label_space: digits\ncount: 2\n"))
    with pytest.raises(FileFormatError, match="the class list is not the one"):
        load_subset("few", beside=tmp_path)
    path.write_text(listing("few", ["7", "0"], more="label_space: digit\ncount: 2\n"))
    with pytest.raises(UnknownNameError, match=r"'digit'; expected one like digits.*; named in .*few\.yaml"):
        load_subset("few", beside=tmp_path)
    path.write_text(listing("few", ["7", "0"], more="label_space: digits\ncount: 3\n"))
    with pytest.raises(FileFormatError, match="the list has 2 classes, count says 3"):
        load_subset("few", beside=tmp_path)


def mapping(classes: dict[str, list[str]], *, name: str = "shapes", **change: object) -> str:
    fields: dict[str, object] = {
        "name": name,
        "label_space": "digits",
        "source": "here",
        "count": len(classes),
        "digest": class_map_digest(classes),
    }
    lines = "".join(f"{key}: {value}\n" for key, value in {**fields, **change}.items())
    return lines + "classes:\n" + "".join(f"  {key}: {members}\n" for key, members in classes.items())


SHAPES = {"round": ["0", "8"], "straight": ["1"]}


def written_map(folder: Path, text: str) -> Path:
    (folder / "maps").mkdir(exist_ok=True)
    (folder / "maps" / "shapes.yaml").write_text(text)
    return folder


def test_the_digest_of_a_map_is_that_of_its_lines_of_class_tab_members() -> None:
    # printf 'round\t0,8\nstraight\t1\n' | sha256sum
    assert class_map_digest(SHAPES) == "71f515b78a17d34df556f7303044d1bf60674afb42d7713ff08231d1e0e537d4"


@pytest.mark.parametrize(
    "other",
    [
        {"round": ["8", "0"], "straight": ["1"]},
        {"straight": ["1"], "round": ["0", "8"]},
        {"round": ["0"], "straight": ["8", "1"]},
        {"round": ["08"], "straight": ["1"]},
        {"round": ["0", "8"]},
    ],
)
def test_no_two_maps_of_the_same_classes_share_a_digest(other: dict[str, list[str]]) -> None:
    assert class_map_digest(other) != class_map_digest(SHAPES)


@pytest.mark.parametrize(
    ("name", "classes", "members", "digest"),
    [
        ("objectnet", 113, 125, "c30ab7178a3d51cfbdae5dc0fa097d35870ec1a5993baca494896298f2eca739"),
        ("sixteen-classes", 16, 207, "b8d33c593a1f9543f3a3f037cad12a29a171559111a3f5f99195cf41e0b7f28d"),
    ],
)
def test_the_shipped_maps_are_the_ones_they_were(name: str, classes: int, members: int, digest: str) -> None:
    found = load_class_map(name)
    assert (len(found.classes), sum(map(len, found.classes.values()))) == (classes, members)
    assert found.digest == class_map_digest(found.classes) == digest


@pytest.mark.parametrize("name", ["objectnet", "sixteen-classes"])
def test_the_subset_of_a_map_holds_its_members_and_no_other_class(name: str) -> None:
    members = {key for group in load_class_map(name).classes.values() for key in group}
    assert members == set(load_subset(name).classes)


def test_a_map_of_one_s_own_lies_below_maps(tmp_path: Path) -> None:
    found = load_class_map("shapes", beside=written_map(tmp_path, mapping(SHAPES)))
    assert found.classes == {"round": ("0", "8"), "straight": ("1",)}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (mapping(SHAPES, digest="0" * 64), FileFormatError, "the class list is not the one its digest"),
        (
            mapping({"straight": ["1"], "round": ["0", "8"]}, digest=class_map_digest(SHAPES)),
            FileFormatError,
            "the class list is not the one its digest",
        ),
        (mapping(SHAPES, name="forms"), FileFormatError, "name is wrong; expected shapes; found forms"),
        (
            mapping({"round": ["0", "x"], "straight": ["1"]}),
            DataError,
            "class map shapes does not lie in label space digits; .* found 1 others, e.g. 'x'",
        ),
        (
            mapping({"round": ["0", "8"], "straight": ["1", "8"]}),
            FileFormatError,
            r"shapes\.yaml: 8 stands for two classes; let the classes be disjoint",
        ),
        (mapping(SHAPES, count=3), FileFormatError, "the map has 2 classes, count says 3"),
        (mapping({"round": [], "straight": ["1"]}), FileFormatError, "class 'round' stands for nothing"),
        (
            mapping({"round": ["0", "0"], "straight": ["1"]}),
            FileFormatError,
            "class 'round': member '0' is listed twice",
        ),
        (mapping(SHAPES, label_space="digts"), UnknownNameError, r"named in .*shapes\.yaml"),
    ],
)
def test_a_map_file_is_checked_against_digest_name_and_space(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load_class_map("shapes", beside=written_map(tmp_path, text))


def test_an_unknown_map_shows_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown class map 'objectnt'; expected one like objectnet"):
        load_class_map("objectnt")


def test_every_member_of_a_class_is_right_beside_every_other_and_beside_nothing_else() -> None:
    # Of the space (a, b, c, d) a and d are one class, c is one by itself, and b is in none.
    space = LabelSpace(
        name="four", classes=("a", "b", "c", "d"), digest=class_digest(["a", "b", "c", "d"]), source="here"
    )
    classes = {"ends": ("d", "a"), "third": ("c",)}
    mapped = ClassMap(
        name="m",
        label_space="four",
        classes=classes,
        count=2,
        digest=class_map_digest(classes),
        source="here",
    )
    found = right_classes(mapped, space)
    assert found.dtype == np.bool_
    assert found.astype(int).tolist() == [[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1]]


def test_right_classes_of_the_sixteen_agree_with_a_plain_loop() -> None:
    mapped, space = load_class_map("sixteen-classes"), load_label_space("imagenet-1k")
    group = {member: key for key, members in mapped.classes.items() for member in members}
    found = right_classes(mapped, space)
    for row in range(0, 1000, 7):
        own = group.get(space.classes[row])
        expected = [own is not None and group.get(key) == own for key in space.classes]
        assert found[row].tolist() == expected


def test_a_map_into_another_space_gives_no_table() -> None:
    with pytest.raises(DataError, match="class map objectnet does not lie in label space digits"):
        right_classes(load_class_map("objectnet"), load_label_space("digits"))


def test_projection_selects_columns_before_the_argmax() -> None:
    # The best class of the first row, 2, lies outside the subset (3, 0): there 0 beats 3, and stands second.
    logits = np.array([[2.0, 0.0, 9.0, 1.0], [0.0, 5.0, 0.0, 3.0]])
    space = LabelSpace(
        name="four", classes=("a", "b", "c", "d"), digest=class_digest(["a", "b", "c", "d"]), source="here"
    )
    projected = project_logits(logits, subset_columns(subset("d", "a"), space))
    assert projected.tolist() == [[1.0, 2.0], [3.0, 0.0]]
    assert projected.argmax(axis=1).tolist() == [1, 0]


def test_imagenets_prompt_names_are_open_clips_and_its_lemmas_timms() -> None:
    space = load_label_space("imagenet-1k")
    names = load_class_names(space)
    assert tuple(names.prompts.values()) == tuple(IMAGENET_CLASSNAMES)
    info = ImageNetInfo("imagenet-1k")
    lemmas = [info.index_to_description(i) for i in range(1000)]
    assert list(names.lemmas.values()) == lemmas
    assert names.prompts["n01440764"] == "tench"


def test_a_class_without_a_name_of_its_own_is_called_by_its_key() -> None:
    names = load_class_names(load_label_space("cifar-100"))
    assert names.prompts["aquarium_fish"] == "aquarium fish"
    assert names.lemmas == {}
    assert names.source == "the keys of the label space"


def test_names_of_other_classes_than_the_label_spaces_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits.yaml").write_text("name: digits\nsource: none\nprompts: {zero: nil, one: one}\n")
    monkeypatch.setattr(labels, "resource_names", lambda folder: ["digits"])
    monkeypatch.setattr(labels, "locate_resource", lambda kind, name, folder: tmp_path / "digits.yaml")
    space = LabelSpace(
        name="digits", classes=("one", "zero"), digest=class_digest(("one", "zero")), source="a test"
    )
    with pytest.raises(FileFormatError, match="not those of the classes of digits; expected its 2 keys"):
        load_class_names(space)
