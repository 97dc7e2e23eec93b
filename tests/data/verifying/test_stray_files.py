"""Files that no condition reads are noted, and those that belong there are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.data import Dataset
from robustbench_safety.data.verifying.verify import verify_dataset

MakeDataset = Callable[..., Dataset]
MakeFolder = Callable[[Path, int], None]


@pytest.fixture
def make_tree(make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path) -> MakeDataset:
    """Return a function that makes a dataset of one picture for each of the classes a, b, c, in ``val``."""

    def make(**change: object) -> Dataset:
        make_folder(tmp_path / "mine" / "val", 1)
        layout: dict[str, object] = {"type": "image_folder", "path": "val"}
        return make_dataset(**{"layout": layout, "samples": 3, **change})

    return make


def strays(dataset: Dataset) -> dict[str, str]:
    """Return what is said of each stray, by its path below the folder; nothing else is found."""
    report = verify_dataset(dataset)
    assert report.ok
    assert {(finding.kind, finding.level) for finding in report.findings} <= {("stray", "note")}
    return {
        Path(finding.where).relative_to(dataset.folder).as_posix(): finding.found
        for finding in report.findings
    }


def test_a_file_is_noted_wherever_it_lies(make_tree: MakeDataset) -> None:
    dataset = make_tree()
    for name in ("notes", "val/list.csv", "val/a/scores.txt"):
        (dataset.folder / name).write_bytes(b"")
    assert strays(dataset) == dict.fromkeys(
        ("notes", "val/list.csv", "val/a/scores.txt"), "a file that no condition reads"
    )


def test_a_folder_in_which_nothing_is_read_is_noted_once_with_its_files(make_tree: MakeDataset) -> None:
    dataset = make_tree()
    for name in ("train/a", "train/b"):
        (dataset.folder / name).mkdir(parents=True)
        for number in range(3):
            (dataset.folder / name / f"{number}.png").write_bytes(b"")
    assert strays(dataset) == {"train": "a folder with 6 files that no condition reads"}


def test_hidden_files_and_folders_are_noted(make_tree: MakeDataset) -> None:
    dataset = make_tree()
    (dataset.folder / "val" / "a" / "._img_0.png").write_bytes(b"")
    (dataset.folder / ".cache").mkdir()
    (dataset.folder / ".cache" / "x").write_bytes(b"")
    assert strays(dataset) == {
        ".cache": "a hidden folder that no condition reads",
        "val/a/._img_0.png": "a hidden file that no condition reads",
    }


@pytest.mark.parametrize(
    ("extra", "left"),
    [
        ("README*", {"train/list.txt", "docs"}),
        ("train/*", {"README.md", "docs"}),
        ("docs/*/me", {"README.md", "train"}),
        ("train?", {"README.md", "train", "docs"}),
        ("list.txt", {"README.md", "train/README", "docs"}),
        ("*", set()),
    ],
)
def test_extras_are_patterns_of_the_name_or_the_path(
    make_tree: MakeDataset, extra: str, left: set[str]
) -> None:
    dataset = make_tree(extras=[extra])
    for name in ("README.md", "train/README", "train/list.txt", "docs/read/me"):
        (dataset.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset.folder / name).write_bytes(b"")
    assert set(strays(dataset)) == left


def test_an_archive_and_the_file_of_digests_are_no_strays(make_tree: MakeDataset, tmp_path: Path) -> None:
    dataset = make_tree(archives=[{"file": "mine.tar"}])
    (dataset.folder / "mine.tar").write_bytes(b"")
    assert strays(dataset) == {}
    sums = dataset.folder / "SHA256SUMS"
    sums.write_text("".join(f"{'0' * 64}  val/{key}/img_0.png\n" for key in "abc"))
    assert set(strays(dataset)) == {"SHA256SUMS"}
    assert {finding.kind for finding in verify_dataset(dataset, digests=sums).findings} == {"digest"}


def test_folders_that_the_layout_leaves_alone_are_no_strays(make_tree: MakeDataset) -> None:
    dataset = make_tree(layout={"type": "image_folder", "path": "val", "others": "leave"})
    (dataset.folder / "val" / "other").mkdir()
    (dataset.folder / "val" / "other" / "one.png").write_bytes(b"")
    (dataset.folder / "val" / "a" / "two.txt").write_bytes(b"")
    (dataset.folder / "val" / "b" / "inner").mkdir()
    (dataset.folder / "val" / "b" / "inner" / "two.txt").write_bytes(b"")
    assert set(strays(dataset)) == {"val/a/two.txt", "val/b/inner"}


def test_files_of_labels_are_no_strays(make_dataset: MakeDataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "images.npy", np.zeros((12, 4, 4, 3), dtype=np.uint8))
    np.save(tmp_path / "mine" / "labels.npy", np.zeros(12, dtype=np.int64))
    np.save(tmp_path / "mine" / "more.npy", np.zeros(12, dtype=np.int64))
    assert set(strays(make_dataset())) == {"more.npy"}


def test_a_dataset_that_lies_in_the_data_root_itself_has_no_strays(
    make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path
) -> None:
    make_folder(tmp_path / "val", 1)
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / "file").write_bytes(b"")
    dataset = make_dataset(layout={"type": "image_folder", "path": "val"}, folder="", samples=3)
    assert strays(dataset) == {}


def test_links_that_lead_round_in_circles_are_followed_once(make_tree: MakeDataset) -> None:
    dataset = make_tree()
    (dataset.folder / "up").symlink_to(dataset.folder, target_is_directory=True)
    for here, there in (("one", "two"), ("two", "one")):
        (dataset.folder / here).mkdir()
        (dataset.folder / here / "file").write_bytes(b"")
        (dataset.folder / here / "across").symlink_to(dataset.folder / there, target_is_directory=True)
    assert {"one", "two"} <= set(strays(dataset))


def test_class_folders_that_are_links_are_read_and_no_strays(make_tree: MakeDataset, tmp_path: Path) -> None:
    dataset = make_tree()
    (dataset.folder / "val" / "a").rename(tmp_path / "elsewhere")
    (dataset.folder / "val" / "a").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert strays(dataset) == {}


def test_a_relative_folder_finds_the_same(
    make_tree: MakeDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dataset = make_tree()
    (dataset.folder / "notes").write_bytes(b"")
    monkeypatch.chdir(dataset.folder)
    for folder in (Path(), Path("val/..")):
        object.__setattr__(dataset.data, "folders", {"mine": folder})
        report = verify_dataset(dataset)
        assert [Path(finding.where).name for finding in report.findings] == ["notes"]


def test_a_stray_beside_what_is_expected_is_named_however_deep(make_tree: MakeDataset) -> None:
    dataset = make_tree(extras=["known"])
    (dataset.folder / "docs" / "deep").mkdir(parents=True)
    for name in ("known", "unknown"):
        (dataset.folder / "docs" / "deep" / name).write_bytes(b"")
    assert set(strays(dataset)) == {"docs/deep/unknown"}


def test_strays_come_in_the_order_of_their_names(
    make_tree: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_tree()
    for name in "pqrs":
        (dataset.folder / name).write_bytes(b"")
    listed = os.scandir

    class Backwards:
        """A folder that lists its last name first, as the system may."""

        def __init__(self, folder: Path | str) -> None:
            with listed(folder) as entries:
                self._entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self._entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("robustbench_safety.data.verifying.stray_files.os.scandir", Backwards)
    assert list(strays(dataset)) == ["p", "q", "r", "s"]


def test_what_lies_beside_a_list_s_images_is_another_list_s(
    make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path
) -> None:
    make_folder(tmp_path / "mine" / "images", 2)
    lists = tmp_path / "mine" / "lists"
    lists.mkdir()
    (lists / "one.txt").write_text("".join(f"images/{key}/img_0.png 0\n" for key in "abc"))
    (lists / "two.txt").write_text("images/a/img_1.png 0\n")
    layout = {"type": "image_list", "file": "lists/one.txt", "format": "words", "image": "0"}
    layout |= {"label": "1", "labels": "index"}
    assert strays(make_dataset(layout=layout, samples=3)) == {}
