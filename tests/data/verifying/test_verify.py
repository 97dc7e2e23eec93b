"""Verification of a dataset's files: every fault is found and named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustbench_safety.data import Dataset, load_dataset
from robustbench_safety.data.verifying.findings import Finding, Verification
from robustbench_safety.data.verifying.verify import verify_dataset
from robustbench_safety.errors import UsageError

MakeDataset = Callable[..., Dataset]
MakeFolder = Callable[[Path, int], None]
MakeCorrupted = Callable[..., Dataset]


@pytest.fixture
def whole(make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path) -> Dataset:
    """Return a dataset of two pictures for each of the classes a, b, c, all there."""
    make_folder(tmp_path / "mine", 2)
    return make_dataset(layout={"type": "image_folder"}, samples=6)


@pytest.fixture
def corrupted(make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path) -> Dataset:
    """Return a dataset with fog and snow at two levels of two pictures a class, all there."""
    for name in ("fog", "snow"):
        for level in ("1", "2"):
            make_folder(tmp_path / "mine" / name / level, 2)
    return make_dataset(
        role="corruption",
        layout={"type": "image_folder", "path": "{name}/{level}"},
        conditions=[{"kind": "corruption", "names": ["fog", "snow"], "levels": [1, 2]}],
        samples=6,
        samples_per_class=2,
    )


def only(report: Verification, kind: str) -> Finding:
    """Return the one finding, which is of this kind."""
    assert [finding.kind for finding in report.findings] == [kind], report.findings
    return report.findings[0]


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize("quick", [True, False])
def test_a_whole_tree_is_ok_and_counted(corrupted: Dataset, *, quick: bool) -> None:
    report = verify_dataset(corrupted, quick=quick)
    assert report.ok
    assert report.findings == ()
    assert (report.dataset, report.folder, report.quick) == ("mine", str(corrupted.folder), quick)
    assert (report.conditions, report.images, report.hashed) == (4, 24, 0)
    assert report.decoded == (0 if quick else 24)
    assert report.seconds > 0


@pytest.mark.parametrize("found", ["no such folder", "an empty folder"])
def test_a_folder_that_is_not_there_is_one_finding_that_says_where_it_was_looked_for(
    corrupted: Dataset, found: str
) -> None:
    shutil.rmtree(corrupted.folder)
    if found == "an empty folder":
        corrupted.folder.mkdir()
    report = verify_dataset(corrupted)
    finding = only(report, "missing")
    assert finding.where == f"dataset mine is not in {corrupted.folder}"
    assert finding.found == found
    assert not report.ok
    assert report.conditions == 0


def test_a_renamed_corruption_is_named_with_its_levels_and_what_stands_there_instead(
    corrupted: Dataset,
) -> None:
    (corrupted.folder / "fog").rename(corrupted.folder / "fogg")
    report = verify_dataset(corrupted)
    missing, stray = report.findings
    assert missing.kind == "missing"
    assert missing.where == f"2 conditions of mine are not in {corrupted.folder}: fog at 1/2"
    assert (missing.expected, missing.found) == ("fog/1, fog/2", "no fog there, but fogg and 1 more")
    assert (stray.kind, stray.level, stray.where) == ("stray", "note", str(corrupted.folder / "fogg"))
    assert stray.found == "a folder with 12 files that no condition reads"
    assert report.images == 12


def test_a_missing_level_is_named(corrupted: Dataset) -> None:
    shutil.rmtree(corrupted.folder / "snow" / "2")
    finding = only(verify_dataset(corrupted), "missing")
    assert finding.where == f"snow at level 2 of dataset mine is not in {corrupted.folder}"
    assert finding.found == f"no 2 in {corrupted.folder / 'snow'}, but 1"


def test_missing_conditions_without_levels_are_named_without(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "other").mkdir(parents=True)
    dataset = make_dataset(
        layout={"type": "image_folder", "path": "split/{name}"},
        conditions=[{"kind": "clean", "names": ["day", "night"], "levels": [0]}],
    )
    missing = only(verify_dataset(dataset), "missing")
    assert missing.where == f"2 conditions of mine are not in {dataset.folder}: day, night"
    assert (missing.expected, missing.found) == ("split/day, split/night", "no split there, but other")


def test_an_image_too_few_is_told_by_total_class_and_name(corrupted: Dataset) -> None:
    (corrupted.folder / "snow" / "1" / "b" / "img_1.png").unlink()
    total, each, names = verify_dataset(corrupted).findings
    root = corrupted.folder / "snow" / "1"
    assert (total.kind, total.expected, total.found) == ("count", "6 images", "5, 1 too few")
    assert total.where.startswith(f"{root} ")
    assert (each.kind, each.where) == ("count", f"{root / 'b'}: class b")
    assert (each.expected, each.found) == ("2 images", "1, 1 too few")
    assert names.kind == "samples"
    assert names.where == "mine/corruption/snow-1 does not show the images of mine/corruption/fog-1"
    assert names.found == "1 missing: b/img_1"


def test_an_image_missing_from_the_first_condition_is_named_by_the_first_whole_one(
    corrupted: Dataset,
) -> None:
    (corrupted.folder / "fog" / "1" / "c" / "img_0.png").unlink()
    report = verify_dataset(corrupted)
    assert [finding.kind for finding in report.findings] == ["count", "count", "samples"]
    assert report.findings[-1].where.startswith("mine/corruption/fog-1 does not show the images of ")
    assert report.findings[-1].found == "1 missing: c/img_0"
    assert report.decoded == 23


def test_another_image_of_the_same_number_is_found_by_its_name(corrupted: Dataset) -> None:
    folder = corrupted.folder / "fog" / "2" / "a"
    (folder / "img_1.png").rename(folder / "other.png")
    finding = only(verify_dataset(corrupted), "samples")
    assert finding.found == "1 missing: a/img_1; 1 more: a/other"


def test_a_damaged_image_passes_quick_and_is_named_by_the_full_check(whole: Dataset) -> None:
    damage(whole.folder / "b" / "img_0.png")
    damage(whole.folder / "c" / "img_1.png")
    assert verify_dataset(whole, quick=True).ok
    report = verify_dataset(whole)
    assert [finding.kind for finding in report.findings] == ["undecodable", "undecodable"]
    assert report.findings[0].where == f"{whole.folder / 'b' / 'img_0.png'} cannot be decoded"
    assert report.findings[1].where == f"{whole.folder / 'c' / 'img_1.png'} cannot be decoded"
    assert (report.images, report.decoded) == (6, 4)


def test_a_damaged_image_is_found_in_a_set_that_is_not_whole(whole: Dataset) -> None:
    (whole.folder / "a" / "img_0.png").unlink()
    damage(whole.folder / "b" / "img_0.png")
    assert [finding.kind for finding in verify_dataset(whole).findings] == ["count", "undecodable"]


def test_an_image_of_another_size_is_named(
    make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path
) -> None:
    make_folder(tmp_path / "mine", 1)
    Image.fromarray(np.zeros((9, 13, 3), dtype=np.uint8)).save(tmp_path / "mine" / "c" / "img_0.png")
    dataset = make_dataset(layout={"type": "image_folder"}, samples=3, image_size=[9, 12])
    finding = only(verify_dataset(dataset), "size")
    assert finding.where == f"{tmp_path / 'mine' / 'c' / 'img_0.png'} has the wrong size"
    assert (finding.expected, finding.found) == ("9x12", "9x13")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
@pytest.mark.parametrize("name", ["", "fog", "fog/1", "fog/1/a", "fog/1/a/img_0.png"])
def test_what_may_not_be_read_is_named_and_the_rest_checked(corrupted: Dataset, name: str) -> None:
    path = corrupted.folder / name
    path.chmod(0)
    try:
        report = verify_dataset(corrupted)
    finally:
        path.chmod(0o755)
    assert {finding.kind for finding in report.findings} == {"unreadable"}
    assert report.findings[0].where.startswith(str(path))
    assert report.images == {"": 0, "fog": 12, "fog/1": 18, "fog/1/a": 18}.get(name, 24)


def test_an_image_that_vanishes_or_cannot_be_read_does_not_stop_the_rest(whole: Dataset) -> None:
    path = whole.folder / "a" / "img_0.png"
    path.unlink()
    path.symlink_to(whole.folder / "nowhere")
    damage(whole.folder / "c" / "img_1.png")
    report = verify_dataset(whole)
    assert [finding.kind for finding in report.findings] == ["unreadable", "undecodable"]
    assert report.findings[0].where == f"{path} cannot be read"


def test_many_images_that_cannot_be_read_do_not_stop_the_rest(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "a").mkdir(parents=True)
    for number in range(100):
        (tmp_path / "mine" / "a" / f"{number:02d}.png").symlink_to(tmp_path / "nowhere")
    path = tmp_path / "mine" / "a" / "x.png"
    path.write_bytes(b"damaged")
    report = verify_dataset(make_dataset(classes=("a",), layout={"type": "image_folder"}, samples=101))
    kinds = [finding.kind for finding in report.findings]
    assert kinds == ["unreadable"] * 21 + ["undecodable"]
    assert report.findings[20].found == "80 more of this kind"
    assert report.findings[21].where == f"{path} cannot be decoded"


def test_names_that_lack_a_group_column_are_told(
    make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path
) -> None:
    make_folder(tmp_path / "mine", 1)
    layout = {"type": "image_folder"}
    dataset = make_dataset(layout=layout, samples=3, columns={"style": r"^\w/([0-9])"})
    finding = only(verify_dataset(dataset), "samples")
    assert finding.where == "mine: sample a/img_0 has no style"


def test_arrays_are_checked_by_their_shape(make_dataset: MakeDataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "images.npy", np.zeros((12, 4, 4, 3), dtype=np.uint8))
    np.save(tmp_path / "mine" / "labels.npy", np.zeros(12, dtype=np.int64))
    report = verify_dataset(make_dataset())
    assert (report.findings, report.images, report.decoded) == ((), 12, 0)
    np.save(tmp_path / "mine" / "images.npy", np.zeros((11, 4, 4, 3), dtype=np.uint8))
    finding = only(verify_dataset(make_dataset()), "content")
    assert (finding.expected, finding.found) == ("12 images", "11")


def test_one_missing_file_of_labels_is_told_once_for_all_conditions(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("fog", "snow"):
        np.save(tmp_path / "mine" / f"{name}.npy", np.zeros((12, 4, 4, 3), dtype=np.uint8))
    dataset = make_dataset(
        role="corruption",
        layout={"type": "npy", "images": "{name}.npy", "labels": "labels.npy", "levels_in_rows": 2},
        conditions=[{"kind": "corruption", "names": ["fog", "snow"], "levels": [1, 2]}],
        samples=6,
    )
    missing = verify_dataset(dataset).findings[0]
    assert missing.where.endswith(": fog at 1/2, snow at 1/2")
    assert (missing.kind, missing.expected) == ("missing", "labels.npy")


def test_a_batch_with_a_wrong_md5_is_told_by_its_reader(make_dataset: MakeDataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "test_batch").write_bytes(b"something else")
    layout = {"type": "cifar_pickle", "files": {"test_batch": "0" * 32}, "label_field": "labels"}
    finding = only(verify_dataset(make_dataset(layout=layout)), "content")
    assert str(tmp_path / "mine" / "test_batch") in finding.where
    assert "0" * 32 in finding.expected


@pytest.mark.parametrize("n", [10_000, 9_999])
def test_a_file_of_labels_for_other_images_is_read(tmp_path: Path, n: int) -> None:
    published = load_dataset("cifar-10h", data=tmp_path)
    manifest = published.manifest.model_copy(update={"archives": ()})
    dataset = replace(published, manifest=manifest)
    dataset.folder.mkdir()
    np.save(dataset.folder / "cifar10h-counts.npy", np.ones((n, 10), dtype=np.int64))
    report = verify_dataset(dataset)
    assert report.ok == (n == 10_000)
    assert [finding.kind for finding in report.findings] == ([] if report.ok else ["labels"])


@pytest.mark.parametrize(("name", "fix"), [("digits", ""), ("digits-c", "verify digits, which")])
def test_what_the_package_makes_is_ok_and_noted(tmp_path: Path, name: str, fix: str) -> None:
    report = verify_dataset(load_dataset(name, data=tmp_path))
    assert report.ok
    finding = only(report, "nothing")
    assert (finding.level, finding.found) == ("note", "nothing on disk to verify")
    assert finding.fix.startswith(fix)
    assert bool(finding.fix) == bool(fix)
    with pytest.raises(UsageError, match=f"{name} has no files"):
        verify_dataset(load_dataset(name, data=tmp_path), digests=tmp_path / "SHA256SUMS")


def test_the_report_depends_neither_on_the_number_of_threads_nor_on_the_order_of_the_folder(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    pixels = Image.fromarray(np.zeros((4, 5, 3), dtype=np.uint8))
    reports = []
    for turn, workers in ((1, 1), (-1, 1), (1, 7)):
        shutil.rmtree(tmp_path / "mine", ignore_errors=True)
        for name in [f"{key}/{number}" for key in "abc" for number in range(100)][::turn]:
            path = tmp_path / "mine" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels.save(path)
            if name[2:] in ("7", "50", "99"):
                damage(path)
        (tmp_path / "mine" / "stray").write_bytes(b"")
        (tmp_path / "mine" / "b" / "another").write_bytes(b"")
        dataset = make_dataset(layout={"type": "image_folder"}, samples=300, image_size=[4, 4])
        report = verify_dataset(dataset, workers=workers)
        reports.append(report.model_dump(exclude={"seconds"}))
    assert len(reports[0]["findings"]) == 9 + 20 + 1 + 2
    assert reports[0] == reports[1] == reports[2]


def test_progress_counts_every_image_of_every_condition_whatever_is_missing(corrupted: Dataset) -> None:
    shutil.rmtree(corrupted.folder / "fog" / "2")
    told: list[tuple[int, int]] = []
    verify_dataset(corrupted, advance=lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {24}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {6, 12, 18, 24} <= {done for done, _ in told}


def test_less_than_one_thread_is_refused(whole: Dataset) -> None:
    with pytest.raises(UsageError, match="workers is out of range"):
        verify_dataset(whole, workers=0)
