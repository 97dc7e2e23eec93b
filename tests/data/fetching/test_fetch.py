"""From a server to a dataset that can be read: fetched once, checked, unpacked once."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustbench_safety.data import Dataset
from robustbench_safety.data.fetching.fetch import fetch_dataset
from robustbench_safety.errors import DataError, IncompleteError
from robustbench_safety.records import Archive
from tests.local_server import Answer, LocalServer

MakeDataset = Callable[..., Dataset]


def packed(top: str = "mine", classes: str = "abc", n: int = 2) -> bytes:
    """A tar of class folders with ``n`` pictures each, as published."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for label, key in enumerate(classes):
            for i in range(n):
                picture = io.BytesIO()
                Image.fromarray(np.full((8, 8, 3), 40 * label + i, np.uint8)).save(picture, "PNG")
                member = tarfile.TarInfo(f"{top}/{key}/img_{i}.png")
                member.size = len(picture.getvalue())
                archive.addfile(member, io.BytesIO(picture.getvalue()))
    return out.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def dataset_of(make_dataset: MakeDataset, server: LocalServer, content: bytes, **change: object) -> Dataset:
    archive = {"file": "mine.tar", "md5": md5(content), "address": server.address}
    fields = {"layout": {"type": "image_folder"}, "samples": 6, "archives": [archive]}
    return make_dataset(**(fields | change))


def silent(_archive: Archive, _n: int, _total: int | None) -> None:
    """Nobody watches."""


def n_images(dataset: Dataset) -> int:
    return len(dataset.open(dataset.manifest.all_conditions()[0], seed=0).sample_ids)


def test_a_dataset_is_fetched_checked_and_unpacked_to_where_it_is_read(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    content = packed()
    with LocalServer(Answer(content=content)) as server:
        dataset = dataset_of(make_dataset, server, content)
        told: list[tuple[int, int | None]] = []
        (fetched,) = fetch_dataset(dataset, on_bytes=lambda _archive, n, total: told.append((n, total)))
    assert n_images(dataset) == 6
    assert told[-1] == (len(content), len(content))
    assert fetched.n_files == 6
    assert fetched.download is not None
    assert fetched.download.verified
    assert fetched.download.path == dataset.archive_folder / "mine.tar"
    assert {path.name for path in tmp_path.iterdir()} == {"archives", "mine"}


def test_what_is_there_is_not_fetched_again(make_dataset: MakeDataset) -> None:
    content = packed()
    with LocalServer(Answer(content=content)) as server:
        dataset = dataset_of(make_dataset, server, content)
        list(fetch_dataset(dataset, on_bytes=silent))
        (dataset.archive_folder / "mine.tar").unlink()
        assert list(fetch_dataset(dataset, on_bytes=silent)) == []
        assert len(server.asked) == 1


def test_of_several_archives_only_those_that_are_missing_are_fetched(make_dataset: MakeDataset) -> None:
    parts = [packed(top="noise"), packed(top="fog")]
    conditions = [{"kind": "corruption", "names": ["noise", "fog"], "levels": [1]}]
    with LocalServer(Answer(content=parts[0]), Answer(content=b"", status=404)) as server:
        archives = [
            {"file": f"{name}.tar", "md5": md5(part), "address": server.address, "unpack_to": "mine"}
            for name, part in zip(("noise", "fog"), parts, strict=True)
        ]
        dataset = dataset_of(
            make_dataset, server, b"", archives=archives, conditions=conditions, role="corruption",
            layout={"type": "image_folder", "path": "{name}"})  # fmt: skip
        with pytest.raises(DataError):
            list(fetch_dataset(dataset, on_bytes=silent))
        server.answers[:] = [Answer(content=parts[1])]
        # The disk was needed for something else; what was unpacked is remembered.
        (dataset.archive_folder / "noise.tar").unlink()
        fetched = list(fetch_dataset(dataset, on_bytes=silent))
        assert [one.download is None for one in fetched] == [True, False]
        assert [one.n_files for one in fetched] == [6, 6]
        assert len(server.asked) == 3
    for condition in dataset.manifest.all_conditions():
        assert len(dataset.open(condition, seed=0).sample_ids) == 6


def test_a_dataset_that_was_removed_is_fetched_anew(make_dataset: MakeDataset, tmp_path: Path) -> None:
    content = packed()
    with LocalServer(Answer(content=content)) as server:
        dataset = dataset_of(make_dataset, server, content)
        list(fetch_dataset(dataset, on_bytes=silent))
        (tmp_path / "mine").rename(tmp_path / "elsewhere")
        (dataset.archive_folder / "mine.tar").unlink()
        list(fetch_dataset(dataset, on_bytes=silent))
        assert len(server.asked) == 2
    assert n_images(dataset) == 6


def test_a_single_file_goes_into_the_dataset_s_folder_as_it_is(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    stack = io.BytesIO()
    np.save(stack, np.zeros((6, 4, 4, 3), np.uint8))
    with LocalServer(Answer(content=stack.getvalue())) as server:
        archive = {"file": "images.npy", "address": server.address, "unpack_to": None}
        dataset = make_dataset(
            layout={"type": "npy", "images": "images.npy"}, role="ood", samples=6, archives=[archive],
            label_space=None)  # fmt: skip
        (fetched,) = fetch_dataset(dataset, on_bytes=silent)
    assert fetched.download is not None
    assert not fetched.download.verified
    assert fetched.download.sha256 == hashlib.sha256(stack.getvalue()).hexdigest()
    assert n_images(dataset) == 6
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


def test_another_archive_than_the_published_one_leaves_nothing_that_could_be_read(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    with LocalServer(Answer(content=packed())) as server:
        dataset = dataset_of(make_dataset, server, b"the published one")
        with pytest.raises(DataError, match="md5"):
            list(fetch_dataset(dataset, on_bytes=silent))
    assert not (tmp_path / "mine").exists()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_hostile_archive_leaves_nothing_that_could_be_read(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    content = packed(top="../outside")
    with LocalServer(Answer(content=content)) as server:
        dataset = dataset_of(make_dataset, server, content)
        with pytest.raises(DataError, match="outside"):
            list(fetch_dataset(dataset, on_bytes=silent))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.tar"]


def test_an_archive_of_a_few_bytes_may_not_unpack_to_gigabytes(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robustbench_safety.data.fetching.fetch._MOST_EXPANSION", 0)
    monkeypatch.setattr("robustbench_safety.data.fetching.fetch._SMALL", 100)
    content = packed()
    with LocalServer(Answer(content=content)) as server:
        dataset = dataset_of(make_dataset, server, content)
        with pytest.raises(DataError, match="100"):
            list(fetch_dataset(dataset, on_bytes=silent))
    assert not dataset.folder.exists()


def test_after_a_cut_connection_the_same_call_goes_on(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robustbench_safety.data.fetching.transfer._TRIES", 1)
    content = packed()
    with LocalServer(Answer(content=content, cut_after=5000), Answer(content=content)) as server:
        dataset = dataset_of(make_dataset, server, content)
        with pytest.raises(IncompleteError):
            list(fetch_dataset(dataset, on_bytes=silent))
        list(fetch_dataset(dataset, on_bytes=silent))
        assert server.ranges == [None, "bytes=5000-"]
    assert n_images(dataset) == 6


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"by_hand": "Log in and ask."}, "a licence, a login or a page for people"),
        ({"archives": [{"file": "a.tar"}]}, "no address that can be fetched is known"),
        ({"archives": []}, "no address that can be fetched is known"),
    ],
)
def test_what_must_be_got_by_hand_is_told_with_what_to_do(
    make_dataset: MakeDataset, change: dict[str, object], found: str
) -> None:
    dataset = make_dataset(layout={"type": "image_folder"}, **change)
    with pytest.raises(DataError, match="dataset mine cannot be fetched by a command") as raised:
        list(fetch_dataset(dataset, on_bytes=silent))
    assert found in raised.value.found
    assert "--data mine=DIR" in raised.value.fix
    if "by_hand" in change:
        assert raised.value.fix.startswith("Log in and ask.")


def test_what_the_package_makes_needs_no_fetching(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(layout={"type": "builtin", "generator": "digits"}, folder="")
    with pytest.raises(DataError, match="nothing to fetch: the package makes it"):
        list(fetch_dataset(dataset, on_bytes=silent))


def test_of_single_pictures_in_one_folder_those_that_are_missing_are_fetched(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    pictures = [b"one", b"two"]
    with LocalServer(*(Answer(content=picture) for picture in pictures)) as server:
        archives = [
            {"file": f"{i}.png", "md5": md5(picture), "address": server.address, "unpack_to": None}
            for i, picture in enumerate(pictures)
        ]
        dataset = make_dataset(
            layout={"type": "image_folder", "folders": "any"}, role="material", label_space=None, samples=2,
            archives=archives, classes=())  # fmt: skip
        next(fetch_dataset(dataset, on_bytes=silent))  # the user breaks it off after the first
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["0.png"]
        server.answers[:] = [Answer(content=pictures[1])]
        list(fetch_dataset(dataset, on_bytes=silent))
        assert len(server.asked) == 2
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["0.png", "1.png"]
