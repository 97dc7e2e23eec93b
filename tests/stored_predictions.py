"""Predictions as a run would have stored them, made by hand."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from robustbench_safety.predictions import Predictions, Values, read_header
from robustbench_safety.records import Condition, PredictionsHeader
from tests.golden.make import RUN


@lru_cache
def golden_header() -> PredictionsHeader:
    """Return a header to be changed."""
    return read_header(RUN / "digits/clean/clean-0.parquet")


def predictions(
    labels: ArrayLike, values: Values, *, k: int, frames: int = 1, kind: str = "clean", name: str = "clean"
) -> Predictions:
    """Return the predictions of ``k`` classes on a condition of dataset ``mine`` at level 1."""
    given = np.asarray(labels, dtype=np.int64)
    n = len(given) // frames
    condition = Condition.model_validate({"dataset": "mine", "kind": kind, "name": name, "level": 1})
    header = golden_header().model_copy(
        update={"n": n, "frames": frames, "n_classes": k, "condition": condition}
    )
    return Predictions(header=header, sample_ids=[f"id-{i}" for i in range(n)], labels=given, values=values)


def of_logits(
    labels: ArrayLike, logits: ArrayLike, *, kind: str = "clean", name: str = "clean"
) -> Predictions:
    """Return the predictions that have these logits [N, K]."""
    table = np.asarray(logits, dtype=np.float32)
    return predictions(labels, {"logits": table}, k=table.shape[1], kind=kind, name=name)
