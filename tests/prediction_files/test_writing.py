"""Files of predictions appear whole or not at all; how they were cut does not change their digest."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from robustbench_safety import predictions as module
from robustbench_safety.errors import DataError, ModelError, StorageError
from robustbench_safety.predictions import PredictionsHeader, PredictionsWriter, read_predictions, written

Write = Callable[..., PredictionsHeader]
MakeHeader = Callable[..., PredictionsHeader]

LOGITS = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
VALUES = {"logits": LOGITS}


def digest(
    values: dict[str, NDArray[np.float32]],
    labels: NDArray[np.int64] = LABELS,
    *,
    part: int = 4,
    frames: int = 1,
) -> str:
    n = len(labels) // frames
    with tempfile.TemporaryDirectory() as folder:
        writer = PredictionsWriter(Path(folder) / "a.parquet", frames=frames)
        for first in range(0, n, part):
            rows = slice(first * frames, (first + part) * frames)
            ids = [f"id-{i}" for i in range(first, min(first + part, n))]
            writer.append(ids, labels[rows], {name: array[rows] for name, array in values.items()})
        found = writer.digest()
        writer.close()
    return found


@pytest.mark.parametrize("part", [1, 3, 10])
def test_the_digest_does_not_depend_on_how_the_rows_were_cut(part: int) -> None:
    assert digest(VALUES, part=part) == digest(VALUES)
    assert digest(VALUES, part=part, frames=2) == digest(VALUES, frames=2)


def test_the_digest_of_given_rows_is_the_one_it_was() -> None:
    # Over each column (ids with line feeds, labels int32, logits float32, little-endian), then over their
    # digests.
    whole = {"logits": np.arange(6, dtype=np.float32).reshape(2, 3)}
    assert (
        digest(whole, np.array([1, -1])) == "dd1f4e549d51670c090411dbbac4ff5ce06821b87046edbd4402ea074069f610"
    )


def test_the_digest_covers_ids_labels_frames_names_and_every_value() -> None:
    changed = LOGITS.copy()
    changed[9, 2] = np.nextafter(changed[9, 2], np.float32(10))
    digests = {
        digest(VALUES),
        digest({"logits": changed}),
        digest({"others": LOGITS}),
        digest(VALUES, LABELS[::-1]),
        digest(VALUES, frames=2),
        digest({"logits": LOGITS[:9]}, LABELS[:9]),
    }
    assert len(digests) == 6


def test_values_are_digested_little_endian_on_any_machine() -> None:
    assert module._column_bytes(LOGITS.astype(">f4")) == module._column_bytes(LOGITS) == LOGITS.tobytes()


def test_slices_and_transposes_have_the_digest_of_their_numbers() -> None:
    assert digest({"logits": np.asfortranarray(LOGITS)}) == digest(VALUES)


def test_nothing_is_seen_before_the_block_ends(tmp_path: Path, make_header: MakeHeader) -> None:
    path = tmp_path / "run" / "a.parquet"
    with written(path, frames=1) as writer:
        writer.append([f"id-{i}" for i in range(10)], LABELS, VALUES)
        writer.finish(make_header(predictions_digest=writer.digest()))
        assert not path.exists()
    assert [entry.name for entry in path.parent.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("error", [ModelError("NaN"), KeyboardInterrupt(), MemoryError()])
def test_a_block_that_fails_leaves_no_file(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), written(tmp_path / "a.parquet", frames=1) as writer:  # noqa: PT012
        writer.append([f"id-{i}" for i in range(10)], LABELS, VALUES)
        writer._flush()
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_no_file(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(StorageError, match=r"a\.parquet cannot be written; found No space left on device"):
        write(tmp_path / "a.parquet", VALUES, labels=LABELS)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_the_end_does_not_hide_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(PredictionsWriter, "close", full)
    with pytest.raises(ModelError, match="NaN"), written(tmp_path / "a.parquet", frames=1):
        raise ModelError("NaN")


def test_a_file_without_rows_is_never_written(tmp_path: Path, make_header: MakeHeader) -> None:
    told = pytest.raises(DataError, match="digits/clean/clean-0: there is nothing to store")
    with told, written(tmp_path / "a.parquet", frames=1) as writer:
        writer.finish(make_header())
    assert list(tmp_path.iterdir()) == []


def test_rows_go_to_the_file_as_they_come_and_do_not_pile_up(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS_IN_MEMORY", 4)
    path = tmp_path / "a.parquet"
    write(path, VALUES, labels=LABELS, part=2)
    assert pq.ParquetFile(path).num_row_groups == 3
    assert np.array_equal(read_predictions(path).values["logits"], LOGITS)


def test_the_file_is_plain_parquet_that_others_can_read(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "a.parquet", VALUES, labels=LABELS, frames=2)
    with pq.ParquetFile(tmp_path / "a.parquet") as file:
        table = file.read()
    assert table.column_names == ["sample_id", "frame", "label", "logits"]
    assert table.column("sample_id").to_pylist()[:3] == ["id-0", "id-0", "id-1"]
    assert table.column("frame").to_pylist()[:3] == [0, 1, 0]
    assert table.schema.field("logits").type == pa.list_(pa.float32(), 3)
