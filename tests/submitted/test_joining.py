"""Every sample of a condition exactly once; what is missing, unknown, twice or mislabelled is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.data.builtin import DigitsReader
from robustbench_safety.errors import DataError, ModelError
from robustbench_safety.evaluation import Evaluation
from robustbench_safety.files import read_yaml
from robustbench_safety.records import ScoreRecord, Suite
from tests.golden.make import SUITE
from tests.submitted.conftest import CLASSES, Table, parquet, rows, top1_of

Scored = Callable[..., Evaluation]


def every_digit() -> Table:
    """Return top-1 classes of the whole test set, all of them right."""
    reader = DigitsReader("test")
    labels = np.array(CLASSES)[reader.labels]
    return {"sample_id": np.array(list(reader.sample_ids)), "label": labels, "top1": labels}


def test_a_missing_sample_is_named(clean: Table, scored: Scored, tmp_path: Path) -> None:
    lost = clean["sample_id"][[4, 9]].tolist()
    path = parquet(rows(clean, ~np.isin(clean["sample_id"], lost)), tmp_path / "p.parquet")
    with pytest.raises(
        DataError, match=f"digits/clean/clean-0: 2 samples are missing: {lost[0]}, {lost[1]};"
    ):
        scored(path, suite="digits")


def test_an_unknown_sample_is_named(clean: Table, scored: Scored, tmp_path: Path) -> None:
    renamed = clean["sample_id"].copy()
    renamed[3] = "99999"
    with pytest.raises(
        DataError, match="a sample is unknown to the data set: 99999; expected ids such as 00001"
    ):
        scored(parquet(clean | {"sample_id": renamed}, tmp_path / "p.parquet"), suite="digits")


@pytest.mark.parametrize("apart", [1, 150])
def test_a_sample_that_is_there_twice_is_named(
    clean: Table, scored: Scored, tmp_path: Path, apart: int
) -> None:
    order = np.insert(np.arange(len(clean["sample_id"])), apart, 0)
    with pytest.raises(DataError, match=f"a sample is there twice: {clean['sample_id'][0]};"):
        scored(parquet(rows(clean, order), tmp_path / "p.parquet"), suite="digits")


def test_a_label_that_is_not_the_data_set_s_is_refused(clean: Table, scored: Scored, tmp_path: Path) -> None:
    whole = every_digit()
    at = int(np.flatnonzero(whole["label"] == "3")[0])
    whole["label"] = whole["label"].copy()
    whole["label"][at] = "7"
    named = f"labelled otherwise by the data set: {whole['sample_id'][at]}; expected '3', not '7'"
    with pytest.raises(DataError, match=named):
        scored(parquet(whole, tmp_path / "p.parquet"), suite="digits", limit=None)


def test_with_a_limit_the_rest_of_the_data_set_may_be_there_and_need_not(
    scored: Scored, tmp_path: Path
) -> None:
    whole = every_digit()
    assert len(whole["sample_id"]) > 800
    all_of_it = scored(parquet(whole, tmp_path / "all.parquet"), suite="digits", limit=50).record
    assert (all_of_it.scores["error"].n, all_of_it.scores["error"].value) == (50, 0.0)
    assert all_of_it.partial_because[-1] == "limit: 50 source images of each dataset"
    doubled = rows(whole, np.append(np.arange(len(whole["sample_id"])), len(whole["sample_id"]) - 1))
    with pytest.raises(DataError, match="there twice"):
        scored(parquet(doubled, tmp_path / "twice.parquet"), suite="digits", limit=50)


def test_a_frame_that_is_missing_or_none_of_the_clip_is_refused(
    logits: Table, scored: Scored, tmp_path: Path
) -> None:
    clips = rows(logits, np.char.startswith(logits["condition"], "digits-p/"))
    suite = read_yaml(SUITE, Suite)
    cells = tuple(cell for cell in suite.cells if cell.id == "flip_rate")
    alone = suite.model_copy(
        update={"cells": cells, "aggregates": (), "columns": ("flip_rate",), "beside": ()}
    )
    whole = scored(parquet(clips, tmp_path / "whole.parquet"), suite=alone)
    assert whole.record.scores["flip_rate"].value is not None
    last = int(clips["frame"].max())
    for name, change, message in (
        ("short", rows(clips, clips["frame"] < last), "missing: .*; expected every sample with every frame"),
        ("long", clips | {"frame": clips["frame"] + 1}, f"frame {last + 1}; expected 0 to {last}"),
        (
            "none",
            {k: v for k, v in clips.items() if k != "frame"},
            "column frame is missing; expected the nu",
        ),
    ):
        with pytest.raises(DataError, match=message):
            scored(parquet(change, tmp_path / f"{name}.parquet"), suite=alone)


def test_conditions_that_no_cell_needs_are_left_out_and_said(
    logits: Table, scored: Scored, tmp_path: Path
) -> None:
    found = scored(parquet(top1_of(logits), tmp_path / "p.parquet"), suite="digits")
    assert found.record.scores["error"].value is not None
    (told,) = found.skipped
    assert "blobs/clean/clean-0, digits-c/corruption/contrast-1" in told
    assert "no cell of the suite needs it" in told


def test_a_condition_that_is_missing_is_an_error_or_with_skip_missing_a_null(
    network: ScoreRecord, logits: Table, scored: Scored, tmp_path: Path
) -> None:
    path = parquet(
        rows(logits, logits["condition"] != "digits-c/corruption/contrast-2"), tmp_path / "p.parquet"
    )
    with pytest.raises(DataError, match=r"lacks 1 of .* conditions; expected digits-c/corruption/contrast-2"):
        scored(path)
    found = scored(path, skip_missing=True)
    assert found.skipped == (f"digits-c/corruption/contrast-2: not in {path}",)
    assert found.record.scores["c_error"].reason == "no predictions on digits-c/corruption/contrast-2"
    assert found.record.scores["clean_error"] == network.scores["clean_error"]


def test_without_a_column_of_conditions_a_suite_of_several_is_refused(
    clean: Table, scored: Scored, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="column condition is missing; expected the path of one of the"):
        scored(parquet(clean, tmp_path / "p.parquet"))


def test_a_suite_of_attacks_alone_is_refused(clean: Table, scored: Scored, tmp_path: Path) -> None:
    golden = read_yaml(SUITE, Suite)
    cells = tuple(cell for cell in golden.cells if cell.attack)
    suite = golden.model_copy(
        update={"cells": cells, "aggregates": (), "columns": ("pgd_error",), "beside": ()}
    )
    with pytest.raises(
        ModelError, match="nothing of suite golden can be measured from a file of predictions"
    ):
        scored(parquet(clean, tmp_path / "p.parquet"), suite=suite)
