"""IDX files, gzipped or not: names, labels, pixels, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.data.readers.idx import IdxReader
from robustbench_safety.errors import DataError

MakeDataset = Callable[..., Dataset]

IMAGES = np.random.default_rng(0).integers(0, 256, size=(12, 6, 5), dtype=np.uint8)
LABELS = np.array([0, 1, 2] * 4, dtype=np.uint8)
LAYOUT = {"type": "idx", "images": "images.gz", "labels": "labels.gz"}


def idx(array: NDArray[np.uint8]) -> bytes:
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes((0, 0, 8, array.ndim)) + lengths + array.tobytes()


def put(folder: Path, *, images: bytes | None = None, labels: bytes | None = None) -> None:
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "images.gz").write_bytes(gzip.compress(idx(IMAGES)) if images is None else images)
    (folder / "mine" / "labels.gz").write_bytes(gzip.compress(idx(LABELS)) if labels is None else labels)


def opened(make_dataset: MakeDataset, **change: object) -> IdxReader:
    dataset = make_dataset(**{"layout": LAYOUT, **change})
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert isinstance(reader, IdxReader)
    return reader


def test_grey_images_are_stored_as_they_are_and_shown_as_rgb(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    put(tmp_path)
    reader = opened(make_dataset)
    assert reader.sample_ids[-1] == "00011"
    assert reader.labels.tolist() == LABELS.tolist()
    indices = np.array([7, 2, 11])
    stored = reader.stored(indices)
    assert [bytes(part) for part in stored] == [IMAGES[i].tobytes() for i in indices]
    assert [len(part) for part in stored] == [30] * 3
    found = reader.block(indices, stored)
    assert found.shape == (3, 6, 5, 3)
    for channel in range(3):
        assert np.array_equal(found[..., channel], IMAGES[indices])


@pytest.mark.parametrize("named", ["images.gz", "images"])
@pytest.mark.parametrize("there", ["images.gz", "images"])
@pytest.mark.parametrize("packing", ["none", "gzip"])
def test_a_file_is_found_packed_or_unpacked_whichever_is_named(
    tmp_path: Path, make_dataset: MakeDataset, named: str, there: str, packing: str
) -> None:
    put(tmp_path)
    (tmp_path / "mine" / "images.gz").unlink()
    content = idx(IMAGES)
    (tmp_path / "mine" / there).write_bytes(gzip.compress(content) if packing == "gzip" else content)
    reader = opened(make_dataset, layout={**LAYOUT, "images": named})
    assert bytes(reader.stored(np.array([3]))[0]) == IMAGES[3].tobytes()
    assert [path.name for path in reader.files()] == [there, "labels.gz"]


def test_the_named_file_goes_before_its_twin(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path)
    (tmp_path / "mine" / "images").write_bytes(idx(255 - IMAGES))
    assert bytes(opened(make_dataset).stored(np.array([0]))[0]) == IMAGES[0].tobytes()
    layout = {**LAYOUT, "images": "images"}
    assert bytes(opened(make_dataset, layout=layout).stored(np.array([0]))[0]) == (255 - IMAGES[0]).tobytes()


def test_a_missing_file_is_named_with_what_is_there(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path)
    (tmp_path / "mine" / "labels.gz").rename(tmp_path / "mine" / "labels.idx")
    with pytest.raises(DataError, match=r"expected labels\.gz; found no labels\.gz .*labels\.idx"):
        opened(make_dataset)


def test_an_out_of_distribution_set_has_no_labels(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path)
    reader = opened(make_dataset, role="ood")
    assert reader.labels.tolist() == [-1] * 12
    assert reader.groups.tolist() == LABELS.tolist()
    assert opened(make_dataset, role="ood", label_space=None, classes=()).labels.tolist() == [-1] * 12


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS + 1, "its labels cannot be used; expected 0 to 2, the classes of digits; found 1 to 3"),
        (LABELS[:11], "expected 12 images; found 11"),
        (np.tile(LABELS, 2), "expected 12 images; found 24"),
    ],
)
def test_labels_outside_the_classes_or_of_another_number_are_refused(
    tmp_path: Path, make_dataset: MakeDataset, labels: NDArray[np.uint8], message: str
) -> None:
    put(tmp_path, labels=gzip.compress(idx(labels)))
    with pytest.raises(DataError, match=message):
        opened(make_dataset)


def test_another_number_of_images_than_labels_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, images=gzip.compress(idx(IMAGES[:11])))
    with pytest.raises(DataError, match=r"expected 12 images of at most .* found uint8 \[11, 6, 5\]"):
        opened(make_dataset)


def test_images_of_another_size_than_the_manifest_s_are_refused(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    put(tmp_path)
    with pytest.raises(DataError, match="wrong size; expected 5x6; found 6x5"):
        opened(make_dataset, image_size=[5, 6])


def test_classes_with_another_number_of_images_are_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path)
    assert len(opened(make_dataset, samples_per_class=4).labels) == 12
    with pytest.raises(DataError, match="class a; expected 3 images; found 4"):
        opened(make_dataset, samples_per_class=3)


WHOLE = idx(IMAGES)
PACKED = gzip.compress(WHOLE, mtime=0)  # the same bytes, and so the same names of tests, in every process


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(LABELS), r"no IDX file of images; expected magic number 0x00000803; found 0x00000801"),
        (gzip.compress(idx(LABELS), mtime=0), "found 0x00000801; .* images and labels are not exchanged"),
        (b"\x00\x00\x0d\x03" + WHOLE[4:], "found 0x00000d03"),  # floats
        (b"", "found 0 bytes"),
        (WHOLE[:10], "no IDX file of images"),
        (b"hello world, this is text", "found 0x68656c6c"),
        (WHOLE[:-1], "cut short or goes on after its end; expected 360 bytes .* found 359"),
        (WHOLE + b"x", "expected 360 bytes after the head, as it states; found more"),
        (gzip.compress(WHOLE[:-1], mtime=0), "found 359"),
        (gzip.compress(WHOLE + b"x", mtime=0), "found more"),
        (PACKED[:-1], "is no whole gzip file"),
        (PACKED[:-8], "is no whole gzip file"),
        (PACKED[:40], "is no whole gzip file"),
        (PACKED[:5], "is no whole gzip file"),
        (PACKED + b"x", "is no whole gzip file"),
        (PACKED[:2] + b"\x07" + PACKED[3:], "is no whole gzip file"),  # an unknown method
        (PACKED[:100] + bytes([PACKED[100] ^ 1]) + PACKED[101:], "is no whole gzip file"),
        (PACKED[:-8] + bytes(4) + PACKED[-4:], "is no whole gzip file; found CRC check failed"),
        (WHOLE[:4] + b"\xff" * 12 + WHOLE[16:], r"found uint8 \[4294967295, 4294967295, 4294967295\]"),
        (WHOLE[:8] + b"\xff" * 8 + WHOLE[16:], r"at most 671,088,640 bytes; found uint8 \[12, 4294967295"),
        (WHOLE[:8] + bytes(4) + WHOLE[12:], r"found uint8 \[12, 0, 5\]"),
    ],
)
def test_what_is_no_whole_file_of_images_is_refused_and_named(
    tmp_path: Path, make_dataset: MakeDataset, content: bytes, message: str
) -> None:
    put(tmp_path, images=content)
    with pytest.raises(DataError, match=rf"images\.gz .*{message}"):
        opened(make_dataset)


def test_images_in_the_place_of_labels_are_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, labels=gzip.compress(idx(IMAGES)))
    with pytest.raises(
        DataError, match=r"labels\.gz is no IDX file of labels; expected magic number 0x00000801"
    ):
        opened(make_dataset)


def test_no_more_is_unpacked_than_the_head_states(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[int] = []
    read = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        content = read(self, size)
        unpacked.append(len(content))
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    put(tmp_path, images=gzip.compress(WHOLE + bytes(50_000_000)))
    with pytest.raises(DataError, match="found more"):
        opened(make_dataset)
    # Labels: head, values, nothing. Images: head, values, the first byte too many.
    assert unpacked == [8, 12, 0, 16, 360, 1]


# --------------------------------------------------------------------------------------------- real files

MD5 = {
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


@pytest.mark.realdata
def test_the_real_mnist_has_its_images_and_classes(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "samples" / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    for name, md5 in MD5.items():
        content = (folder / name).read_bytes()
        assert hashlib.md5(content, usedforsecurity=False).hexdigest() == md5
    dataset = load_dataset("mnist", data=DataRoot(root=tmp_path, folders={"mnist": folder}))
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert isinstance(reader, IdxReader)
    assert len(reader.sample_ids) == 10_000
    assert np.bincount(reader.groups).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    first = np.array([0])
    image = reader.block(first, reader.stored(first))[0]
    # The first test image is a 7: nothing in the corners, a bright bar at the top.
    assert reader.groups[0] == 7
    assert image[0, 0].tolist() == [0, 0, 0]
    assert image[8, 10].min() > 200
    # Its pixels are what follows the head of 16 bytes in the unpacked file.
    unpacked = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    assert image[..., 0].tobytes() == unpacked[16 : 16 + 784]


@pytest.mark.realdata
def test_the_real_mnist_unpacked_reads_the_same(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "samples" / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    (tmp_path / "mnist").mkdir()
    for name in MD5:
        with gzip.open(folder / name) as packed, (tmp_path / "mnist" / name[:-3]).open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    readers = []
    for root in (DataRoot(root=tmp_path), DataRoot(root=tmp_path, folders={"mnist": folder})):
        dataset = load_dataset("mnist", data=root)
        readers.append(dataset.open(dataset.manifest.all_conditions()[0], seed=0))
    indices = np.arange(0, 10_000, 97)
    stored = [[bytes(part) for part in reader.stored(indices)] for reader in readers]
    assert stored[0] == stored[1]
