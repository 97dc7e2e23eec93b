"""Lists of images: the formats that are published, order, ids, labels, and what is refused."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustbench_safety.data.base import Place
from robustbench_safety.data.loader import limited
from robustbench_safety.data.readers import image_list, open_stored
from robustbench_safety.data.readers.image_list import ImageListReader
from robustbench_safety.errors import DataError, FileFormatError
from robustbench_safety.records import DatasetManifest, ImageListLayout

MakeManifest = Callable[..., DatasetManifest]
Opened = Callable[..., ImageListReader]

WORDS = {"format": "words", "image": "0", "label": "1", "labels": "index"}
CSV = {"format": "csv", "image": "imgs", "label": "labels", "labels": "key", "path": "Images/{image}"}
TSV = {"format": "tsv", "image": "0", "label": "1", "labels": "key", "path": "val/images/{image}"}
OOD = {"role": "ood", "label_space": None, "classes": ()}
UNLABELLED = {**WORDS, "label": None, "labels": "none"}
#: As Tiny-ImageNet's val_annotations.txt has them: name, class, and a box.
ANNOTATIONS = "val_0.JPEG\tn03444034\t0\t32\t44\t62\nval_1.JPEG\tn04067472\t52\t55\t57\t59\n"
WNIDS = ("n04067472", "n03444034")


@pytest.fixture
def opened(make_manifest: MakeManifest, tmp_path: Path) -> Opened:
    """Return a function that writes a list and opens it; every image of ``images`` is laid out."""

    def open_it(
        text: str | bytes,
        *,
        layout: Mapping[str, object] = WORDS,
        images: Sequence[str] = ("a.png", "b.png"),
        classes: Sequence[str] = ("x", "y"),
        **change: object,
    ) -> ImageListReader:
        folder = tmp_path / "mine"
        folder.mkdir(exist_ok=True)
        (folder / "list.txt").write_bytes(text.encode() if isinstance(text, str) else text)
        for i, name in enumerate(images):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4 + i, 3), (i, 0, 0)).save(folder / name)
        fields = {"type": "image_list", "file": "list.txt", **layout}
        manifest = make_manifest(**{"samples": len(images), "layout": fields, **change})
        (condition,) = manifest.all_conditions()
        place = Place(manifest=manifest, folder=folder, condition=condition, classes=tuple(classes))
        assert isinstance(manifest.layout, ImageListLayout)
        reader = open_stored(place, manifest.layout)
        assert isinstance(reader, ImageListReader)
        return reader

    return open_it


# ----------------------------------------------------------------------------------------- what is read


def test_the_list_gives_order_ids_labels_and_files(tmp_path: Path, opened: Opened) -> None:
    reader = opened("b/two.jpg 1\na/one.PNG 0\n", images=("a/one.PNG", "b/two.jpg"))
    assert reader.sample_ids == ["b/two", "a/one"]
    assert reader.labels.tolist() == [1, 0]
    assert reader.labels.dtype == np.int64
    files = [tmp_path / "mine" / name for name in ("list.txt", "b/two.jpg", "a/one.PNG")]
    assert list(reader.files()) == files
    stored = reader.stored(np.array([1, 0]))
    assert [bytes(part) for part in stored] == [files[2].read_bytes(), files[1].read_bytes()]
    assert reader.decode(1, stored[0]).shape == (3, 4, 3)
    assert reader.decoder.startswith("pillow ")


@pytest.mark.parametrize("layout", [UNLABELLED, WORDS], ids=["labels left", "labels read"])
def test_the_lists_of_openood_are_read(opened: Opened, layout: Mapping[str, object]) -> None:
    images = ("tin/val/images/val_0.JPEG", "tin/val/images/val_10.JPEG")
    reader = opened(
        "".join(f"{name} -1\n" for name in images),
        layout={**layout, "path": "images_classic/{image}"},
        images=[f"images_classic/{name}" for name in images],
        **OOD,
    )
    assert reader.sample_ids == ["tin/val/images/val_0", "tin/val/images/val_10"]
    assert reader.labels.tolist() == [-1, -1]


def test_the_annotations_of_tiny_imagenet_are_read(opened: Opened) -> None:
    images = [f"val/images/val_{i}.JPEG" for i in range(2)]
    reader = opened(ANNOTATIONS, layout=TSV, images=images, classes=WNIDS)
    assert reader.sample_ids == ["val_0", "val_1"]
    assert reader.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    "text", ["imgs,labels,azimuth\na.png,y,1.5\nb.png,x,2\n", '"labels","imgs"\ny,"a.png"\nx,b.png']
)
def test_columns_of_a_csv_are_found_by_their_names(opened: Opened, text: str) -> None:
    reader = opened(text, layout=CSV, images=("Images/a.png", "Images/b.png"))
    assert reader.sample_ids == ["a", "b"]
    assert reader.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "layout", "prefix"),
    [
        ("a.png 1\nb.png 0\n", WORDS, ""),
        ("imgs,labels\na.png,y\nb.png,x\n", CSV, "Images/"),
        ("a.png\ty\nb.png\tx\n", TSV, "val/images/"),
    ],
    ids=["words", "csv", "tsv"],
)
def test_byte_order_marks_ends_of_lines_and_empty_lines_change_nothing(
    opened: Opened, text: str, layout: Mapping[str, object], prefix: str
) -> None:
    images = [f"{prefix}{name}.png" for name in "ab"]
    for changed in (
        "\ufeff" + text,
        text.replace("\n", "\r\n"),
        text.replace("\n", "\n\n  \n"),
        text.removesuffix("\n"),
        "\n" + text,
    ):
        reader = opened(changed, layout=layout, images=images)
        assert reader.sample_ids == ["a", "b"]
        assert reader.labels.tolist() == [1, 0]


def test_names_may_hold_blanks_commas_and_other_scripts(opened: Opened) -> None:
    names = ["a b/c  d.png", "é,x.png", "a\u2028b.png"]
    reader = opened("".join(f"{name} 0\n" for name in names), images=names)
    assert reader.sample_ids == ["a b/c  d", "é,x", "a\u2028b"]


def test_the_label_may_be_a_part_of_the_path_and_then_of_the_id(opened: Opened) -> None:
    layout = {**CSV, "path": "Images/{label}/{image}"}
    images = ("Images/x/one.png", "Images/y/one.png")
    reader = opened("imgs,labels\none.png,y\none.png,x\n", layout=layout, images=images)
    assert reader.sample_ids == ["y/one", "x/one"]
    assert [path.parent.name for path in reader.files()[1:]] == ["y", "x"]


def test_endings_may_be_left_to_the_path(opened: Opened) -> None:
    layout = {**WORDS, "path": "{image}.png"}
    reader = opened("a.b 0\nc 1\n", layout=layout, images=("a.b.png", "c.png"))
    assert reader.sample_ids == ["a.b", "c"]


def test_braces_in_a_name_stand_for_themselves(opened: Opened) -> None:
    layout = {**WORDS, "path": "{label}/{image}"}
    reader = opened("{label}.png 0\nb.png 1\n", layout=layout, images=("0/{label}.png", "1/b.png"))
    assert reader.sample_ids == ["0/{label}", "1/b"]


def test_a_list_of_out_of_distribution_images_may_have_classes_of_its_own(opened: Opened) -> None:
    reader = opened("a.png 1\nb.png 0\n", role="ood")
    assert reader.labels.tolist() == [-1, -1]
    assert reader.groups.tolist() == [1, 0]
    # Labels that are not read, where the set has classes.
    assert opened("a.png 1\nb.png 0\n", role="ood", layout=UNLABELLED).groups.tolist() == [0, 0]


def test_a_limit_goes_round_the_classes_of_a_sorted_list(opened: Opened) -> None:
    images = [f"{name}.png" for name in "abcd"]
    taken = {}
    for labels in ("0011", "0010"):
        reader = opened("".join(f"{n} {i}\n" for n, i in zip(images, labels, strict=True)), images=images)
        taken[labels] = limited(reader.groups, 2, class_sorted=reader.class_sorted).tolist()
    assert taken == {"0011": [0, 2], "0010": [0, 1]}


def test_a_limit_goes_round_the_folders_where_there_are_no_classes(opened: Opened) -> None:
    images = ["t/banded/1.png", "t/banded/2.png", "t/woven/1.png"]
    reader = opened("".join(f"{name} -1\n" for name in images), layout=UNLABELLED, images=images, **OOD)
    assert limited(reader.groups, 2, class_sorted=reader.class_sorted).tolist() == [0, 2]


def test_a_line_that_stands_twice_names_one_image_and_the_manifest_says_how_many_there_are(
    opened: Opened,
) -> None:
    text = "a.png 1\nb.png 0\na.png 1\n"
    reader = opened(text)
    assert reader.sample_ids == ["a", "b"]
    with pytest.raises(
        DataError,
        match=r"list\.txt \(repeated lines left out: 1\) does not hold the images of mine; "
        "expected 3 images; found 2",
    ):
        opened(text, samples=3)


# -------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a.png 0\na.png 1\n",
            "line 2: it names a again, and says something else; expected a.png 0, as in line 1",
        ),
        ("a.png 0\na.jpg 0\n", "line 2: it names a again"),
        (
            "a.png 0\nb.png\n",
            "line 2: it ends in no label; expected a path, a blank, a number; found 'b.png'",
        ),
        ("a.png 0\nb.png x\n", "line 2: it ends in no label"),
        ("a.png 0\nb.png ٣\n", "line 2: it ends in no label"),
        ("a.png 0\n\nb.png 2\n", "line 3: no class of digits; expected one of 0, 1 ...; found '2'"),
        ("a.png 0\nb.png -1\n", "line 2: no class of digits"),
        ("a.png 0\n/b.png 1\n", "line 2: a path that may lead elsewhere"),
        ("a.png 0\n../b.png 1\n", "line 2: a path that may lead elsewhere"),
        ("a.png 0\nc/../b.png 1\n", "line 2: a path that may lead elsewhere"),
        ("a.png 0\n./b.png 1\n", "line 2: a path that may lead elsewhere"),
        ("a.png 0\nc//b.png 1\n", "line 2: a path that may lead elsewhere"),
        ("a.png 0\nc\\b.png 1\n", "line 2: a path that may lead elsewhere"),
        ("a.png 0\nC:b.png 1\n", "line 2: a path that may lead elsewhere"),
        ("a.png 0\nb\0.png 1\n", "line 2: a path that may lead elsewhere"),
        ("a.png 0\nb.txt 1\n", "line 2: it names no picture"),
        ("a.png 0\n", "expected 2 images; found 1"),
        ("", "expected 2 images; found 0"),
        (b"a.png 0\nb\xff.png 1\n", "is no text; expected UTF-8"),
    ],
)
def test_a_malformed_line_is_named(opened: Opened, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError) as raised:
        opened(text)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imgs,labels\na.png,x\nb.png\n", "line 3: a wrong number of columns; expected 2; found 1"),
        ("imgs,labels\na.png,x\nb.png,y,z\n", "line 3: a wrong number of columns; expected 2; found 3"),
        ('imgs,labels\na.png,x\n"b.png"y,x\n', "line 3: it is no CSV"),
        ('imgs,labels\na.png,x\n"b.png,x\n', "it is no CSV"),
        (
            "imgs,labels\na.png,x\nb.png,z\n",
            "line 3: no class of digits; expected one of x, y ...; found 'z'",
        ),
        ("image,labels\na.png,x\nb.png,y\n", "has no column 'imgs'"),
        ("imgs,labels,imgs\na.png,x,a.png\nb.png,y,b.png\n", "has 2 columns 'imgs'"),
    ],
)
def test_a_malformed_csv_is_named(opened: Opened, text: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        opened(text, layout=CSV, images=("Images/a.png", "Images/b.png"))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "change", "message"),
    [
        ("a.png\tx\nb.png\n", {}, "line 2: a wrong number of columns; expected 2 columns; found 1"),
        (
            "a.png\nb.png\n",
            {},
            "line 1: a wrong number of columns; expected a column 1, counted from 0; found 1",
        ),
        ("a.png x\nb.png y\n", {}, "line 1: a wrong number of columns"),
        ("a.png\tx\nb.png\ty\n", {"label": "class"}, "has no head line, so it has no column 'class'"),
        ("a.png\tx\nb.png\ty\n", {"image": "-1"}, "so it has no column '-1'"),
    ],
)
def test_a_malformed_table_is_named(
    opened: Opened, text: str, change: Mapping[str, object], message: str
) -> None:
    with pytest.raises(DataError) as raised:
        opened(text, layout={**TSV, **change}, images=("val/images/a.png", "val/images/b.png"))
    assert message in str(raised.value)


def test_the_first_missing_image_is_named_and_the_missing_are_counted(tmp_path: Path, opened: Opened) -> None:
    text = "a.png 0\nc/d.png 1\nb.png 0\ne.png 1\nfile/f.png 1\ng.png 1\n"
    (tmp_path / "mine" / "g.png").mkdir(parents=True)
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(DataError, match=r"expected .*mine/c/d\.png; found 4 of 6 missing") as raised:
        opened(text, samples=6)
    assert "list.txt names images that are not there" in raised.value.what


def test_counts_by_class_are_checked(opened: Opened) -> None:
    assert len(opened("a.png 0\nb.png 1\n", samples_per_class=1).labels) == 2
    with pytest.raises(DataError, match=r"list\.txt: class x; expected 1 images; found 2"):
        opened("a.png 0\nb.png 0\n", samples_per_class=1)


def test_a_damaged_image_is_named(tmp_path: Path, opened: Opened) -> None:
    reader = opened("a.png 0\nb.png 1\n")
    with pytest.raises(DataError, match=r"mine/b\.png cannot be decoded"):
        reader.decode(1, b"broken")


def test_lists_and_images_far_too_large_are_refused_unread(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = opened("a.png 0\nb.png 1\n")
    with (tmp_path / "mine" / "b.png").open("wb") as handle:
        handle.truncate(65 * 2**20)
    with pytest.raises(FileFormatError, match=r"b\.png is too large"):
        reader.stored(np.array([1]))
    monkeypatch.setattr(image_list, "_LARGEST_LIST", 15)
    with pytest.raises(FileFormatError, match=r"list\.txt is too large; expected at most 15 bytes"):
        opened("a.png 0\nb.png 1\n")


def test_the_stamp_changes_with_the_list_and_with_an_image(tmp_path: Path, opened: Opened) -> None:
    reader = opened("a.png 0\nb.png 1\n")
    stamps = [reader.stamp(), reader.stamp()]
    for name in ("list.txt", "b.png"):
        path = tmp_path / "mine" / name
        path.write_bytes(path.read_bytes() + b"\n")
        stamps.append(reader.stamp())
    assert stamps[0] == stamps[1]
    assert len(set(stamps)) == 3


# --------------------------------------------------------------------------------------- published lists

ROBIN = (
    "aeroplane", "bicycle", "boat", "bus", "car", "chair", "diningtable", "motorbike", "sofa", "train",
)  # fmt: skip


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "images", "lines", "classes"),
    [
        ("iid_test", 4848, 4852, 10),
        ("context", 567, 567, 8),
        ("occlusion", 5779, 5779, 10),
        ("pose", 1075, 1075, 10),
        ("shape", 981, 981, 10),
        ("texture", 565, 565, 9),
        ("weather", 1348, 1348, 8),
    ],
)
def test_the_lists_of_robin_are_read(
    shared: Path, tmp_path: Path, opened: Opened, name: str, images: int, lines: int, classes: int
) -> None:
    source = shared / "data" / "predictions" / "robin" / "labels" / f"{name}.csv"
    with source.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == lines
    for row in rows:
        path = tmp_path / "mine" / "Images" / row["labels"] / row["imgs"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    reader = opened(
        source.read_bytes(),
        layout={**CSV, "path": "Images/{label}/{image}"},
        images=(),
        classes=ROBIN,
        samples=images,
    )
    # Four lines of iid_test stand twice; a dict keeps the first of each.
    expected = {f"{row['labels']}/{row['imgs'].removesuffix('.jpg')}": row["labels"] for row in rows}
    assert reader.sample_ids == list(expected)
    assert [ROBIN[label] for label in reader.labels] == list(expected.values())
    assert len(set(reader.labels.tolist())) == classes
