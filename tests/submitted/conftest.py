"""Predictions of a network of ours, and files that a third party could have made of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.files import read_json
from robustbench_safety.labels import load_label_space
from robustbench_safety.predictions import read_predictions
from robustbench_safety.records import ScoreRecord
from tests.golden.make import LIMIT, RECORD, RUN, SUITE

CLASSES = load_label_space("digits").classes

Table = dict[str, NDArray[Any]]
"""Columns; that of the values is [N, K]."""


def wide(table: Table) -> Table:
    """Return the table with one column a class instead of one of lists."""
    out: Table = {}
    for name, column in table.items():
        if column.ndim == 1:
            out[name] = column
        else:
            out |= {f"{name}_{key}": column[:, i] for i, key in enumerate(CLASSES)}
    return out


def parquet(table: Table, path: Path) -> Path:
    columns = {
        name: pa.array(column)
        if column.ndim == 1
        else pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])
        for name, column in table.items()
    }
    pq.write_table(pa.table(columns), path, row_group_size=100)
    return path


def comma_separated(table: Table, path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(wide(table))
        # str of a float32 is its shortest form, which reads back as it was.
        writer.writerows(zip(*([str(v) for v in column] for column in wide(table).values()), strict=True))
    return path


def npz(table: Table, path: Path) -> Path:
    np.savez_compressed(path, **table)  # type: ignore[arg-type]  # its stub takes these for allow_pickle
    return path


def shuffled(table: Table) -> Table:
    order = np.random.default_rng(0).permutation(len(table["sample_id"]))
    return {name: column[order] for name, column in table.items()}


def rows(table: Table, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Table:
    return {name: column[chosen] for name, column in table.items()}


@pytest.fixture(scope="session")
def network() -> ScoreRecord:
    """The record of a network's own run on the golden suite: each kind of condition and of metric."""
    return read_json(RECORD, ScoreRecord)


@pytest.fixture(scope="session")
def logits() -> Table:
    """Everything that run has predicted but the attack, without labels."""
    parts: list[Table] = []
    for path in sorted(RUN.rglob("*.parquet")):
        found = read_predictions(path)
        condition, frames = found.header.condition, found.header.frames
        if condition.kind == "attack":
            continue
        n = len(found.labels)
        parts.append({
            "sample_id": np.repeat(np.array(found.sample_ids), frames),
            "condition": np.full(n, condition.path),
            "frame": np.tile(np.arange(frames), n // frames),
            "logits": found.values["logits"],
        })  # fmt: skip
    names = ("sample_id", "condition", "frame", "logits")
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


@pytest.fixture(scope="session")
def clean(logits: Table) -> Table:
    """The clean images alone, without the columns that need more than one condition."""
    chosen = rows(logits, logits["condition"] == "digits/clean/clean-0")
    return {"sample_id": chosen["sample_id"], "logits": chosen["logits"]}


def probabilities_of(table: Table) -> Table:
    out = {name: column for name, column in table.items() if name != "logits"}
    return out | {"probabilities": softmax(table["logits"].astype(np.float64), axis=1)}


def top1_of(table: Table, *, as_index: bool = False) -> Table:
    out = {name: column for name, column in table.items() if name != "logits"}
    best = table["logits"].astype(np.float64).argmax(axis=1)
    return out | ({"top1_index": best} if as_index else {"top1": np.array(CLASSES)[best]})


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., Evaluation]:
    """Return a function that scores a file on the golden suite, or another."""

    def do(path: Path, **options: object) -> Evaluation:
        settings: dict[str, object] = {"suite": SUITE, "predictions": tmp_path / "runs", "limit": LIMIT}
        return score(f"predictions:{path}", **(settings | options))  # type: ignore[arg-type]

    return do
