"""Whatever the format and the order of the rows, the scores are those of the network itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.evaluation import Evaluation, rescore
from robustbench_safety.files import digest_of
from robustbench_safety.records import ScoreRecord
from tests.golden.make import SUITE
from tests.reporting.boards import board, names
from tests.submitted.conftest import Table, comma_separated, npz, parquet, rows, shuffled, wide

Scored = Callable[..., Evaluation]

WRITERS: dict[str, Callable[[Table, Path], Path]] = {
    "parquet with lists": lambda table, folder: parquet(table, folder / "p.parquet"),
    "parquet with a column a class": lambda table, folder: parquet(wide(table), folder / "p.parquet"),
    "csv": lambda table, folder: comma_separated(table, folder / "p.csv"),
    "npz": lambda table, folder: npz(table, folder / "p.npz"),
    "npz with a column a class": lambda table, folder: npz(wide(table), folder / "p.npz"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_logits_in_any_format_and_order_give_the_scores_of_the_network_itself(
    network: ScoreRecord, logits: Table, scored: Scored, tmp_path: Path, name: str
) -> None:
    found = scored(WRITERS[name](shuffled(logits), tmp_path)).record
    for column, score in network.scores.items():
        if column != "pgd_error":
            assert found.scores[column] == score, column
    attack = [path for path in network.data_digests if "/attack/" in path]
    for of_ours, of_theirs in (
        (network.data_digests, found.data_digests),
        (network.prediction_digests, found.prediction_digests),
    ):
        assert {path: of_ours[path] for path in of_ours if path not in attack} == of_theirs
    assert found.curves == network.curves


def test_a_folder_with_one_file_a_condition_is_read_like_one_file(
    network: ScoreRecord, logits: Table, scored: Scored, tmp_path: Path
) -> None:
    folder = tmp_path / "handed-in"
    for number, path in enumerate(np.unique(logits["condition"]).tolist()):
        part = rows(logits, logits["condition"] == path)
        del part["condition"]
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if number % 2:
            parquet(part, file.with_name(f"{file.name}.parquet"))
        else:
            comma_separated(part, file.with_name(f"{file.name}.csv"))
    found = scored(folder).record
    assert found.scores["anomaly"] == network.scores["anomaly"]
    assert found.scores["c_error"] == network.scores["c_error"]


def test_the_row_is_recomputed_and_says_what_nobody_here_can_know(
    logits: Table, scored: Scored, tmp_path: Path, network: ScoreRecord
) -> None:
    record = scored(parquet(logits, tmp_path / "theirs.parquet")).record
    assert record.verification.kind == "recomputed"
    assert (record.model.family, record.model.architecture) == ("predictions", "theirs.parquet")
    assert (record.model.network_known, record.model.gradients, record.model.parameters) == (False, False, 0)
    environment = record.environment
    assert (environment.known, environment.device, environment.python) == (False, "none", "unknown")
    assert record.forward_passes == 0
    assert record.without_images == ()
    whole = {"status": "complete", "partial_because": ()}
    both = board(record.model_copy(update=whole), network.model_copy(update=whole))
    assert names(both) == ["tiny", "predictions:theirs.parquet"]
    assert [row.ranked for row in both.rows] == [True, False]


def test_rescoring_its_run_folder_gives_the_same_record(
    logits: Table, scored: Scored, tmp_path: Path
) -> None:
    first = scored(parquet(logits, tmp_path / "p.parquet"))
    again = rescore(first.run_folder, suite=SUITE)
    assert digest_of(again.record.digested_fields()) == digest_of(first.record.digested_fields())


def test_what_is_stored_is_kept_and_a_changed_file_has_a_run_of_its_own(
    logits: Table, scored: Scored, tmp_path: Path
) -> None:
    path = parquet(logits, tmp_path / "p.parquet")
    first = scored(path)
    stored = sorted(first.run_folder.rglob("*.parquet"))
    times = [file.stat().st_mtime_ns for file in stored]
    # A condition that an interrupted call has not finished is all that is done again.
    stored[0].unlink()
    again = scored(path)
    assert digest_of(again.record.digested_fields()) == digest_of(first.record.digested_fields())
    assert [file.stat().st_mtime_ns for file in stored[1:]] == times[1:]
    parquet({**logits, "logits": logits["logits"] * 2}, path)
    other = scored(path)
    assert other.run_folder != first.run_folder
