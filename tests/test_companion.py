"""The companion of a record: what is kept of each image, packed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from robustbench_safety.companion import Companion, write_companion
from robustbench_safety.evaluation import Evaluation, rescore
from robustbench_safety.predictions import read_predictions
from tests.golden.make import RUN, SUITE


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
    np.testing.assert_allclose(digits["score_maxlogit"], -clean.logits().max(axis=1), rtol=1e-6)
    blobs = rows[rows["dataset"] == "blobs"]
    assert blobs["score_msp"].notna().all()
    assert blobs["score_energy"].isna().all()
    assert blobs["correct"].isna().all()


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
