"""Sets of right classes and counts of people: read, checked, and joined by sample id."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.data.label_sets import cues_of, labels_of, mapped_labels, read_labels
from robustbench_safety.errors import DataError
from robustbench_safety.labels import class_digest, class_map_digest, load_class_map, load_label_space

CLASSES = ["cat", "dog", "fox", "owl"]
#: The second image has two right classes, the third none: nobody gave it a label.
REAL = [[3], [1, 0], []]
COUNTS = [[5, 0, 0, 0], [2, 1, 0, 1], [2, 2, 0, 0]]


def relabelled(folder: Path, *, form: str, file: str) -> Dataset:
    """Return a dataset of other labels for three images of one's own."""
    (folder / "labels").mkdir()
    (folder / "mine").mkdir()
    listed = "".join(f"  - {key}\n" for key in CLASSES)
    (folder / "labels" / "pets.yaml").write_text(
        f"name: pets\ndigest: {class_digest(CLASSES)}\nsource: here\nclasses:\n{listed}"
    )
    common = (
        "version: 1\ntitle: T\nfolder: mine\nlabel_space: pets\nsamples: 3\nlicence: own\ncitation: own\n"
        "conditions: [{kind: clean, names: [clean], levels: [0]}]\n"
    )
    (folder / "source.yaml").write_text(
        f"name: source\nrole: clean\nlayout: {{type: npy, images: i.npy, labels: l.npy}}\n{common}"
    )
    layout = f"{{type: relabelled, source: source, file: {file}, format: {form}}}"
    (folder / "again.yaml").write_text(f"name: again\nrole: labels\nlayout: {layout}\n{common}")
    return load_dataset("again", data=DataRoot(root=folder, beside=folder))


@pytest.fixture
def real(tmp_path: Path) -> Dataset:
    """ReaL's file for three images."""
    dataset = relabelled(tmp_path, form="real_json", file="real.json")
    (dataset.folder / "real.json").write_text(json.dumps(REAL))
    return dataset


@pytest.fixture
def counts(tmp_path: Path) -> Dataset:
    """Counts of people for three images."""
    dataset = relabelled(tmp_path, form="counts_npy", file="counts.npy")
    np.save(dataset.folder / "counts.npy", np.array(COUNTS))
    return dataset


def test_real_s_entry_i_holds_the_classes_of_the_validation_image_i_plus_one(real: Dataset) -> None:
    found = read_labels(real)(["ILSVRC2012_val_00000003", "ILSVRC2012_val_00000001"])
    # Entries 2 and 0: no class, and class 3 alone.
    assert found.right.tolist() == [[False] * 4, [False, False, False, True]]
    assert found.right.dtype == np.bool_
    assert found.shares is None


def test_the_validation_number_is_read_below_any_folder(real: Dataset) -> None:
    found = read_labels(real)(["val/n01440764/ILSVRC2012_val_00000002", "ILSVRC2012_val_00000002"])
    assert found.right.tolist() == [[True, True, False, False]] * 2


def test_counts_of_people_become_shares_and_the_most_chosen_classes_are_right(counts: Dataset) -> None:
    found = read_labels(counts)(["00002", "00000", "00001"])
    assert found.shares is not None
    assert found.shares.tolist() == [[0.5, 0.5, 0, 0], [1, 0, 0, 0], [0.5, 0.25, 0, 0.25]]
    # Of the equal counts of image 2 both are right.
    assert found.right.astype(int).tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_counts_may_be_any_numbers(counts: Dataset, dtype: type[np.generic]) -> None:
    expected = read_labels(counts)(["00001"]).shares
    np.save(counts.folder / "counts.npy", np.array(COUNTS, dtype=dtype))
    found = read_labels(counts)(["00001"]).shares
    assert found is not None
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


def test_the_digest_is_that_of_the_file(real: Dataset) -> None:
    first = read_labels(real)(["ILSVRC2012_val_00000001"]).digest
    # printf '[[3], [1, 0], []]' | sha256sum
    assert first == "92f8b29495bcb16b5669f9be37d0d700531fd593bd637ab0e6cc3bc3c788290f"


@pytest.mark.parametrize(
    "sample_id",
    [
        "ILSVRC2012_val_00000000",
        "ILSVRC2012_val_00000004",
        "ILSVRC2012_val_0000001",
        "ILSVRC2012_val_000000001",
        "xILSVRC2012_val_00000001",
        "ILSVRC2012_val_00000001_copy",
        "ILSVRC2012_val_0000000١",
        "00000",
        "",
    ],
)
def test_an_image_without_a_published_name_has_no_labels(real: Dataset, sample_id: str) -> None:
    look_up = read_labels(real)
    with pytest.raises(DataError, match=r"real\.json has no labels for sample .*; expected one of its 3"):
        look_up(["ILSVRC2012_val_00000001", sample_id])


@pytest.mark.parametrize("sample_id", ["00003", "-1", "1.0", " 1", "x00001", "٣", ""])
def test_an_image_without_a_number_has_no_counts(counts: Dataset, sample_id: str) -> None:
    look_up = read_labels(counts)
    with pytest.raises(DataError, match=r"counts\.npy has no labels for sample .*published name or number"):
        look_up(["00000", sample_id])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 3 lists of classes; found Expecting value"),
        ("[[3], [1, 0], [", "expected 3 lists of classes; found "),
        ("[" * 100_000, "expected 3 lists of classes; found "),
        (b"\xff\xfe\x00[", "expected 3 lists of classes; found "),
        ('{"0": [3]}', "expected a list of 3 lists of classes; found dict"),
        ("3", "expected a list of 3 lists of classes; found int"),
        ("null", "expected a list of 3 lists of classes; found NoneType"),
        ("[[3], [1, 0]]", "expected a list of 3 lists of classes; found 2 entries"),
        ("[[3], [1, 0], [], []]", "expected a list of 3 lists of classes; found 4 entries"),
        ("[[3], [1, 4], []]", r"expected lists of classes 0 to 3; found \[1, 4\] as entry 1"),
        ("[[3], [-1], []]", r"found \[-1\] as entry 1"),
        ("[[3], [true], []]", r"found \[True\] as entry 1"),
        ("[[3], [1.0], []]", r"found \[1\.0\] as entry 1"),
        ('[[3], ["1"], []]', r"found \['1'\] as entry 1"),
        ("[[3], [[1]], []]", r"found \[\[1\]\] as entry 1"),
        ("[[3], 1, []]", "found 1 as entry 1"),
        ("[[3], null, []]", "found None as entry 1"),
        ("[[3], [1], [NaN]]", r"found \[nan\] as entry 2"),
    ],
)
def test_a_file_that_is_not_real_s_is_refused(real: Dataset, text: str | bytes, message: str) -> None:
    path = real.folder / "real.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(DataError, match=rf"real\.json does not hold the labels; .*{message}"):
        read_labels(real)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (COUNTS[:2], r"holds the wrong array; expected numbers \[3, 4\]; found int64 \[2, 4\]"),
        ([row[:3] for row in COUNTS], r"found int64 \[3, 3\]"),
        (np.array(COUNTS).T, r"found int64 \[4, 3\]"),
        (np.array(COUNTS).ravel(), r"found int64 \[12\]"),
        (np.array(COUNTS, dtype=bool), r"found bool \[3, 4\]"),
        (np.array(COUNTS, dtype=complex), r"found complex128 \[3, 4\]"),
        (np.array(COUNTS, dtype="U3"), r"found <U3 \[3, 4\]"),
        ([[5, 0, 0, 0], [2, -1, 0, 1], [2, 2, 0, 0]], "found a negative, missing or empty row"),
        ([[5, 0, 0, 0], [0, 0, 0, 0], [2, 2, 0, 0]], "found a negative, missing or empty row"),
        ([[5, 0, 0, 0], [1, np.nan, 0, 1], [2, 2, 0, 0]], "found a negative, missing or empty row"),
        ([[5, 0, 0, 0], [1, np.inf, 0, 1], [2, 2, 0, 0]], "found a negative, missing or empty row"),
    ],
)
def test_an_array_that_is_no_table_of_counts_is_refused(
    counts: Dataset, array: ArrayLike, message: str
) -> None:
    np.save(counts.folder / "counts.npy", np.asarray(array))
    with pytest.raises(DataError, match=rf"counts\.npy .*{message}"):
        read_labels(counts)


def test_what_is_no_array_at_all_is_refused(counts: Dataset) -> None:
    (counts.folder / "counts.npy").write_text("5 0 0 0")
    with pytest.raises(DataError, match=r"counts\.npy is not a whole \.npy array"):
        read_labels(counts)


def test_a_missing_file_of_labels_says_where_it_was_looked_for(real: Dataset) -> None:
    (real.folder / "real.json").rename(real.folder / "other.json")
    with pytest.raises(DataError, match=r"dataset again is not in .*mine; expected real\.json"):
        labels_of(real, ["ILSVRC2012_val_00000001"], np.array([0]))


def test_a_dataset_with_one_class_an_image_has_no_further_labels(real: Dataset) -> None:
    source = real.source()
    assert labels_of(source, ["a", "b"], np.array([0, 1])) is None
    with pytest.raises(ValueError, match="source has no file of labels"):
        read_labels(source)


def test_a_relabelled_dataset_goes_by_its_file_and_not_by_the_stored_label(real: Dataset) -> None:
    found = labels_of(real, ["ILSVRC2012_val_00000001"], np.array([0]))
    assert found is not None
    assert found.right.tolist() == [[False, False, False, True]]


def test_a_class_map_goes_by_the_stored_label_and_an_image_without_one_has_none_right(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    classes = {"round": ["0", "8"], "last": ["9"]}
    (tmp_path / "maps" / "shapes.yaml").write_text(
        "name: shapes\nlabel_space: digits\nsource: here\ncount: 2\n"
        f"digest: {class_map_digest(classes)}\nclasses: {json.dumps(classes)}\n"
    )
    mapped = load_class_map("shapes", beside=tmp_path)
    found = mapped_labels(mapped, np.array([8, 9, -1, 5]), beside=tmp_path)
    # 8 lies with 0; 9 is by itself; -1 is no label, not the last class; 5 is in no class of the map.
    assert [np.flatnonzero(row).tolist() for row in found.right] == [[0, 8], [9], [], []]
    assert (found.shares, found.digest) == (None, None)


def test_the_labels_of_objectnet_are_all_imagenet_classes_that_mean_the_same() -> None:
    dataset = load_dataset("objectnet")
    wnids = list(load_label_space("imagenet-1k").classes)
    found = labels_of(dataset, ["alarm_clock/x"], np.array([wnids.index("n02708093")]))
    assert found is not None
    assert [wnids[i] for i in np.flatnonzero(found.right[0])] == ["n02708093", "n03196217"]


# Shapes and textures.


def test_shape_and_texture_are_those_of_the_name_and_the_categories_those_of_the_map() -> None:
    dataset = load_dataset("cue-conflict", data=DataRoot(root=Path("nowhere")))
    assert dataset.class_map is not None
    found = cues_of(dataset, ["bear/bear10-clock2", "truck/truck1-airplane3"], dataset.class_map)
    assert found is not None
    # Sixteen categories by name: airplane, bear, bicycle ... clock is the tenth and truck the last.
    assert (found.shape.tolist(), found.texture.tolist()) == ([1, 15], [9, 0])
    space = load_label_space("imagenet-1k")
    assert [space.classes[column] for column in found.categories[0]] == ["n02690373"]
    assert [len(members) for members in found.categories][:3] == [1, 4, 2]
    assert sum(map(len, found.categories)) == 207


def test_images_without_such_columns_or_without_a_map_have_no_cues(real: Dataset) -> None:
    dataset = load_dataset("cue-conflict", data=DataRoot(root=Path("nowhere")))
    assert cues_of(dataset, ["bear/bear10-clock2"], None) is None
    assert cues_of(real, ["ILSVRC2012_val_00000001"], dataset.class_map) is None


def test_a_texture_that_is_no_category_is_refused() -> None:
    dataset = load_dataset("cue-conflict", data=DataRoot(root=Path("nowhere")))
    with pytest.raises(
        DataError, match=r"column texture; expected categories of class map sixteen-c.*found fox"
    ):
        cues_of(dataset, ["bear/bear10-fox2"], dataset.class_map)
