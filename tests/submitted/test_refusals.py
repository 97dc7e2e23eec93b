"""Wrong and hostile files: refused with the reason, nothing stored, exit code 2 at the prompt."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import robustbench_safety as rbs
from robustbench_safety.cli.app import run
from robustbench_safety.errors import (
    CheckpointError,
    DataError,
    FileFormatError,
    ModelError,
    RobustbenchSafetyError,
    StorageError,
    UsageError,
)
from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.submitted import conversion
from tests.golden.make import RUN
from tests.submitted.conftest import CLASSES, Table, comma_separated, npz, parquet, probabilities_of, wide

Scored = Callable[..., Evaluation]


def lists(table: Table) -> pa.Table:
    columns = {"sample_id": pa.array(table["sample_id"].tolist())}
    return pa.table(columns | {"logits": pa.array(table["logits"].tolist(), pa.list_(pa.float32()))})


def no_text(n: int) -> pa.Array:
    """Return n strings, as Arrow takes them, of bytes that are no UTF-8."""
    offsets = pa.py_buffer(np.arange(0, 2 * n + 1, 2, dtype=np.int32))
    return pa.Array.from_buffers(pa.string(), n, [None, offsets, pa.py_buffer(b"\xff\xfe" * n)])


def changed(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


N = 240
PARQUET: dict[str, tuple[Callable[[Table], pa.Table], str]] = {
    "no ids": (lambda t: lists(t).drop(["sample_id"]), "column sample_id is missing; found columns logits"),
    "no content": (
        lambda t: lists(t).drop(["logits"]),
        "must hold one kind of predictions; expected logits, ",
    ),
    "two contents": (
        lambda t: lists(t).append_column("top1", pa.array(["3"] * N)),
        "must hold one kind of predictions; .*found logits and top1",
    ),
    "an unknown column": (
        lambda t: lists(t).append_column("lable", pa.array(["3"] * N)),
        "column 'lable' is unknown; expected one like label",
    ),
    "a column twice": (
        lambda t: lists(t).append_column("sample_id", pa.array(["3"] * N)),
        "column 'sample_id' stands there twice",
    ),
    "ids that are numbers": (
        lambda t: changed(lists(t), "sample_id", pa.array(range(N))),
        "column sample_id has the wrong type; expected text; found int64",
    ),
    "an empty id": (
        lambda t: changed(lists(t), "sample_id", pa.array([None, *["1"] * (N - 1)])),
        "column sample_id has 1 empty rows",
    ),
    "an endless id": (
        lambda t: changed(lists(t), "sample_id", pa.array(["x" * 5000] * N)),
        "a sample_id is too long; expected at most 1024 bytes; found 5000",
    ),
    "pickled objects": (
        lambda t: changed(lists(t), "logits", pa.array([pickle.dumps([1.0])] * N)),
        "column logits has the wrong type; expected lists of floating-point numbers; found binary",
    ),
    "lists of texts": (
        lambda t: changed(lists(t), "logits", pa.array([["a"]] * N)),
        "column logits has the wrong type; .*found list<",
    ),
    "whole numbers as logits": (
        lambda t: changed(lists(t), "logits", pa.array([[1] * 10] * N)),
        "column logits has the wrong type; .*found list<",
    ),
    "a class too few": (
        lambda t: changed(lists(t), "logits", pa.array([[1.0] * 9] * N)),
        f"another length than there are classes; expected 10 numbers in each of {N} rows; found {9 * N}",
    ),
    "ragged lists of the right sum": (
        lambda t: changed(lists(t), "logits", pa.array([[1.0] * 9, [1.0] * 11] * (N // 2))),
        "another number of values than there are classes; expected 10; found 9",
    ),
    "a row without a list": (
        lambda t: changed(lists(t), "logits", pa.array([[1.0] * 10] * (N - 1) + [None])),
        "another length than there are classes",
    ),
    "NaN": (
        lambda t: changed(lists(t), "logits", pa.array([[np.nan] * 10] * N)),
        "expected finite numbers; found NaN",
    ),
    "a number that is not there": (
        lambda t: changed(lists(t), "logits", pa.array([[1.0] * 9 + [None]] * N)),
        "expected finite numbers; found NaN, infinity or nothing",
    ),
    "logits that are probabilities": (
        lambda t: changed(lists(t), "logits", pa.array([[0.1] * 10] * N)),
        "the logits are probabilities; expected logits, as the column says",
    ),
    "ids that are no text": (
        lambda t: changed(lists(t), "sample_id", no_text(N)),
        "column sample_id holds what is no text; expected UTF-8",
    ),
    "no row": (lambda t: lists(t).slice(0, 0), "has no usable number of rows"),
    "a class without a column": (
        lambda t: pa.table(wide(t)).drop(["logits_4"]),
        "not one for each class of the label space; expected 10 columns, .*found 9, without logits_4",
    ),
    "a column of no class": (
        lambda t: pa.table(wide(t)).append_column("logits_cat", pa.array([0.0] * N)),
        "found 11, with logits_cat",
    ),
    "columns of texts": (
        lambda t: changed(pa.table(wide(t)), "logits_4", pa.array(["0.5"] * N)),
        "column logits_4 has the wrong type; expected floating-point numbers; found string",
    ),
}


@pytest.mark.parametrize("name", PARQUET)
def test_a_parquet_file_that_is_no_table_of_predictions_is_refused(
    clean: Table, scored: Scored, tmp_path: Path, name: str
) -> None:
    make, message = PARQUET[name]
    pq.write_table(make(clean), tmp_path / "p.parquet")
    with pytest.raises((FileFormatError, DataError), match=message):
        scored(tmp_path / "p.parquet", suite="digits")
    assert not list((tmp_path / "runs").rglob("clean-0*"))


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.98])
def test_a_parquet_file_cut_short_is_refused(
    clean: Table, scored: Scored, tmp_path: Path, keep: float
) -> None:
    path = parquet(clean, tmp_path / "p.parquet")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(FileFormatError, match=r"cannot be read as Parquet; found .*; write it again"):
        scored(path, suite="digits")


def test_damaged_values_of_a_parquet_file_are_refused_or_unharmed(
    clean: Table, scored: Scored, tmp_path: Path
) -> None:
    path = parquet(clean, tmp_path / "p.parquet")
    content = path.read_bytes()
    refused = 0
    for at in range(4, len(content) - 8, 997):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            scored(path, suite="digits")
        except RobustbenchSafetyError:
            refused += 1
    assert refused > 0


RAGGED = "cannot be read as CSV; found .*Expected 11 columns, got 2"
CSV: dict[str, tuple[Callable[[str], str], str]] = {
    "nothing": (lambda text: "", "column sample_id is missing"),
    "a ragged row": (lambda text: text + "00999,1.0\n", RAGGED),
    "no number": (lambda text: text.replace("00001,", "00001,a lot", 1), "CSV; found .*a lot"),
    "an empty number": (lambda text: text + "00999" + "," * 10 + "\n", "cannot be read as CSV"),
    "NaN": (lambda text: text + "00999" + ",nan" * 10 + "\n", "sample 00999; expected finite numbers"),
    "a huge field": (lambda text: text + '"' + "x" * (40 * 2**20), "cannot be read as CSV"),
    "no text": (lambda text: "\udcff\udcfe" + text, "cannot be read as CSV|column sample_id is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", CSV)
def test_a_csv_file_that_is_no_table_of_predictions_is_refused(
    clean: Table, scored: Scored, tmp_path: Path, name: str
) -> None:
    change, message = CSV[name]
    path = comma_separated(clean, tmp_path / "p.csv")
    text = change(path.read_text(encoding="utf-8").replace("\r\n", "\n"))
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises((FileFormatError, DataError), match=message):
        scored(path, suite="digits")


def test_a_csv_with_one_column_of_logits_is_told_how_to_write_them(scored: Scored, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('sample_id,logits\n00001,"[1, 2]"\n')
    with pytest.raises(FileFormatError, match="a CSV has no lists; expected logits_0 and so on"):
        scored(tmp_path / "p.csv", suite="digits")


def entry(shape: tuple[int, ...], content: bytes) -> bytes:
    """Return an array in npy format that claims a shape."""
    handle = io.BytesIO()
    np.lib.format.write_array_header_1_0(handle, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return handle.getvalue() + content


def zipped(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def ids(n: int) -> bytes:
    handle = io.BytesIO()
    np.save(handle, np.array([f"{i:05d}" for i in range(n)]))
    return handle.getvalue()


def header(descr: str, shape: str) -> bytes:
    """Return the start of an npy file whose header is written by hand."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little") + text


def damaged_lzma(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("sample_id.npy", ids(500))
        archive.writestr("logits.npy", entry((500, 10), bytes(20_000)))
    content = bytearray(path.read_bytes())
    content[100:300] = bytes(byte ^ 0x5A for byte in content[100:300])
    return written(path, bytes(content))


NPZ: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an array of objects": (
        lambda path: npz(
            {"sample_id": np.array(["a"]), "logits": np.array([[1.0, "x"]], dtype=object)}, path
        ),
        "array logits.npy is of type object; expected texts",
    ),
    "a header that claims more than there is": (
        lambda path: zipped(path, sample_id=ids(2), logits=entry((10**9, 10), b"1234")),
        "array logits.npy is not as large as it says; expected 40000000000 bytes and a header",
    ),
    "arrays of different lengths": (
        lambda path: npz({"sample_id": np.array(["a"]), "logits": np.zeros((2, 10))}, path),
        "different lengths; found sample_id 1, logits 2",
    ),
    "a flat array": (
        lambda path: npz({"sample_id": np.array(["a"]), "logits": np.zeros(10)}, path),
        r"array logits has the wrong shape; expected \[N, 10\]; found \[10\]",
    ),
    "texts without width, in any number": (
        lambda path: zipped(path, sample_id=header("'<U0'", "(10000000000,)"), logits=entry((2, 10), b"")),
        "array sample_id.npy is of type <U0; expected texts",
    ),
    "a side longer than any": (
        lambda path: zipped(path, sample_id=header("'<f4'", f"(0, {10**30})"), logits=entry((2, 10), b"")),
        "array sample_id.npy has no shape",
    ),
    "a side that is no number": (
        lambda path: zipped(path, sample_id=header("'<f4'", "(True,)"), logits=entry((2, 10), b"")),
        "array sample_id.npy has no shape",
    ),
    "a header that nests": (
        lambda path: zipped(path, sample_id=header("-" * 9000 + "1", "()"), logits=entry((2, 10), b"")),
        "cannot be read as npz; found MemoryError",
    ),
    "damaged LZMA": (damaged_lzma, "cannot be read as npz; found Corrupt input data"),
    "no zip": (lambda path: written(path, b"PK not"), "cannot be read as npz; found"),
    "no array": (lambda path: zipped(path, sample_id=b"x", logits=b"y"), "cannot be read as npz; found"),
}


@pytest.mark.parametrize("name", NPZ)
def test_an_npz_file_that_is_no_table_of_predictions_is_refused(
    scored: Scored, tmp_path: Path, name: str
) -> None:
    make, message = NPZ[name]
    with pytest.raises(FileFormatError, match=message):
        scored(make(tmp_path / "p.npz"), suite="digits")


def test_an_npz_that_unpacks_to_more_than_the_limit_is_refused_before_it_does(
    scored: Scored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert conversion._LARGEST_ARRAYS == 2 * 2**30
    monkeypatch.setattr(conversion, "_LARGEST_ARRAYS", 2**20)
    path = zipped(tmp_path / "p.npz", sample_id=ids(2), logits=entry((2**18, 10), bytes(10 * 2**20)))
    assert path.stat().st_size < 2**15
    with pytest.raises(FileFormatError, match=r"p\.npz is too large; expected at most 1048576 bytes of arr"):
        scored(path, suite="digits")


def test_the_formats_agree_on_a_suite_of_one_condition_that_no_column_names(
    clean: Table, scored: Scored, tmp_path: Path
) -> None:
    found = [
        scored(write(clean, tmp_path / name), suite="digits").record.scores["error"]
        for write, name in ((comma_separated, "a.csv"), (npz, "a.npz"), (parquet, "a.parquet"))
    ]
    assert found[0] == found[1] == found[2]


def test_a_folder_is_told_from_a_run_folder_and_from_an_empty_one(scored: Scored, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a run folder of ours; score it with `rbs rescore`"):
        scored(RUN)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no predictions; expected <dataset>/<kind>/<name>-<level>"):
        scored(tmp_path / "empty")
    (tmp_path / "empty" / "other.csv").write_text("sample_id,top1\n")
    with pytest.raises(DataError, match="holds no condition of the suite; expected digits/clean/clean-0"):
        scored(tmp_path / "empty")


def test_there_is_no_network_to_be_loaded_or_set(clean: Table, scored: Scored, tmp_path: Path) -> None:
    path = parquet(clean, tmp_path / "p.parquet")
    with pytest.raises(ModelError, match=r"p\.parquet is a file of predictions, not a network"):
        rbs.load_model(f"predictions:{path}", label_space="digits")
    for option in ({"device": "cpu"}, {"batch_size": 3}, {"checkpoint": path}, {"precision": "bfloat16"}):
        with pytest.raises(UsageError, match=r"^--.* says how a network runs, and a file of predictions has"):
            scored(path, suite="digits", **option)


@pytest.mark.parametrize(
    ("field", "error", "message"),
    [
        ("label_space: cifar-10", ModelError, "label space of the suite; expected digits; found cifar-10"),
        (
            f"sha256: {'0' * 64}",
            CheckpointError,
            "is not the file that the model file states; expected sha256",
        ),
        ("checkpoint: p.parquet", UsageError, "checkpoint is for a network|found|leave"),
        ("head_classes: x.txt", UsageError, "head_classes is for a network; expected predictions over all"),
        ("members: [a.yaml]", UsageError, "members is for the family ensemble"),
    ],
)
def test_a_model_file_that_does_not_fit_is_refused(
    clean: Table, tmp_path: Path, field: str, error: type[Exception], message: str
) -> None:
    parquet(clean, tmp_path / "p.parquet")
    (tmp_path / "m.yaml").write_text(f"model: predictions:p.parquet\n{field}\n")
    with pytest.raises(error, match=message):
        score(tmp_path / "m.yaml", suite="digits", predictions=tmp_path / "runs")


def test_other_files_and_those_that_are_not_there_are_refused(scored: Scored, tmp_path: Path) -> None:
    (tmp_path / "p.pkl").write_bytes(b"")
    with pytest.raises(
        UsageError, match=r"has an ending that is not read; expected one of .parquet, .csv, .npz"
    ):
        scored(tmp_path / "p.pkl")
    with pytest.raises(StorageError, match=r"nowhere\.csv cannot be read; found No such file"):
        scored(tmp_path / "nowhere.csv")


def test_the_command_scores_a_file_and_says_what_is_wrong_with_exit_code_2(
    clean: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parquet(probabilities_of(clean), Path("p.parquet"))
    options = ["--suite", "digits", "--limit", str(N)]
    assert run(["score", "predictions:p.parquet", *options]) == 0
    assert "error" in capsys.readouterr().out
    parquet({"sample_id": clean["sample_id"]}, Path("q.parquet"))
    assert run(["score", "predictions:q.parquet", *options]) == 2
    assert "rbs: q.parquet must hold one kind of predictions" in capsys.readouterr().err


def test_the_limit_of_these_tests_is_that_of_the_golden_run(clean: Table) -> None:
    assert len(clean["sample_id"]) == N
    assert len(CLASSES) == 10
