"""Parquet files: rows in order, labels by name, pictures a few at a time, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from robustbench_safety.data import Dataset
from robustbench_safety.data.base import FileReader
from robustbench_safety.data.loader import stored_digest
from robustbench_safety.data.readers import parquet as parquet_module
from robustbench_safety.data.readers.parquet import ParquetReader
from robustbench_safety.errors import DataError, StorageError

MakeDataset = Callable[..., Dataset]
MakeFolder = Callable[[Path, int], None]

LAYOUT = {
    "type": "parquet",
    "files": "data/test-*.parquet",
    "image": "image",
    "label": "label",
    "labels": "key",
}
KEYS = ["a", "b", "c", "c", "b", "a", "a", "b", "c", "a", "b", "c"]
#: Names in another order than the classes'.
NAMES = ["c", "a", "b"]
NUMBERS = [NAMES.index(key) for key in KEYS]


def picture(i: int) -> bytes:
    pixels = np.random.default_rng(i).integers(0, 256, size=(6 + i % 3, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [picture(i) for i in range(12)]


def table(rows: slice = slice(None), **columns: object) -> pa.Table:
    """Return rows of the twelve pictures as the hub stores them; a column that is None is left out."""
    found: dict[str, object] = {
        "image": pa.array([{"bytes": content, "path": None} for content in PICTURES], IMAGE),
        "label": pa.array(KEYS),
        **columns,
    }
    return pa.table({name: column for name, column in found.items() if column is not None})[rows]


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def put(folder: Path, *tables: pa.Table, rows: int | None = None) -> None:
    (folder / "mine" / "data").mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(tables):
        pq.write_table(
            content, folder / "mine" / "data" / f"test-{number}-of-{len(tables)}.parquet", row_group_size=rows
        )


def opened(
    make_dataset: MakeDataset, layout: dict[str, object] | None = None, **change: object
) -> FileReader:
    dataset = make_dataset(layout={**LAYOUT, **(layout or {})}, **change)
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert isinstance(reader, ParquetReader)
    return reader


def contents(reader: FileReader, indices: Sequence[int] = range(12)) -> list[bytes]:
    return [bytes(part) for part in reader.stored(np.array(indices))]


def with_names(content: pa.Table, metadata: bytes) -> pa.Table:
    return content.replace_schema_metadata({b"huggingface": metadata})


def class_label(names: Sequence[str] = NAMES) -> bytes:
    quoted = ", ".join(f'"{name}"' for name in names)
    return b'{"info": {"features": {"label": {"names": [%s], "_type": "ClassLabel"}}}}' % quoted.encode()


# -------------------------------------------------------------------------------------------------- rows


def test_rows_are_read_in_the_order_of_the_file_names_and_numbered_through(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    put(tmp_path, table(slice(0, 5)), table(slice(5, 7)), table(slice(7, 12)), rows=2)
    (tmp_path / "mine" / "data" / "train-0.parquet").write_bytes(b"not asked for")
    reader = opened(make_dataset)
    assert reader.sample_ids[0] == "00000"
    assert reader.sample_ids[11] == "00011"
    assert [("a", "b", "c")[label] for label in reader.labels] == KEYS
    assert contents(reader) == PICTURES
    assert [path.name for path in reader.files()] == [f"test-{i}-of-3.parquet" for i in range(3)]
    assert reader.decoder.startswith("pillow ")


@pytest.mark.parametrize("indices", [[0, 3, 4, 11], [11, 0, 5, 5, 4, 3], [7]])
@pytest.mark.parametrize("rows", [1, 3, 12])
def test_rows_may_be_left_out_and_asked_for_in_any_order(
    tmp_path: Path,
    make_dataset: MakeDataset,
    monkeypatch: pytest.MonkeyPatch,
    indices: list[int],
    rows: int,
) -> None:
    monkeypatch.setattr(parquet_module, "_BATCH_ROWS", 2)
    put(tmp_path, table(slice(0, 5)), table(slice(5, 12)), rows=rows)
    reader = opened(make_dataset)
    assert contents(reader, indices) == [PICTURES[i] for i in indices]
    assert contents(reader, indices[::-1]) == [PICTURES[i] for i in indices[::-1]]


@pytest.mark.parametrize(
    "images",
    [
        pa.array(PICTURES, pa.binary()),
        pa.array(PICTURES, pa.large_binary()),
        pa.array([{"bytes": content} for content in PICTURES]),
        pa.array([{"path": "x/y.png", "bytes": content} for content in PICTURES]),
    ],
)
def test_pictures_may_be_bytes_or_structs_with_bytes(
    tmp_path: Path, make_dataset: MakeDataset, images: pa.Array
) -> None:
    put(tmp_path, table(image=images))
    reader = opened(make_dataset)
    assert contents(reader) == PICTURES
    expected = np.asarray(Image.open(io.BytesIO(PICTURES[4])))
    assert np.array_equal(reader.decode(4, PICTURES[4]), expected)


def test_a_damaged_picture_is_named_by_file_and_row(tmp_path: Path, make_dataset: MakeDataset) -> None:
    images = pa.array([*PICTURES[:8], b"broken", *PICTURES[9:]])
    put(tmp_path, table(slice(0, 5)), table(slice(5, 12), image=images))
    reader = opened(make_dataset)
    (stored,) = reader.stored(np.array([8]))
    with pytest.raises(DataError, match=r"test-1-of-2\.parquet, row 3 cannot be decoded"):
        reader.decode(8, stored)


def test_the_same_pictures_as_a_folder_and_as_parquet_have_one_data_digest(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "folder", 3)
    folder = make_dataset(layout={"type": "image_folder"}, folder="folder", samples=9)
    by_folder = folder.open(folder.manifest.all_conditions()[0], seed=0)
    paths = list(by_folder.files())
    column = pa.array([{"bytes": path.read_bytes(), "path": path.name} for path in paths])
    put(
        tmp_path,
        pa.table(
            {"image": column, "label": [p.parent.name for p in paths], "id": list(by_folder.sample_ids)}
        ),
        rows=2,
    )
    dataset = make_dataset(layout={**LAYOUT, "sample_id": "id"}, samples=9)
    by_parquet = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    indices = np.arange(9)
    digests = [
        stored_digest(reader, indices, dataset.label_keys(reader)) for reader in (by_folder, by_parquet)
    ]
    assert digests[0] == digests[1]
    # So that a limit takes the same images of both.
    assert by_parquet.class_sorted
    assert stored_digest(by_parquet, indices[1:], dataset.label_keys(by_parquet)) != digests[0]


def test_a_set_is_sorted_by_class_where_the_rows_of_each_class_stand_together(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    put(tmp_path, table(label=list("bbbbaaaacccc")))
    assert opened(make_dataset).class_sorted
    put(tmp_path, table(label=list("bbbbaaaabccc")))
    assert not opened(make_dataset).class_sorted
    put(tmp_path, table(label=list("bbbbbbbbbbbb")))
    assert not opened(make_dataset).class_sorted


def test_a_stamp_changes_with_a_file(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, table(slice(0, 5)), table(slice(5, 12)))
    before = opened(make_dataset).stamp()
    assert opened(make_dataset).stamp() == before
    put(tmp_path, table(slice(0, 5)), table(slice(5, 12), extra=pa.array(range(12))))
    assert opened(make_dataset).stamp() != before


# ----------------------------------------------------------------------------------------- sample ids


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_sample_ids_come_from_their_column(
    tmp_path: Path, make_dataset: MakeDataset, kind: pa.DataType
) -> None:
    ids = [f"x/{i}" for i in range(12)]
    put(tmp_path, table(slice(0, 5), id=pa.array(ids, kind)), table(slice(5, 12), id=pa.array(ids, kind)))
    assert opened(make_dataset, {"sample_id": "id"}).sample_ids == ids


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (pa.array([f"{i % 11}" for i in range(12)]), "holds two images '0'"),
        (pa.array([None, *map(str, range(11))]), "expected a sample id in every row; found 1 null"),
        (pa.array([float(i) for i in range(12)]), "column 'id'; expected texts; found double"),
    ],
)
def test_sample_ids_that_are_repeated_missing_or_no_texts_are_refused(
    tmp_path: Path, make_dataset: MakeDataset, ids: pa.Array, message: str
) -> None:
    put(tmp_path, table(slice(0, 5), id=ids), table(slice(5, 12), id=ids))
    with pytest.raises(DataError, match=message):
        opened(make_dataset, {"sample_id": "id"})


def test_sample_ids_may_be_whole_numbers(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, table(id=pa.array(range(100, 112))))
    assert opened(make_dataset, {"sample_id": "id"}).sample_ids[1] == "101"


# ---------------------------------------------------------------------------------------------- labels


def test_numbers_stand_for_the_class_names_of_the_file_and_not_for_positions(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    other = ["b", "c", "zebra", "a"]  # each file by its own names, and one that no row uses
    numbers = pa.array([other.index(key) for key in KEYS])
    put(
        tmp_path,
        with_names(table(slice(0, 5), label=pa.array(NUMBERS)), class_label()),
        with_names(table(slice(5, 12), label=numbers), class_label(other)),
    )
    assert [("a", "b", "c")[label] for label in opened(make_dataset).labels] == KEYS


def test_numbers_are_indices_where_the_layout_says_so(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, with_names(table(label=pa.array(NUMBERS)), class_label()))
    assert opened(make_dataset, {"labels": "index"}).labels.tolist() == NUMBERS


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.int32()])
def test_label_numbers_may_be_of_any_whole_type(
    tmp_path: Path, make_dataset: MakeDataset, kind: pa.DataType
) -> None:
    put(tmp_path, table(label=pa.array(NUMBERS, kind)))
    assert opened(make_dataset, {"labels": "index"}).labels.tolist() == NUMBERS


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_label_keys_may_be_of_any_text_type(
    tmp_path: Path, make_dataset: MakeDataset, kind: pa.DataType
) -> None:
    put(tmp_path, table(label=pa.array(KEYS, kind)))
    assert [("a", "b", "c")[label] for label in opened(make_dataset).labels] == KEYS


@pytest.mark.parametrize(
    ("label", "labels", "message"),
    [
        (pa.array(NUMBERS), "key", "expected texts, or numbers with class names; found numbers alone"),
        (pa.array(KEYS), "index", "expected whole numbers, as labels is 'index'; found string"),
        (pa.array([float(i) for i in NUMBERS]), "index", "found double"),
        (pa.array([float(i) for i in NUMBERS]), "key", "expected texts, as labels is 'key'; found double"),
        (pa.array([i > 0 for i in NUMBERS]), "index", "found bool"),
        (pa.array(["A", *KEYS[1:]]), "key", "expected classes of digits, one like a; found 'A'"),
        (pa.array(["x", "y", *KEYS[2:]]), "key", "found 'x' and 1 others"),
        (pa.array([None, *KEYS[1:]]), "key", "expected a label in every row; found 1 null"),
        (pa.array([None, *NUMBERS[1:]]), "index", "found 1 null"),
        (pa.array([3, *NUMBERS[1:]]), "index", "expected 0 to 2, the classes of digits; found 0 to 3"),
        (pa.array([-1, *NUMBERS[1:]]), "index", "found -1 to 2"),
        (pa.array([2**63, *NUMBERS[1:]], pa.uint64()), "index", "found 0 to 9223372036854775808"),
    ],
)
def test_labels_of_another_kind_are_refused_with_the_file(
    tmp_path: Path, make_dataset: MakeDataset, label: pa.Array, labels: str, message: str
) -> None:
    put(tmp_path, table(label=label))
    with pytest.raises(DataError, match=rf"test-0-of-1\.parquet: its labels cannot be used; .*{message}"):
        opened(make_dataset, {"labels": labels})


def test_numbers_outside_the_class_names_are_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    # The hub writes -1 where a test set's labels are withheld; Python would take the last name.
    for wrong in (-1, 3):
        put(tmp_path, with_names(table(label=pa.array([wrong, *NUMBERS[1:]])), class_label()))
        with pytest.raises(DataError, match=f"expected 0 to 2; found {wrong}"):
            opened(make_dataset)


@pytest.mark.parametrize(
    "metadata",
    [
        b"{",
        b"\xff",
        b"[1]",
        b'{"info": 3}',
        b'{"info": {"features": {"label": {"names": "abc"}}}}',
        b'{"info": {"features": {"label": {"names": [1, 2, 3]}}}}',
        b"[" * 100_000,
    ],
)
def test_damaged_metadata_are_refused(tmp_path: Path, make_dataset: MakeDataset, metadata: bytes) -> None:
    put(tmp_path, with_names(table(label=pa.array(NUMBERS)), metadata))
    with pytest.raises(DataError, match="its metadata 'huggingface' cannot be read"):
        opened(make_dataset)


@pytest.mark.parametrize("metadata", [b"{}", b'{"info": {"features": {"label": {"_type": "Value"}}}}'])
def test_metadata_without_class_names_name_none(
    tmp_path: Path, make_dataset: MakeDataset, metadata: bytes
) -> None:
    put(tmp_path, with_names(table(label=pa.array(NUMBERS)), metadata))
    with pytest.raises(DataError, match="found numbers alone; write labels: index in the manifest"):
        opened(make_dataset)


def test_an_out_of_distribution_set_has_no_labels(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, table())
    reader = opened(make_dataset, role="ood")
    assert reader.labels.tolist() == [-1] * 12
    assert [("a", "b", "c")[group] for group in reader.groups] == KEYS
    put(tmp_path, table(label=None))
    layout: dict[str, object] = {"label": None, "labels": "none"}
    reader = opened(make_dataset, layout, role="ood", label_space=None, classes=())
    assert reader.labels.tolist() == [-1] * 12
    assert not reader.class_sorted
    assert contents(reader) == PICTURES


def test_classes_with_another_number_of_images_are_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, table())
    assert len(opened(make_dataset, samples_per_class=4).labels) == 12
    with pytest.raises(DataError, match="class a; expected 3 images; found 4"):
        opened(make_dataset, samples_per_class=3)


# ----------------------------------------------------------------------------------- what is refused


def test_another_number_of_rows_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, table(slice(0, 5)), table(slice(5, 11)))
    with pytest.raises(DataError, match="expected 12 images; found 11"):
        opened(make_dataset)


def test_no_file_of_the_name_is_named_with_what_is_there(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, table())
    with pytest.raises(DataError, match=r"expected files like data/valid-\*; found .*test-0-of-1\.parquet"):
        opened(make_dataset, {"files": "data/valid-*"})


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, table())
    for field in ("image", "label", "sample_id"):
        with pytest.raises(DataError, match=r"parquet has no column 'jpg'; .* found image, label"):
            opened(make_dataset, {field: "jpg"})


def test_a_column_that_stands_twice_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, pa.table([pa.array(PICTURES), pa.array(KEYS), pa.array(KEYS)], ["image", "label", "label"]))
    with pytest.raises(DataError, match="has 2 columns 'label'"):
        opened(make_dataset)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (pa.array([f"{i}.png" for i in range(12)]), "string"),
        (pa.array([[1, 2]] * 12), "list"),
        (pa.array([{"path": "x.png"}] * 12), "struct<path: string>"),
        (pa.array([{"bytes": "text"}] * 12), "string"),
    ],
)
def test_a_column_of_no_encoded_pictures_is_refused(
    tmp_path: Path, make_dataset: MakeDataset, images: pa.Array, found: str
) -> None:
    put(tmp_path, table(image=images))
    with pytest.raises(DataError, match=f"column 'image' holds no encoded pictures; .*found {found}"):
        opened(make_dataset)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ({"bytes": None, "path": "/etc/passwd"}, "only a path, '/etc/passwd': files outside are not read"),
        ({"bytes": None, "path": None}, "null"),
        (None, "null"),
    ],
)
def test_a_row_without_its_picture_is_named_with_the_reason(
    tmp_path: Path, make_dataset: MakeDataset, cell: object, found: str
) -> None:
    cells = [{"bytes": content, "path": None} for content in PICTURES]
    put(tmp_path, table(image=pa.array([*cells[:7], cell, *cells[8:]], IMAGE)))
    reader = opened(make_dataset)
    assert contents(reader, [6, 8]) == [PICTURES[6], PICTURES[8]]
    with pytest.raises(DataError, match=rf"parquet, row 7 holds no picture; .* found {found}"):
        reader.stored(np.array([7]))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello, this is text", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_file_is_refused_and_named(
    tmp_path: Path, make_dataset: MakeDataset, content: bytes
) -> None:
    put(tmp_path, table())
    (tmp_path / "mine" / "data" / "test-1.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"test-1\.parquet is no whole Parquet file; found"):
        opened(make_dataset)


def test_a_file_damaged_among_the_pictures_is_named_when_they_are_read(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    put(tmp_path, table(), rows=4)
    path = tmp_path / "mine" / "data" / "test-0-of-1.parquet"
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    reader = opened(make_dataset)
    assert contents(reader, range(4)) == PICTURES[:4]
    # Asked again, it says the same again: what was under way is dropped.
    found = set()
    for _ in range(2):
        with pytest.raises(DataError, match=r"test-0-of-1\.parquet is no whole Parquet file") as raised:
            reader.stored(np.arange(4, 8))
        found.add(raised.value.found)
    assert len(found) == 1
    assert contents(reader, range(8, 12)) == PICTURES[8:]


def test_a_row_group_damaged_in_its_middle_is_read_anew_up_to_there(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_module, "_BATCH_ROWS", 2)
    put(tmp_path)
    path = tmp_path / "mine" / "data" / "test-0.parquet"
    pq.write_table(
        table(image=pa.array(PICTURES)),
        path,
        data_page_size=1,
        write_batch_size=2,
        use_dictionary=False,
        write_statistics=False,  # they would hold pictures too
        compression="none",
    )
    content = bytearray(path.read_bytes())
    at = content.index(PICTURES[6])
    content[at - 4 : at] = b"\xff" * 4  # the picture's length
    path.write_bytes(content)
    reader = opened(make_dataset)
    found = set()
    for _ in range(2):
        assert contents(reader, range(4)) == PICTURES[:4]
        for _ in range(2):
            with pytest.raises(DataError, match=r"test-0\.parquet is no whole Parquet file") as raised:
                reader.stored(np.array([6]))
            found.add(raised.value.found)
    assert len(found) == 1


def test_a_file_that_goes_away_is_named(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, table(slice(0, 5)), table(slice(5, 12)))
    reader = opened(make_dataset)
    (tmp_path / "mine" / "data" / "test-1-of-2.parquet").unlink()
    assert contents(reader, range(5)) == PICTURES[:5]
    with pytest.raises(StorageError, match=r"test-1-of-2\.parquet cannot be read"):
        reader.stored(np.array([5]))


def test_a_folder_called_as_a_column_has_no_say(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put(tmp_path, table(label=None))
    (tmp_path / "mine" / "label=a").mkdir()
    (tmp_path / "mine" / "data" / "test-0-of-1.parquet").rename(tmp_path / "mine" / "label=a" / "0.parquet")
    with pytest.raises(DataError, match="has no column 'label'"):
        opened(make_dataset, {"files": "label=*/*.parquet"})


# --------------------------------------------------------------------------------------------- memory


def test_opening_reads_no_picture(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    read = pq.ParquetFile.read

    def noted(self: pq.ParquetFile, *, columns: list[str]) -> pa.Table:
        asked.append(columns)
        return read(self, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read", noted)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    put(tmp_path, table(id=pa.array(map(str, range(12)))))
    opened(make_dataset, {"sample_id": "id"})
    assert asked == [["label", "id"]]


@pytest.mark.parametrize(
    ("limit", "value", "most"), [("_BATCH_ROWS", 3, 3), ("_BATCH_BYTES", 5_000, 5), ("_BATCH_BYTES", 1, 1)]
)
def test_a_large_row_group_is_read_a_few_rows_at_a_time(
    tmp_path: Path,
    make_dataset: MakeDataset,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    most: int,
) -> None:
    monkeypatch.setattr(parquet_module, limit, value)
    images = [np.random.default_rng(i).bytes(1_000) for i in range(12)]
    put(tmp_path, table(image=pa.array([{"bytes": content, "path": None} for content in images])))
    reader = opened(make_dataset)
    assert isinstance(reader, ParquetReader)
    held = []
    for i in range(12):
        assert contents(reader, [i]) == [images[i]]
        held.append(len(reader._pictures._cells))
    assert max(held) <= most
    # Each row once, in order: no batch is read again.
    assert min(held) >= 1


def test_memory_does_not_grow_with_the_set(tmp_path: Path, make_dataset: MakeDataset) -> None:
    # 12 files of 8 MB, each one row group: what is held at a time is one batch of one of them.
    n, size = 32, 256 * 1024
    draws = np.random.default_rng(0)
    for number in range(12):
        images = [draws.bytes(size) for _ in range(n)]
        content = pa.table({"image": pa.array(images), "label": ["a"] * n})
        (tmp_path / "mine" / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(content, tmp_path / "mine" / "data" / f"test-{number:02d}.parquet", compression="none")
    del images, content
    before = pa.total_allocated_bytes()
    reader = opened(make_dataset, samples=12 * n)
    most = 0
    for start in range(0, 12 * n, 16):
        reader.stored(np.arange(start, start + 16))
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 3 * n * size


def test_rows_in_order_are_read_once(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[list[int]] = []
    iter_batches = pq.ParquetFile.iter_batches

    def noted(self: pq.ParquetFile, *, row_groups: list[int], **options: object) -> object:
        groups.append(row_groups)
        return iter_batches(self, row_groups=row_groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    put(tmp_path, table(slice(0, 6)), table(slice(6, 12)), rows=2)
    reader = opened(make_dataset)
    for start in range(0, 12, 3):
        contents(reader, range(start, start + 3))
    assert groups == [[0], [1], [2]] * 2
    contents(reader, [0, 11])  # and those between are not
    assert groups[6:] == [[0], [2]]
