"""The companion of a record: what is kept of each image, packed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robustbench_safety.companion import Companion, read_companion, write_companion
from robustbench_safety.data.label_sets import Labels
from robustbench_safety.errors import FileFormatError, StorageError
from robustbench_safety.evaluation import Evaluation, rescore
from robustbench_safety.predictions import read_predictions
from tests.golden.make import RUN, SUITE
from tests.stored_predictions import of_logits


@pytest.fixture(scope="module")
def golden() -> Evaluation:
    return rescore(RUN, suite=SUITE)


@pytest.fixture(scope="module")
def written(golden: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("companion") / "tiny.parquet"
    write_companion(path, golden.companion)
    return path


def test_the_bits_are_the_right_answers_of_each_condition(written: Path) -> None:
    table = pq.read_table(written)
    order = json.loads(table.schema.metadata[b"robustbench_safety_companion"])
    rows = table.to_pandas()
    for dataset in ("digits", "digits-c"):
        of_dataset = rows[rows["dataset"] == dataset]
        packed = np.stack([np.frombuffer(bits, dtype=np.uint8) for bits in of_dataset["correct"]])
        bits = np.unpackbits(packed, axis=1, bitorder="little")
        for column, path in enumerate(order[dataset]["correct"]):
            kept = read_predictions(RUN / f"{path}.parquet")
            assert list(of_dataset["source_id"]) == kept.sample_ids
            np.testing.assert_array_equal(bits[:, column], kept.correct)


def test_class_confidence_and_scores_are_kept_where_they_exist(written: Path) -> None:
    rows = pq.read_table(written).to_pandas()
    clean = read_predictions(RUN / "digits/clean/clean-0.parquet")
    digits = rows[rows["dataset"] == "digits"]
    np.testing.assert_array_equal(digits["predicted"], clean.predicted)
    exponents = np.exp(clean.logits())
    confidence = exponents.max(axis=1) / exponents.sum(axis=1)
    np.testing.assert_allclose(digits["confidence"], confidence, rtol=1e-6)
    np.testing.assert_allclose(digits["score_msp"], -confidence, rtol=1e-6)
    blobs = rows[rows["dataset"] == "blobs"]
    assert blobs["score_msp"].notna().all()
    assert blobs["correct"].isna().all()


def test_scores_that_no_column_rests_on_are_left_out(written: Path) -> None:
    # The suite has cells of energy and maxlogit too: of three detectors a CIFAR suite would take over 1 MB.
    assert [name for name in pq.read_schema(written).names if name.startswith("score_")] == ["score_msp"]


def test_flips_are_counted_clip_by_clip(written: Path, golden: Evaluation) -> None:
    rows = pq.read_table(written).to_pandas()
    flips = np.stack(list(rows[rows["dataset"] == "digits-p"]["flips"])).astype(float)
    assert flips.shape == (240, 1)
    assert flips.mean() / 15 == pytest.approx(golden.record.scores["flip_rate"].value)


def test_the_digest_tells_one_bit(golden: Evaluation) -> None:
    assert golden.record.companion_digest == golden.companion.digest()
    other = Companion()
    other.add(read_predictions(RUN / "digits/clean/clean-0.parquet"))
    first = other.digest()
    other.add(read_predictions(next(RUN.glob("digits/attack/*.parquet"))))
    assert other.digest() != first


def test_it_is_small(written: Path) -> None:
    assert written.stat().st_size < 60_000


#: Predicted: 0, 2, 1.
LOGITS = [[4.0, 1.0, 2.0], [1.0, 2.0, 5.0], [0.0, 9.0, 2.0]]
STYLES = {"style": ["sketch", "toy", "sketch"]}


def bits(companion: Companion) -> list[list[int]]:
    """Return the correct bits of each image, one a condition."""
    rows = companion.table().column("correct").to_pylist()
    n = len(json.loads(companion.table().schema.metadata[b"robustbench_safety_companion"])["mine"]["correct"])
    packed = np.stack([np.frombuffer(row, dtype=np.uint8) for row in rows])
    found: list[list[int]] = np.unpackbits(packed, axis=1, bitorder="little")[:, :n].tolist()
    return found


def test_an_image_is_right_with_any_of_its_classes() -> None:
    # Image 0 may be 0 or 1 and gets 0, image 1 may be 0 and gets 2, image 2 may be 1 or 2 and gets 1.
    right = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1]], dtype=bool)
    companion = Companion()
    companion.add(of_logits([1, 2, 2], LOGITS), Labels(right=right))
    assert bits(companion) == [[1], [0], [1]]
    plain = Companion()
    plain.add(of_logits([1, 2, 2], LOGITS))
    assert bits(plain) == [[0], [1], [0]]
    assert companion.digest() != plain.digest()


def test_the_predicted_class_does_not_depend_on_what_is_right() -> None:
    tables = []
    for truth in (None, Labels(right=np.ones((3, 3), dtype=bool))):
        companion = Companion()
        companion.add(of_logits([1, 2, 2], LOGITS), truth)
        tables.append(companion.table())
    for name in ("predicted", "confidence", "source_id"):
        assert tables[0].column(name).equals(tables[1].column(name))
    assert tables[0].column("predicted").to_pylist() == [0, 2, 1]


def test_where_an_image_has_no_label_no_bits_are_kept() -> None:
    companion = Companion()
    companion.add(of_logits([0, -1, 1], LOGITS))
    assert companion.table().column("correct").to_pylist() == [None] * 3


def test_group_columns_stand_beside_the_images(tmp_path: Path) -> None:
    companion = Companion()
    companion.add(of_logits([0, 1, 2], LOGITS), None, STYLES)
    write_companion(tmp_path / "a.parquet", companion)
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.column("group_style").to_pylist() == ["sketch", "toy", "sketch"]
    assert table.column("source_id").to_pylist() == ["id-0", "id-1", "id-2"]


def test_a_dataset_without_group_columns_has_nulls_there() -> None:
    companion = Companion()
    companion.add(of_logits([0, 1, 2], LOGITS), None, STYLES)
    companion.add(read_predictions(RUN / "digits/clean/clean-0.parquet"))
    found = companion.table().to_pandas()
    assert found["group_style"].notna().sum() == 3
    assert found.loc[found["dataset"] == "digits", "group_style"].isna().all()


def test_the_digest_covers_group_columns_and_is_what_it_was_without_any() -> None:
    def digest(columns: dict[str, list[str]] | None) -> str:
        companion = Companion()
        companion.add(of_logits([0, 1, 2], LOGITS), None, columns)
        return companion.digest()

    assert digest(None) == digest({})
    others = [
        {},
        STYLES,
        {"kind": STYLES["style"]},
        {"style": ["toy", "sketch", "sketch"]},
        {**STYLES, "size": ["s", "s", "s"]},
    ]
    assert len({digest(columns) for columns in others}) == len(others)


def test_conditions_stand_in_the_bits_in_the_order_they_came() -> None:
    # The first condition is in the lowest bit: right, wrong, wrong; then wrong, wrong, right.
    companion = Companion()
    companion.add(of_logits([0, 1, 2], LOGITS, kind="corruption", name="fog"))
    companion.add(of_logits([1, 1, 1], LOGITS, kind="corruption", name="snow"))
    assert [row[0] for row in companion.table().column("correct").to_pylist()] == [1, 0, 2]
    assert bits(companion) == [[1, 0], [0, 0], [0, 1]]


def test_scores_that_leave_images_out_are_not_kept() -> None:
    stored = of_logits([0, 1, 2], LOGITS)
    companion = Companion()
    companion.add(stored)
    before = companion.digest()
    companion.add_scores(stored, "msp.few", np.array([0.5, 0.25]))
    assert companion.digest() == before
    companion.add_scores(stored, "msp.few", np.array([0.5, 0.25, 0.125]))
    assert companion.table().column("score_msp.few").to_pylist() == [0.5, 0.25, 0.125]
    assert companion.digest() != before


def test_what_was_written_is_read_again(written: Path, golden: Evaluation) -> None:
    found = read_companion(written, digest=golden.record.companion_digest)
    assert found.table().equals(golden.companion.table(), check_metadata=True)
    assert found.digest() == golden.companion.digest()
    for name, rows in golden.companion.datasets.items():
        assert list(found.datasets[name].correct) == list(rows.correct)


def test_group_columns_are_read_again(tmp_path: Path) -> None:
    companion = Companion()
    companion.add(of_logits([0, 1, 2], LOGITS), columns=STYLES)
    write_companion(tmp_path / "c.parquet", companion)
    assert read_companion(tmp_path / "c.parquet").datasets["mine"].columns == STYLES


def test_another_companion_than_the_record_has_is_refused(written: Path) -> None:
    with pytest.raises(FileFormatError, match=f"expected the companion of its record, digest {'0' * 64}"):
        read_companion(written, digest="0" * 64)


def of_nine() -> pa.Table:
    """Return the table of nine conditions of three images: two bytes of bits."""
    companion = Companion()
    for i in range(9):
        companion.add(of_logits([0, 1, 2], LOGITS, kind="corruption", name=f"fog{i}"))
    return companion.table()


def with_order(table: pa.Table, **order: object) -> pa.Table:
    return table.replace_schema_metadata({b"robustbench_safety_companion": json.dumps(order)})


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


NINE = [f"mine/corruption/fog{i}-1" for i in range(9)]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop_columns(["flips"]), "column 'flips': list.*; found none"),
        (lambda t: t.append_column("note", pa.array(["a", "b", "c"])), "column 'note': none; found string"),
        (lambda t: with_column(t, "predicted", pa.array([1, 2, 3])), "'predicted': int32; found int64"),
        (lambda t: t.append_column("predicted", t.column("predicted")), "column 'repeated'"),
        (lambda t: t.replace_schema_metadata(None), "metadata that list the conditions.*found b''"),
        (lambda t: with_order(t, mine={"correct": NINE}), "metadata that list the conditions"),
        (lambda t: with_order(t, mine={"correct": NINE[:8], "flips": []}), "8 bits a row"),
        (lambda t: with_order(t, mine={"correct": NINE[:8] * 2, "flips": []}), "each condition once"),
        (lambda t: with_order(t, mine={"correct": [], "flips": ["a"]}), "1 counts a row in column flips"),
        (lambda t: with_order(t), "rows of the datasets that its metadata list; found 3 others"),
        (lambda t: with_order(t, yours={"correct": [], "flips": []}), "dataset yours .* one row or more"),
        (lambda t: with_column(t, "source_id", pa.array(["a", "a", "b"])), "each of another source_id"),
        (lambda t: with_column(t, "source_id", pa.array(["a", "c", None])), "each of another source_id"),
        (lambda t: with_column(t, "correct", pa.array([b"ab", b"a", b"ab"])), "9 bits a row"),
        (lambda t: with_column(t, "correct", pa.array([b"ab", None, b"ab"])), "9 bits a row"),
        (
            lambda t: with_column(t, "predicted", pa.array([1, None, 3], pa.int32())),
            "column predicted in every row or in none; found 1 empty",
        ),
    ],
)  # fmt: skip
def test_what_is_no_companion_is_refused(
    tmp_path: Path, spoil: Callable[[pa.Table], pa.Table], message: str
) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(of_nine(), path)
    assert len(read_companion(path).datasets["mine"].correct) == 9
    pq.write_table(spoil(of_nine()), path)
    with pytest.raises(FileFormatError, match=message) as caught:
        read_companion(path)
    assert "c.parquet" in caught.value.what
    assert "make it anew" in caught.value.fix


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(FileFormatError, match=r"c\.parquet is no companion that can be read"):
        read_companion(path)
    with pytest.raises(StorageError, match="cannot be read"):
        read_companion(tmp_path / "none.parquet")


def test_a_small_file_of_much_repeated_text_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    n, path = 5_000, tmp_path / "packed.parquet"
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, dtype=np.int32)), pa.array(["x" * 10**6]))
    columns = {"dataset": pa.array(["mine"] * n), "source_id": one, "correct": pa.nulls(n, pa.binary())}
    columns |= {"flips": pa.nulls(n, pa.list_(pa.uint8())), "predicted": pa.nulls(n, pa.int32())}
    table = pa.table({**columns, "confidence": pa.nulls(n, pa.float32())})
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        order: dict[str, dict[str, list[str]]] = {"mine": {"correct": [], "flips": []}}
        writer.add_key_value_metadata({"robustbench_safety_companion": json.dumps(order)})
    assert path.stat().st_size < 100_000
    with pytest.raises(FileFormatError, match=r"at most 2147483648 bytes .* found 5000"):
        read_companion(path)
