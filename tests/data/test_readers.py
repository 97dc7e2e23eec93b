"""The layouts that lie on disk: order, ids, labels, pixels, and what is refused."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.data import Dataset
from robustbench_safety.data.base import ArrayReader, FileReader
from robustbench_safety.data.readers.cifar import CifarPickleReader
from robustbench_safety.data.readers.image_folder import ImageFolderReader
from robustbench_safety.data.readers.npy import NpyReader
from robustbench_safety.errors import DataError, FileFormatError

MakeDataset = Callable[..., Dataset]
MakeFolder = Callable[[Path, int], None]
MakeBatch = Callable[..., bytes]

FOLDER = {"layout": {"type": "image_folder"}, "samples": 6}
IMAGES = np.random.default_rng(0).integers(0, 256, size=(12, 6, 5, 3), dtype=np.uint8)
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])


def opened_array(dataset: Dataset) -> ArrayReader:
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert isinstance(reader, ArrayReader)
    return reader


def opened_files(dataset: Dataset) -> FileReader:
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert isinstance(reader, FileReader)
    return reader


def all_of(reader: ArrayReader | FileReader) -> NDArray[np.int64]:
    return np.arange(len(reader.sample_ids))


def save_stack(
    folder: Path, images: NDArray[np.generic] = IMAGES, labels: NDArray[np.generic] = LABELS
) -> None:
    folder.mkdir(exist_ok=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)


# ------------------------------------------------------------------------------------------ image folder


def test_a_folder_is_read_by_class_index_and_then_by_file_name(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine", 2)
    reader = opened_files(make_dataset(**FOLDER, classes=("b", "c", "a")))
    assert isinstance(reader, ImageFolderReader)
    assert reader.sample_ids == ["b/img_0", "b/img_1", "c/img_0", "c/img_1", "a/img_0", "a/img_1"]
    assert reader.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert reader.class_sorted
    assert reader.decoder.startswith("pillow ")


def test_stored_bytes_are_the_files_and_decode_to_their_pixels(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine", 2)
    reader = opened_files(make_dataset(**FOLDER))
    for index in (5, 0, 3):
        (stored,) = reader.stored(np.array([index]))
        path = tmp_path / "mine" / f"{reader.sample_ids[index]}.png"
        assert bytes(stored) == path.read_bytes()
        assert np.array_equal(reader.decode(index, stored), np.asarray(Image.open(path)))


def test_what_is_no_image_is_ignored(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine", 2)
    (tmp_path / "mine" / "README.txt").write_text("hello")
    (tmp_path / "mine" / "a" / "README.txt").write_text("hello")
    (tmp_path / "mine" / "a" / "Thumbs.db").write_text("x")
    (tmp_path / "mine" / "a" / "noending").write_text("x")
    assert len(opened_files(make_dataset(**FOLDER)).sample_ids) == 6


def test_endings_count_in_any_case(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine", 2)
    (tmp_path / "mine" / "a" / "img_0.png").rename(tmp_path / "mine" / "a" / "ILSVRC2012_val_00000001.PNG")
    assert opened_files(make_dataset(**FOLDER)).sample_ids[0] == "a/ILSVRC2012_val_00000001"


def test_the_class_folders_may_lie_below_a_path(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine" / "val", 2)
    dataset = make_dataset(layout={"type": "image_folder", "path": "val"}, samples=6)
    assert opened_files(dataset).sample_ids[0] == "a/img_0"


def test_missing_and_unknown_class_folders_are_counted_and_named(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine", 2)
    (tmp_path / "mine" / "stray").mkdir()
    with pytest.raises(DataError, match="expected one folder for each of 4 classes") as raised:
        opened_files(make_dataset(**FOLDER, classes=("a", "b", "c", "d")))
    assert raised.value.found == "1 missing, e.g. 'd' and 1 unknown, e.g. 'stray'"


@pytest.mark.parametrize("samples", [5, 7])
def test_a_folder_short_of_images_or_with_too_many_is_refused(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder, samples: int
) -> None:
    make_folder(tmp_path / "mine", 2)
    with pytest.raises(
        DataError, match=f"does not hold the images of mine; expected {samples} images; found 6"
    ):
        opened_files(make_dataset(**{**FOLDER, "samples": samples}))


def test_two_images_that_differ_in_their_ending_alone_are_refused(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine", 2)
    (tmp_path / "mine" / "b" / "img_1.jpg").touch()
    with pytest.raises(DataError, match="two images b/img_1 that differ in their ending alone"):
        opened_files(make_dataset(**{**FOLDER, "samples": 7}))


def test_a_corrupt_image_is_named(tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder) -> None:
    make_folder(tmp_path / "mine", 2)
    (tmp_path / "mine" / "b" / "img_1.png").write_bytes(b"broken")
    reader = opened_files(make_dataset(**FOLDER))
    (stored,) = reader.stored(np.array([3]))
    with pytest.raises(DataError, match=r"mine/b/img_1\.png cannot be decoded"):
        reader.decode(3, stored)


def test_a_file_far_too_large_for_a_picture_is_refused_unread(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine", 2)
    with (tmp_path / "mine" / "a" / "img_0.png").open("wb") as handle:
        handle.truncate(65 * 2**20)
    with pytest.raises(FileFormatError, match=r"img_0\.png is too large"):
        opened_files(make_dataset(**FOLDER)).stored(np.array([0]))


def test_a_folder_s_stamp_changes_with_a_file(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine", 2)
    before = opened_files(make_dataset(**FOLDER)).stamp()
    Image.fromarray(IMAGES[0]).save(tmp_path / "mine" / "c" / "img_1.png")
    assert opened_files(make_dataset(**FOLDER)).stamp() != before


def test_an_out_of_distribution_folder_has_no_labels(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine", 2)
    dataset = make_dataset(**FOLDER, role="ood")
    reader = opened_files(dataset)
    assert reader.labels.tolist() == [-1] * 6
    assert dataset.label_keys(reader) == [""] * 6


# -------------------------------------------------------------------------------------------- npy stack


def test_a_stack_gives_its_images_labels_and_ids(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save_stack(tmp_path / "mine")
    reader = opened_array(make_dataset())
    assert isinstance(reader, NpyReader)
    assert reader.sample_ids[:2] == ["00000", "00001"]
    assert reader.labels.tolist() == LABELS.tolist()
    indices = np.array([7, 2, 11])
    stored = reader.stored(indices)
    assert [bytes(part) for part in stored] == [IMAGES[i].tobytes() for i in indices]
    assert np.array_equal(reader.block(indices, stored), IMAGES[indices])


def test_a_stack_is_mapped_and_not_read(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save_stack(tmp_path / "mine")
    reader = opened_array(make_dataset())
    assert isinstance(reader, NpyReader)
    assert isinstance(reader._images, np.memmap)


@pytest.mark.parametrize("order", ["F", "C"])
def test_the_order_in_memory_does_not_change_the_stored_bytes(
    tmp_path: Path, make_dataset: MakeDataset, order: str
) -> None:
    save_stack(tmp_path / "mine", np.asarray(IMAGES, order="F" if order == "F" else "C"))
    reader = opened_array(make_dataset())
    assert bytes(reader.stored(np.array([4]))[0]) == IMAGES[4].tobytes()


def test_a_stack_says_whether_it_is_sorted_by_class(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save_stack(tmp_path / "mine")
    layout = {"type": "npy", "images": "images.npy", "labels": "labels.npy", "class_sorted": True}
    assert opened_array(make_dataset(layout=layout)).class_sorted
    assert not opened_array(make_dataset()).class_sorted


def test_a_stack_without_labels_is_out_of_distribution(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save_stack(tmp_path / "mine")
    layout = {"type": "npy", "images": "images.npy"}
    reader = opened_array(make_dataset(layout=layout, role="ood", label_space=None, classes=()))
    assert reader.labels.tolist() == [-1] * 12


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            IMAGES.astype(np.float32),
            r"wrong array; expected uint8 \[N, H, W, 3\]; found float32 \[12, 6, 5, 3\]",
        ),
        (IMAGES[:, :, :, :1], r"found uint8 \[12, 6, 5, 1\]"),
        (IMAGES[0], r"found uint8 \[6, 5, 3\]"),
        (IMAGES.transpose(0, 3, 1, 2), r"found uint8 \[12, 3, 6, 5\]"),
        (IMAGES[:11], "does not hold the images of mine; expected 12 images; found 11"),
        (IMAGES.astype([("x", "u1")]), "wrong array"),
    ],
)
def test_a_stack_of_another_kind_is_refused(
    tmp_path: Path, make_dataset: MakeDataset, images: NDArray[np.generic], message: str
) -> None:
    save_stack(tmp_path / "mine", images)
    with pytest.raises(DataError, match=message):
        opened_array(make_dataset())


def test_images_of_another_size_than_the_manifest_s_are_refused(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    save_stack(tmp_path / "mine")
    assert len(opened_array(make_dataset(image_size=[6, 5])).labels) == 12
    with pytest.raises(DataError, match="images of the wrong size; expected 5x6; found 6x5"):
        opened_array(make_dataset(image_size=[5, 6]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:11], r"expected 12 whole numbers; found int64 \[11\]"),
        (LABELS[:, None], r"found int64 \[12, 1\]"),
        (LABELS.astype(np.float64), r"found float64 \[12\]"),
        (LABELS.astype(bool), r"found bool \[12\]"),
        (LABELS.astype(str), r"found <U"),
        (LABELS + 1, "a label lies outside label space digits; expected 0 to 2; found 1 to 3"),
        (LABELS - 1, "expected 0 to 2; found -1 to 1"),
        (LABELS.astype(np.uint64) + 2**63, "a label lies outside"),
    ],
)
def test_labels_of_another_kind_are_refused(
    tmp_path: Path, make_dataset: MakeDataset, labels: NDArray[np.generic], message: str
) -> None:
    save_stack(tmp_path / "mine", labels=labels)
    with pytest.raises(DataError, match=message):
        opened_array(make_dataset())


def test_arrays_of_python_objects_are_refused_unopened(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "PWNED",)

    evil = np.empty(12, dtype=object)
    evil[:] = [Evil() for _ in range(12)]
    for name in ("images.npy", "labels.npy"):
        save_stack(tmp_path / "mine")
        np.save(tmp_path / "mine" / name, evil, allow_pickle=True)
        with pytest.raises(DataError, match=rf"{name} is not a whole \.npy array; found .*[Oo]bject"):
            opened_array(make_dataset())
    assert not (tmp_path / "PWNED").exists()


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=IMAGES)
    return buffer.getvalue()


def npy(header: bytes) -> bytes:
    padded = header.ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUM",
        b"\x93NUMPY\x01\x00",
        b"hello",
        npz(),
        npz()[:100],
        npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (12, 6, 5, 3)}"),  # no pixel follows
        npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 6, 5, 3)}"),
        npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999, 6, 5, 3)}"),
        npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904, 6, 5, 3)}"),
        npy(b"{'descr': '|u1', 'fortran_order': False}"),
        npy(b"__import__('os').system('true')"),
        npy(b"((((((((((" * 11),
        b"\x80\x02cos\nsystem\nU\x04true\x85R.",
    ],
)
def test_what_is_no_whole_array_is_refused_and_named(
    tmp_path: Path, make_dataset: MakeDataset, content: bytes
) -> None:
    save_stack(tmp_path / "mine")
    (tmp_path / "mine" / "images.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"images\.npy is not a whole \.npy array"):
        opened_array(make_dataset())


def test_labels_of_an_out_of_distribution_stack_outside_its_classes_are_refused(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    for wrong in (LABELS - 1, LABELS + 1):
        save_stack(tmp_path / "mine", labels=wrong)
        with pytest.raises(DataError, match=r"0 to 2"):
            opened_array(make_dataset(role="ood", samples_per_class=4))


def test_a_stack_cut_short_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save_stack(tmp_path / "mine")
    path = tmp_path / "mine" / "images.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"images\.npy is not a whole \.npy array"):
        opened_array(make_dataset())


def test_a_stack_s_stamp_covers_images_and_labels(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save_stack(tmp_path / "mine")
    before = opened_array(make_dataset()).stamp()
    np.save(tmp_path / "mine" / "labels.npy", LABELS[::-1])
    assert opened_array(make_dataset()).stamp() != before


# -------------------------------------------------------------------------------------- official batches


def cifar_layout(**files: str | None) -> dict[str, object]:
    return {"type": "cifar_pickle", "files": files, "label_field": "labels"}


def planes(n: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size=(n, 3072), dtype=np.uint8)


def test_batches_follow_each_other_and_channels_come_last(
    tmp_path: Path, make_dataset: MakeDataset, make_batch: MakeBatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "z").write_bytes(make_batch(planes(3, 1), [0, 1, 2]))
    (tmp_path / "mine" / "a").write_bytes(make_batch(planes(2, 2), [2, 1]))
    reader = opened_array(make_dataset(layout=cifar_layout(z=None, a=None), samples=5))
    assert isinstance(reader, CifarPickleReader)
    assert reader.labels.tolist() == [0, 1, 2, 2, 1]
    assert reader.sample_ids[-1] == "00004"
    rows = np.concatenate([planes(3, 1), planes(2, 2)])
    indices = np.array([4, 0])
    stored = reader.stored(indices)
    assert [bytes(part) for part in stored] == [rows[4].tobytes(), rows[0].tobytes()]
    found = reader.block(indices, stored)
    assert found.flags.c_contiguous
    # Pixel (row 2, column 5) of channel c is value 1024 c + 32 * 2 + 5 of the row.
    assert found[0, 2, 5].tolist() == [rows[4][1024 * c + 69] for c in range(3)]
    assert np.array_equal(found, rows[indices].reshape(2, 3, 32, 32).transpose(0, 2, 3, 1))


def test_a_batch_with_another_md5_is_refused(
    tmp_path: Path, make_dataset: MakeDataset, make_batch: MakeBatch
) -> None:
    (tmp_path / "mine").mkdir()
    content = make_batch(planes(2, 0), [0, 1])
    (tmp_path / "mine" / "batch").write_bytes(content)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert len(opened_array(make_dataset(layout=cifar_layout(batch=md5), samples=2)).labels) == 2
    with pytest.raises(DataError, match="batch is not the published file; expected md5 00000000"):
        opened_array(make_dataset(layout=cifar_layout(batch="0" * 32), samples=2))


def test_batches_short_of_images_are_refused(
    tmp_path: Path, make_dataset: MakeDataset, make_batch: MakeBatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "batch").write_bytes(make_batch(planes(2, 0), [0, 1]))
    with pytest.raises(DataError, match="expected 3 images; found 2"):
        opened_array(make_dataset(layout=cifar_layout(batch=None), samples=3))


def test_a_label_of_a_batch_outside_the_label_space_is_refused(
    tmp_path: Path, make_dataset: MakeDataset, make_batch: MakeBatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "batch").write_bytes(make_batch(planes(2, 0), [0, 9]))
    with pytest.raises(
        DataError, match="a label lies outside label space digits; expected 0 to 2; found 0 to 9"
    ):
        opened_array(make_dataset(layout=cifar_layout(batch=None), samples=2))
