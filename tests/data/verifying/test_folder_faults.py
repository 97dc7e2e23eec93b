"""Class folders that are missing, unknown, short or another set's, named one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.data.verifying.findings import Finding, Verification
from robustbench_safety.data.verifying.verify import verify_dataset
from robustbench_safety.labels import class_digest, load_class_map, load_label_space, load_subset

MakeDataset = Callable[..., Dataset]
MakeFolder = Callable[[Path, int], None]


@pytest.fixture
def whole(make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path) -> Dataset:
    """Return a dataset of two pictures for each of the classes a, b, c, all there."""
    make_folder(tmp_path / "mine", 2)
    return make_dataset(layout={"type": "image_folder"}, samples=6)


def only(report: Verification, kind: str) -> Finding:
    """Return the one finding, which is of this kind."""
    assert [finding.kind for finding in report.findings] == [kind], report.findings
    return report.findings[0]


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def fill(root: Path, keys: tuple[str, ...]) -> None:
    for key in keys:
        (root / key).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(root / key / "one.png")


def test_classes_that_may_differ_in_size_are_told_by_their_total(whole: Dataset) -> None:
    (whole.folder / "a" / "img_0.png").unlink()
    finding = only(verify_dataset(whole), "count")
    assert (finding.expected, finding.found) == ("6 images", "5, 1 too few")


def test_a_class_without_any_image_is_named(whole: Dataset) -> None:
    for path in (whole.folder / "b").iterdir():
        path.unlink()
    total, empty = verify_dataset(whole).findings
    assert (total.kind, total.found) == ("count", "4, 2 too few")
    assert (empty.where, empty.found) == (f"{whole.folder / 'b'}: class b", "0")


def test_a_missing_and_an_unknown_class_folder_are_named(whole: Dataset) -> None:
    (whole.folder / "b").rename(whole.folder / "bb")
    (whole.folder / ".cache").mkdir()
    report = verify_dataset(whole)
    missing, unknown, total = report.findings
    assert report.decoded == 4
    assert {missing.kind, unknown.kind} == {"class"}
    assert missing.where == f"{whole.folder / 'b'}: class b of mine has no folder"
    assert unknown.where == f"{whole.folder / 'bb'}: no class of mine is called bb"
    assert unknown.found == "a folder with 2 images"
    assert (total.kind, total.found) == ("count", "4, 2 too few")


def test_class_folders_one_level_too_deep_are_found(whole: Dataset, tmp_path: Path) -> None:
    whole.folder.rename(tmp_path / "inner")
    whole.folder.mkdir()
    (tmp_path / "inner").rename(whole.folder / "inner")
    finding = only(verify_dataset(whole), "class")
    assert finding.found == "none of them, but inner"
    assert finding.fix == f"they are in {whole.folder / 'inner'}: move them up by one folder"


@pytest.mark.parametrize(
    ("wanted", "there"),
    [("imagenet-a", "imagenet-r"), ("imagenet-o", "imagenet-a"), ("imagenet-r", "imagenet-o")],
)
def test_a_swapped_set_of_imagenet_classes_is_named(tmp_path: Path, wanted: str, there: str) -> None:
    fill(tmp_path / "swapped", load_subset(there).classes)
    data = DataRoot(root=tmp_path, folders={wanted: tmp_path / "swapped"})
    finding = only(verify_dataset(load_dataset(wanted, data=data)), "class")
    assert finding.where == f"{tmp_path / 'swapped'} does not hold the classes of {wanted}"
    assert finding.found == f"200 folders: these are the classes of {there}"


def test_many_faults_of_one_kind_are_counted_after_the_twentieth(tmp_path: Path) -> None:
    classes = load_subset("imagenet-a").classes
    fill(tmp_path / "part", classes[:150])
    data = DataRoot(root=tmp_path, folders={"imagenet-a": tmp_path / "part"})
    report = verify_dataset(load_dataset("imagenet-a", data=data))
    missing = [finding for finding in report.findings if finding.kind == "class"]
    assert len(missing) == 21
    assert classes[150] in missing[0].where
    assert (missing[-1].where, missing[-1].found) == ("imagenet-a/clean/clean-0", "30 more of this kind")
    assert report.findings[-1].found == "150, 7350 too few"


def test_a_set_without_class_folders_is_told_by_its_total(
    make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path
) -> None:
    make_folder(tmp_path / "mine", 2)
    (tmp_path / "mine" / "c").rename(tmp_path / "mine" / ".c")
    damage(tmp_path / "mine" / "a" / "img_1.png")
    layout = {"type": "image_folder", "folders": "any"}
    dataset = make_dataset(classes=(), role="ood", label_space=None, layout=layout, samples=9)
    total, damaged = verify_dataset(dataset).findings
    assert (total.kind, total.found) == ("count", "4, 5 too few")
    assert damaged.kind == "undecodable"


def test_two_images_that_differ_in_their_ending_are_told_by_the_reader(whole: Dataset) -> None:
    (whole.folder / "a" / "img_1.png").rename(whole.folder / "a" / "img_0.jpg")
    finding = only(verify_dataset(whole), "content")
    assert "two images a/img_0 that differ in their ending alone" in finding.where


@pytest.mark.parametrize(("n", "ok"), [(2, True), (1, False)])
def test_folders_called_after_numbers_are_told_with_their_class(
    make_dataset: MakeDataset, tmp_path: Path, n: int, *, ok: bool
) -> None:
    fill(tmp_path / "mine", ("1", "0")[:n])
    layout = {"type": "image_folder", "folders": "number"}
    report = verify_dataset(make_dataset(classes=("a", "b"), layout=layout, samples=2))
    assert report.ok == ok
    if not ok:
        missing, total = report.findings
        assert missing.where == f"{tmp_path / 'mine' / '0'}: class a of mine has no folder"
        assert missing.expected == "a folder 0 with its images"
        assert total.found == "1, 1 too few"
        assert report.decoded == 1


def test_too_many_images_are_told(whole: Dataset, make_dataset: MakeDataset) -> None:
    layout = {"type": "image_folder"}
    dataset = make_dataset(layout=layout, samples=3, samples_also=[4], samples_per_class=1)
    total, *each = verify_dataset(dataset).findings
    assert (total.expected, total.found) == ("3 or 4 images", "6, 3 too many")
    assert [finding.found for finding in each] == ["2, 1 too many"] * 3
    assert verify_dataset(make_dataset(layout=layout, samples=3, samples_also=[6])).ok


def test_a_folder_of_other_things_is_told_by_what_is_there(whole: Dataset) -> None:
    for key in "abc":
        (whole.folder / key).rename(whole.folder / f"x{key}")
    finding = only(verify_dataset(whole), "class")
    assert finding.found == "none of them, but xa, xb, xc"
    assert finding.fix == "check that this is the dataset's folder and no other's"


def test_left_folders_are_not_told_where_a_class_is_missing(
    whole: Dataset, make_dataset: MakeDataset
) -> None:
    layout = {"type": "image_folder", "others": "leave"}
    dataset = make_dataset(classes=("a", "d"), layout=layout, samples=4)
    missing, total = verify_dataset(dataset).findings
    assert missing.where == f"{whole.folder / 'd'}: class d of mine has no folder"
    assert total.found == "2, 2 too few"


def test_the_whole_space_in_the_place_of_a_subset_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "all", load_label_space("cifar-10").classes)
    data = DataRoot(root=tmp_path, folders={"imagenet-a": tmp_path / "all"})
    dataset = load_dataset("imagenet-a", data=data)
    assert only(verify_dataset(dataset), "class").found == "10 folders: these are the classes of cifar-10"


def test_a_user_s_own_subset_is_named(whole: Dataset, tmp_path: Path, make_dataset: MakeDataset) -> None:
    keys = load_label_space("cifar-10").classes[:3]
    own = tmp_path / "own" / "subsets"
    own.mkdir(parents=True)
    (own / "three.yaml").write_text(
        f"name: three\nlabel_space: cifar-10\nclasses: [{', '.join(keys)}]\ncount: 3\n"
        f"digest: {class_digest(keys)}\nsource: mine\n"
    )
    fill(tmp_path / "swapped", keys)
    data = DataRoot(root=tmp_path, folders={"mine": tmp_path / "swapped"}, beside=tmp_path / "own")
    dataset = Dataset(manifest=whole.manifest, data=data, classes=whole.classes)
    assert only(verify_dataset(dataset), "class").found == "3 folders: these are the classes of three"


def test_the_classes_of_a_map_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "shapes", tuple(load_class_map("sixteen-classes").classes))
    data = DataRoot(root=tmp_path, folders={"imagenet-a": tmp_path / "shapes"})
    finding = only(verify_dataset(load_dataset("imagenet-a", data=data)), "class")
    assert finding.found == "16 folders: these are the classes of sixteen-classes"


def test_folders_that_are_left_alone_may_be_another_set_s(make_dataset: MakeDataset, tmp_path: Path) -> None:
    keys = load_label_space("cifar-10").classes
    fill(tmp_path / "mine", keys)
    layout = {"type": "image_folder", "others": "leave"}
    report = verify_dataset(make_dataset(classes=keys[:3], layout=layout, samples=4))
    assert only(report, "count").found == "3, 1 too few"


def test_folders_without_any_image_are_told(whole: Dataset) -> None:
    for path in whole.folder.rglob("*.png"):
        path.unlink()
    total, *empty = verify_dataset(whole).findings
    assert total.found == "0, 6 too few"
    assert [finding.where[-7:] for finding in empty] == ["class a", "class b", "class c"]
