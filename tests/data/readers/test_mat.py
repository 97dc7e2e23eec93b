"""MATLAB 5 files are read as SciPy reads them; whatever else lies there is refused and named."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat, savemat
from scipy.sparse import csc_array

from robustbench_safety.data import Dataset
from robustbench_safety.data.readers import mat as mat_module
from robustbench_safety.data.readers.mat import MatReader
from robustbench_safety.errors import DataError, FileFormatError, RobustbenchSafetyError

MakeDataset = Callable[..., Dataset]

IMAGES = np.random.default_rng(0).integers(0, 256, size=(6, 5, 3, 12), dtype=np.uint8)
#: As in SVHN: 1 to K - 1, and K for class 0.
LABELS = np.array([1, 2, 3, 3, 2, 1, 1, 1, 2, 2, 3, 3], dtype=np.uint8)[:, None]
LAYOUT = {"type": "mat", "file": "test.mat", "images": "X", "labels": "y", "label_of_class_0": 3}
#: The stubs know names of files alone, SciPy open files too.
save: Callable[..., None] = savemat


def mat(*, packing: str = "zlib", **variables: object) -> bytes:
    buffer = io.BytesIO()
    save(buffer, {"X": IMAGES, "y": LABELS, **variables}, do_compression=packing == "zlib")
    return buffer.getvalue()


def put(folder: Path, content: bytes) -> Path:
    (folder / "mine").mkdir(exist_ok=True)
    path = folder / "mine" / "test.mat"
    path.write_bytes(content)
    return path


def opened(make_dataset: MakeDataset, **change: object) -> MatReader:
    dataset = make_dataset(**{"layout": LAYOUT, **change})
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert isinstance(reader, MatReader)
    return reader


@pytest.mark.parametrize("packing", ["none", "zlib"])
def test_images_and_labels_are_those_that_scipy_reads(
    tmp_path: Path, make_dataset: MakeDataset, packing: str
) -> None:
    path = put(tmp_path, mat(packing=packing, other={"a": "struct"}, text="hello"))
    expected = loadmat(path)["X"].transpose(3, 0, 1, 2)
    reader = opened(make_dataset)
    assert reader.sample_ids[:2] == ["00000", "00001"]
    assert reader.labels.tolist() == [1, 2, 0, 0, 2, 1, 1, 1, 2, 2, 0, 0]
    indices = np.array([7, 2, 11])
    stored = reader.stored(indices)
    assert [bytes(part) for part in stored] == [expected[i].tobytes() for i in indices]
    found = reader.block(indices, stored)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected[indices])
    assert list(reader.files()) == [path]


@pytest.mark.parametrize("packing", ["none", "zlib"])
def test_a_file_larger_than_any_buffer_is_read_whole(
    tmp_path: Path, make_dataset: MakeDataset, packing: str
) -> None:
    images = np.random.default_rng(1).integers(0, 256, size=(64, 64, 3, 60), dtype=np.uint8)
    images[..., 20:40] = 7  # packs to next to nothing: much comes out of little
    put(tmp_path, mat(packing=packing, X=images, y=np.resize(LABELS, (60, 1))))
    reader = opened(make_dataset, samples=60)
    indices = np.arange(60)
    found = reader.block(indices, reader.stored(indices))
    assert np.array_equal(found, images.transpose(3, 0, 1, 2))


def test_a_big_endian_file_is_read(tmp_path: Path, make_dataset: MakeDataset) -> None:
    def part(number: int, content: bytes) -> bytes:
        return (
            number.to_bytes(4, "big") + len(content).to_bytes(4, "big") + content + bytes(-len(content) % 8)
        )

    def variable(name: bytes, kind: int, values: NDArray[np.generic]) -> bytes:
        # Class in the last byte of the flags, dimensions, name (in the short form), values by columns.
        return part(
            14,
            part(6, bytes((0, 0, 0, kind, 0, 0, 0, 0)))
            + part(5, np.array(values.shape, ">i4").tobytes())
            + (1 << 16 | 1).to_bytes(4, "big")
            + name.ljust(4, b"\0")
            + part(2 if kind == 9 else 4, values.tobytes(order="F")),
        )

    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\1\0MI"
    labels = LABELS.astype(">u2")
    put(tmp_path, head + variable(b"X", 9, IMAGES) + variable(b"y", 11, labels))
    assert np.array_equal(loadmat(tmp_path / "mine" / "test.mat")["y"], LABELS)
    reader = opened(make_dataset)
    assert reader.labels.tolist() == [1, 2, 0, 0, 2, 1, 1, 1, 2, 2, 0, 0]
    assert bytes(reader.stored(np.array([4]))[0]) == IMAGES[..., 4].tobytes()


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.int64, np.float32, np.float64])
def test_labels_may_be_whole_numbers_of_any_type_in_a_row_or_a_column(
    tmp_path: Path, make_dataset: MakeDataset, dtype: type
) -> None:
    put(tmp_path, mat(y=LABELS.astype(dtype)))
    expected = opened(make_dataset).labels.tolist()
    put(tmp_path, mat(y=LABELS.T.astype(dtype)))
    assert opened(make_dataset).labels.tolist() == expected == [1, 2, 0, 0, 2, 1, 1, 1, 2, 2, 0, 0]


def test_without_a_number_for_class_0_labels_are_class_indices(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    put(tmp_path, mat(y=LABELS - 1))
    layout = {**LAYOUT, "label_of_class_0": 0}
    assert opened(make_dataset, layout=layout).labels.tolist() == (LABELS[:, 0] - 1).tolist()


def test_an_out_of_distribution_file_keeps_its_classes_for_the_order_alone(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    put(tmp_path, mat())
    reader = opened(make_dataset, role="ood")
    assert reader.labels.tolist() == [-1] * 12
    assert reader.groups.tolist() == [1, 2, 0, 0, 2, 1, 1, 1, 2, 2, 0, 0]


def test_pixels_are_held_once(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, mat())
    reader = opened(make_dataset)
    images = reader._images
    # The view that the format's order makes of one flat array, and no copy in another order.
    assert images.flags.f_contiguous
    assert isinstance(images.base, np.ndarray)
    assert images.base.nbytes == IMAGES.nbytes
    assert images.base.base is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:11], r"variable 'y' is the wrong array; expected 12 labels, one an image; found \[11, 1\]"),
        (LABELS.reshape(6, 2), r"found \[6, 2\]"),
        (LABELS + 1.5, "a label is no whole number"),
        (np.where(LABELS == 1, np.nan, LABELS), "a label is no whole number"),
        (np.where(LABELS == 1, np.inf, LABELS), "a label is no whole number"),
        (np.where(LABELS == 1, 2.0**40, LABELS), "a label is no whole number"),
        (LABELS + 1, "labels cannot be used; expected 0 to 2, the classes of digits; found 0 to 4"),
        (-LABELS.astype(np.int8), "found -3 to -1"),
        (LABELS - 1, "a label is 0; expected 3 for class 0"),
        (LABELS.astype(bool), r"variable 'y' is the wrong array; expected a plain array .* found logical"),
        (LABELS * 1j, r"found complex double \[12, 1\]"),
        (csc_array(LABELS.astype(float)), r"found sparse \[12, 1\]"),
        (np.array(["a"] * 12), "found char"),
    ],
)
@pytest.mark.parametrize("role", ["clean", "ood"])
def test_labels_of_another_kind_are_refused(
    tmp_path: Path, make_dataset: MakeDataset, labels: object, message: str, role: str
) -> None:
    put(tmp_path, mat(y=labels))
    with pytest.raises(DataError, match=message):
        opened(make_dataset, role=role)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (
            IMAGES.astype(np.float32),
            r"variable 'X' is the wrong array; expected uint8; found single \[6, 5, 3",
        ),
        (IMAGES.astype(np.int8), "found int8"),
        (IMAGES > 5, "found logical"),
        (IMAGES[:, :, :1], r"expected \[H, W, 3, N\] of at most .* found uint8 \[6, 5, 1, 12\]"),
        (IMAGES[..., 0], r"found uint8 \[6, 5, 3\]"),
        (IMAGES.transpose(3, 0, 1, 2), r"found uint8 \[12, 6, 5, 3\]"),
        ({"a": 1}, "found struct"),
        (np.array([IMAGES, "a"], dtype=object), "found cell"),
    ],
)
def test_images_of_another_kind_are_refused(
    tmp_path: Path, make_dataset: MakeDataset, images: object, message: str
) -> None:
    put(tmp_path, mat(X=images))
    with pytest.raises(DataError, match=message):
        opened(make_dataset)


def test_another_number_or_size_of_images_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, mat())
    with pytest.raises(DataError, match="expected 11 images; found 12"):
        opened(make_dataset, samples=11)
    with pytest.raises(DataError, match="wrong size; expected 5x6; found 6x5"):
        opened(make_dataset, image_size=[5, 6])
    assert len(opened(make_dataset, image_size=[6, 5], samples_per_class=4).labels) == 12
    put(tmp_path, mat(y=np.where(np.arange(12)[:, None] == 1, 1, LABELS)))
    with pytest.raises(DataError, match="class b; expected 4 images; found 5"):
        opened(make_dataset, samples_per_class=4)


def test_a_missing_variable_is_named_with_those_there_are(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, mat())
    with pytest.raises(DataError, match=r"does not have one variable 'Z'; .* found 'X', 'y'"):
        opened(make_dataset, layout={**LAYOUT, "images": "Z"})


def test_a_variable_that_stands_twice_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    content = mat()
    put(tmp_path, content + content[128:])
    with pytest.raises(DataError, match=r"one variable 'X'; .* found 'X', 'y', 'X', 'y'"):
        opened(make_dataset)


def test_a_file_with_another_md5_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    content = mat()
    put(tmp_path, content)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert len(opened(make_dataset, layout={**LAYOUT, "md5": md5}).labels) == 12
    with pytest.raises(DataError, match=r"test\.mat is not the published file; expected md5 00000000"):
        opened(make_dataset, layout={**LAYOUT, "md5": "0" * 32})


def test_a_file_far_too_large_is_refused_unread(tmp_path: Path, make_dataset: MakeDataset) -> None:
    with put(tmp_path, b"").open("wb") as handle:
        handle.truncate(257 * 2**20)
    with pytest.raises(FileFormatError, match=r"test\.mat is too large"):
        opened(make_dataset)


def test_a_small_file_that_unpacks_to_far_too_much_is_refused_unpacked_no_further(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mat_module, "_MOST_PIXELS", 1000)
    put(tmp_path, mat())
    with pytest.raises(DataError, match=r"at most 1,000 values; found uint8 \[6, 5, 3, 12\]"):
        opened(make_dataset)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(384) + b"\x89HDF\r\n\x1a\n", r"7\.3 \(HDF5\)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(300), r"7\.3 \(HDF5\)"),
        (b"", "is no MATLAB file; .* found 0 bytes"),
        (b"hello" * 100, "is no MATLAB file; .* begin b'hellohellohello"),
        (bytes(200), "is no MATLAB file"),
        (b"\x80\x02cos\nsystem\nU\x04true\x85R.".ljust(200), "is no MATLAB file"),
    ],
)
def test_a_file_of_another_format_is_named(
    tmp_path: Path, make_dataset: MakeDataset, content: bytes, message: str
) -> None:
    put(tmp_path, content)
    with pytest.raises(DataError, match=message):
        opened(make_dataset)


def test_a_matlab_4_file_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    buffer = io.BytesIO()
    save(buffer, {"y": LABELS.astype(float)}, format="4")
    put(tmp_path, buffer.getvalue())
    with pytest.raises(DataError, match="is no MATLAB file; expected a MATLAB 5 file"):
        opened(make_dataset)


@pytest.mark.parametrize("packing", ["none", "zlib"])
def test_a_file_cut_short_anywhere_is_refused(
    tmp_path: Path, make_dataset: MakeDataset, packing: str
) -> None:
    content = mat(packing=packing)
    for length in [*range(0, 240, 7), len(content) // 2, len(content) - 9, len(content) - 1]:
        put(tmp_path, content[:length])
        with pytest.raises(DataError):
            opened(make_dataset)


def test_one_bit_of_packed_pixels_that_is_wrong_is_found(tmp_path: Path, make_dataset: MakeDataset) -> None:
    content = bytearray(mat())
    size = int.from_bytes(content[132:136], "little")
    content[136 + size - 1] ^= 1  # in the checksum of X
    put(tmp_path, bytes(content))
    with pytest.raises(DataError, match=r"is no whole MATLAB file; found .*incorrect data check"):
        opened(make_dataset)


@pytest.mark.parametrize("end", [-4, -1])
def test_packed_pixels_without_their_checksum_are_refused(
    tmp_path: Path, make_dataset: MakeDataset, end: int
) -> None:
    content = mat()
    size = int.from_bytes(content[132:136], "little")
    x, rest = content[136 : 136 + size], content[136 + size :]
    put(tmp_path, content[:132] + (size + end).to_bytes(4, "little") + x[:end] + rest)
    with pytest.raises(DataError, match="cut short or goes on after its end"):
        opened(make_dataset)


def test_a_part_that_says_it_goes_on_after_the_end_of_the_file_is_refused(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    content = mat(packing="none")
    put(tmp_path, content[:-8])
    with pytest.raises(DataError, match=rf"a part of type 14 and 64 bytes at byte \d+ of {len(content) - 8}"):
        opened(make_dataset)


def test_a_variable_without_its_last_values_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    # The outer part ends early and says so; the inner one still promises all values.
    content = mat(packing="none")
    at = content.rindex((64).to_bytes(4, "little"))
    put(tmp_path, content[:at] + (48).to_bytes(4, "little") + content[at + 4 : -16])
    with pytest.raises(DataError, match="values cut short"):
        opened(make_dataset)


@pytest.mark.parametrize("change", [-1, 1, 4])
def test_values_of_another_length_than_the_dimensions_say_are_refused(
    tmp_path: Path, make_dataset: MakeDataset, change: int
) -> None:
    content = mat(packing="none")
    size = IMAGES.size.to_bytes(4, "little")
    at = content.index(size)
    put(tmp_path, content[:at] + (IMAGES.size + change).to_bytes(4, "little") + content[at + 4 :])
    with pytest.raises(DataError, match=rf"{IMAGES.size + change} bytes for \[6, 5, 3, 12\] of uint8"):
        opened(make_dataset)


def test_a_variable_that_goes_on_after_its_values_is_refused(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    content = mat()
    size = int.from_bytes(content[132:136], "little")
    x = zlib.compress(zlib.decompress(content[136 : 136 + size]) + bytes(8))
    put(tmp_path, content[:132] + len(x).to_bytes(4, "little") + x + content[136 + size :])
    with pytest.raises(DataError, match="goes on after its end"):
        opened(make_dataset)


@pytest.mark.parametrize("packing", ["none", "zlib"])
def test_a_wrong_byte_in_a_head_ends_in_our_error_or_in_images(
    tmp_path: Path, make_dataset: MakeDataset, packing: str
) -> None:
    # Byte 144 (class of X) as 5 and byte 184 (type of its values) as 0 end the process in SciPy 1.17.
    content = mat(packing=packing)
    end = 128 + int.from_bytes(content[132:136], "little")
    refused = 0
    for at in [*range(124, 216), *range(end, end + 72)]:
        for value in (0, 5, 15, 127, 255) if at < len(content) else ():
            damaged = bytearray(content)
            damaged[at] = value
            put(tmp_path, bytes(damaged))
            try:
                opened(make_dataset)
            except RobustbenchSafetyError:
                refused += 1
    assert refused > 200


def test_more_variables_than_any_published_file_has_are_refused(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    more: dict[str, Any] = {f"v{i}": i for i in range(100)}
    put(tmp_path, mat(**more))
    with pytest.raises(DataError, match="more than 100 variables"):
        opened(make_dataset)
