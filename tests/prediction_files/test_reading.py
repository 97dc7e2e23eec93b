"""What was written comes back, and what was changed is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from robustbench_safety.errors import FileFormatError, IncompatiblePredictionsError
from robustbench_safety.predictions import PredictionsHeader, read_header, read_predictions
from robustbench_safety.summary import summarize

Write = Callable[..., PredictionsHeader]
MakeHeader = Callable[..., PredictionsHeader]

LOGITS = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, -1] * 3)


def test_logits_come_back_to_the_bit(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a.parquet"
    header = write(path, {"logits": LOGITS}, labels=LABELS, part=5)
    found = read_predictions(path)
    assert found.header == header == read_header(path)
    assert found.sample_ids == [f"id-{i}" for i in range(12)]
    assert found.labels.tolist() == LABELS.tolist()
    assert found.labels.dtype == np.int64
    assert np.array_equal(found.values["logits"], LOGITS)
    assert np.array_equal(found.logits(), LOGITS.astype(np.float64))
    assert found.logits().dtype == np.float64


def test_a_summary_comes_back_to_the_bit(tmp_path: Path, write: Write) -> None:
    labels = np.array([0, 1, 2] * 4)
    values = summarize(torch.from_numpy(LOGITS), torch.from_numpy(labels))
    write(tmp_path / "a.parquet", values, labels=labels, columns="summary")
    found = read_predictions(tmp_path / "a.parquet")
    assert set(found.values) == set(values)
    for name, array in values.items():
        assert np.array_equal(found.values[name], array)
        assert found.values[name].dtype == array.dtype
    assert found.predicted.tolist() == LOGITS.argmax(axis=1).tolist()
    with pytest.raises(
        IncompatiblePredictionsError, match=r"digits/clean/clean-0: only a summary .* was stored"
    ):
        found.logits()


def test_clips_come_back_with_one_id_for_all_their_frames(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "a.parquet", {"logits": LOGITS}, labels=LABELS, frames=4, part=1)
    found = read_predictions(tmp_path / "a.parquet")
    assert found.sample_ids == ["id-0", "id-1", "id-2"]
    assert (found.header.n, found.header.frames) == (3, 4)
    assert np.array_equal(found.values["logits"], LOGITS)
    assert set(found.values) == {"logits"}


def test_of_equal_logits_the_lower_class_is_predicted(tmp_path: Path, write: Write) -> None:
    logits = np.array([[1, 2, 2], [3, 3, 3]], dtype=np.float32)
    write(tmp_path / "a.parquet", {"logits": logits}, labels=np.array([1, 1]))
    found = read_predictions(tmp_path / "a.parquet")
    assert found.predicted.tolist() == [1, 0]
    assert found.correct.tolist() == [1.0, 0.0]


def test_a_folder_whose_name_has_an_equals_sign_adds_no_column(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "model=mine" / "a.parquet"
    write(path, {"logits": LOGITS}, labels=LABELS)
    assert set(read_predictions(path).values) == {"logits"}


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    with pq.ParquetFile(path) as file:
        table = file.read()
        metadata = file.metadata.metadata
    table = change(table)
    kept = {key: value for key, value in metadata.items() if key != b"ARROW:schema"}
    pq.write_table(table.replace_schema_metadata(kept), path)


def with_column(name: str, values: pa.Array) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, values)

    return change


def one_value_moved(table: pa.Table) -> pa.Table:
    flat = table.column("logits").combine_chunks().flatten().to_numpy().copy()
    flat[7] += 1e-3
    return with_column("logits", pa.FixedSizeListArray.from_arrays(pa.array(flat), 3))(table)


LISTS = pa.array([[float(i)] * (i % 3) for i in range(12)], pa.list_(pa.float32()))
TAMPERINGS: dict[str, Callable[[pa.Table], pa.Table]] = {
    "one value moved": one_value_moved,
    "two rows swapped": lambda table: table.take([1, 0, *range(2, 12)]),
    "a row dropped": lambda table: table.slice(0, 11),
    "a label changed": with_column("label", pa.array([9] * 12, pa.int32())),
    "labels as text": with_column("label", pa.array(["0"] * 12)),
    "labels as int64": with_column("label", pa.array(LABELS)),
    "a label missing": with_column("label", pa.array([None] + [0] * 11, pa.int32())),
    "an id changed": with_column("sample_id", pa.array(["x"] * 12)),
    "ids as numbers": with_column("sample_id", pa.array([1] * 12)),
    "an id missing": with_column("sample_id", pa.array([None] * 12, pa.string())),
    "logits of varying length": with_column("logits", LISTS),
    "no logits": lambda table: table.drop_columns(["logits"]),
    "no labels": lambda table: table.drop_columns(["label"]),
    "no ids": lambda table: table.drop_columns(["sample_id"]),
    "another column": lambda table: table.append_column("more", pa.array([0.0] * 12)),
    "no rows": lambda table: table.slice(0, 0),
}


@pytest.mark.parametrize("change", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_a_file_that_was_changed_is_refused(
    tmp_path: Path, write: Write, change: Callable[[pa.Table], pa.Table]
) -> None:
    path = tmp_path / "a.parquet"
    write(path, {"logits": LOGITS}, labels=LABELS)
    rewritten(path, lambda table: table)
    read_predictions(path)
    rewritten(path, change)
    with pytest.raises(FileFormatError, match=r"a\.parquet.*predict again"):
        read_predictions(path)


def test_a_header_that_states_another_number_of_rows_is_refused(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "a.parquet", {"logits": LOGITS}, labels=LABELS, n=13)
    with pytest.raises(FileFormatError, match="found 12 rows, where the header says 13 x 1"):
        read_predictions(tmp_path / "a.parquet")


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a.parquet"
    write(path, {"logits": LOGITS}, labels=LABELS)
    content = path.read_bytes()
    for length in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match="is not a file of predictions"):
            read_predictions(path)


def test_a_file_with_damaged_bytes_is_refused_or_unharmed(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a.parquet"
    write(path, {"logits": LOGITS}, labels=LABELS)
    content = path.read_bytes()
    body = content[: -int.from_bytes(content[-8:-4], "little") - 8]
    for place in range(4, len(body), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x40
        path.write_bytes(damaged)
        try:
            found = read_predictions(path)
        except FileFormatError:
            continue
        assert np.array_equal(found.values["logits"], LOGITS)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello", b"PAR1" + b"\x00" * 100 + b"PAR1"])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    for read in (read_header, read_predictions):
        with pytest.raises(
            FileFormatError, match=r"a\.parquet is not a file of predictions; found .*; remove it"
        ):
            read(tmp_path / "a.parquet")


def test_somebody_else_s_parquet_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(FileFormatError, match="found a Parquet file without our header"):
        read_header(tmp_path / "a.parquet")


def test_a_header_of_another_version_is_refused(tmp_path: Path) -> None:
    table = pa.table({"a": [1]}).replace_schema_metadata({b"robustbench_safety": b'{"schema_version": 7}'})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(FileFormatError, match="found a header of another version"):
        read_header(tmp_path / "a.parquet")


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"absent\.parquet is not a file of predictions"):
        read_predictions(tmp_path / "absent.parquet")
