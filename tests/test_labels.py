"""Label spaces and subsets: keyed, counted and digested."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.errors import DataError, FileFormatError, UnknownNameError
from robustbench_safety.labels import (
    class_digest,
    load_label_space,
    load_subset,
    project_logits,
    subset_columns,
)
from robustbench_safety.records import ClassSubset, LabelSpace


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
    with pytest.raises(UnknownNameError, match=r"'digit'; expected one like digits; named in .*few\.yaml"):
        load_subset("few", beside=tmp_path)
    path.write_text(listing("few", ["7", "0"], more="label_space: digits\ncount: 3\n"))
    with pytest.raises(FileFormatError, match="the list has 2 classes, count says 3"):
        load_subset("few", beside=tmp_path)


def test_projection_selects_columns_before_the_argmax() -> None:
    # The best class of the first row, 2, lies outside the subset (3, 0): there 0 beats 3, and stands second.
    logits = np.array([[2.0, 0.0, 9.0, 1.0], [0.0, 5.0, 0.0, 3.0]])
    space = LabelSpace(
        name="four", classes=("a", "b", "c", "d"), digest=class_digest(["a", "b", "c", "d"]), source="here"
    )
    projected = project_logits(logits, subset_columns(subset("d", "a"), space))
    assert projected.tolist() == [[1.0, 2.0], [3.0, 0.0]]
    assert projected.argmax(axis=1).tolist() == [1, 0]
