"""One run from end to end, kept: nothing may move a number unseen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.evaluation import Evaluation, rescore
from robustbench_safety.files import read_json
from robustbench_safety.predictions import read_predictions
from robustbench_safety.records import ScoreRecord
from tests.golden.make import RECORD, RUN, SUITE, score_tiny


@pytest.fixture(scope="module")
def golden() -> ScoreRecord:
    return read_json(RECORD, ScoreRecord)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return score_tiny(tmp_path_factory.mktemp("golden"))


def test_the_record_from_stored_logits_is_exactly_the_golden_one(golden: ScoreRecord) -> None:
    found = rescore(RUN, suite=SUITE).record
    assert json.loads(found.model_dump_json()) == json.loads(golden.model_dump_json())


def test_through_the_model_every_top_one_agrees_but_for_ties(fresh: Evaluation) -> None:
    for path in sorted(RUN.rglob("*.parquet")):
        kept, found = read_predictions(path), read_predictions(fresh.run_folder / path.relative_to(RUN))
        assert found.sample_ids == kept.sample_ids
        np.testing.assert_array_equal(found.labels, kept.labels)
        logits = kept.logits()
        top_two = np.sort(logits, axis=1)[:, -2:]
        clear = top_two[:, 1] - top_two[:, 0] > 1e-3 * logits.std()
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(found.predicted[clear], kept.predicted[clear])
        np.testing.assert_allclose(found.logits(), logits, atol=1e-4)


def test_through_the_model_every_score_agrees(fresh: Evaluation, golden: ScoreRecord) -> None:
    for name, kept in golden.scores.items():
        found = fresh.record.scores[name]
        assert found.value == pytest.approx(kept.value, abs=1e-4), name
        assert found.n == kept.n
        assert (found.interval is None) == (kept.interval is None)
        if found.interval is not None and kept.interval is not None:
            assert found.interval.low == pytest.approx(kept.interval.low, abs=1e-4), name
            assert found.interval.high == pytest.approx(kept.interval.high, abs=1e-4), name


def test_the_data_that_are_read_are_the_golden_ones(fresh: Evaluation, golden: ScoreRecord) -> None:
    assert fresh.record.data_digests == golden.data_digests


def test_every_value_lies_in_its_interval(golden: ScoreRecord) -> None:
    for name, score in golden.scores.items():
        assert score.value is not None
        assert score.interval is not None, name
        assert score.interval.low <= score.value <= score.interval.high, name


def test_the_golden_files_stay_small() -> None:
    assert sum(path.stat().st_size for path in Path(RUN).rglob("*.parquet")) < 2**20
