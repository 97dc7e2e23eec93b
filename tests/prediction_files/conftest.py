"""A header, a run's note, and rows to write; small and seeded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.files import read_json
from robustbench_safety.predictions import PredictionsHeader, written
from robustbench_safety.records import Condition, RunInfo, ScoreRecord

MakeHeader = Callable[..., PredictionsHeader]
Write = Callable[..., PredictionsHeader]

K = 3


@pytest.fixture(scope="session")
def record() -> ScoreRecord:
    return read_json(Path(__file__).parent.parent / "golden" / "record.json", ScoreRecord)


@pytest.fixture
def make_info(record: ScoreRecord) -> Callable[..., RunInfo]:
    """Return a function that makes the note of a run, fields changed as told."""

    def make(**change: object) -> RunInfo:
        fields: dict[str, object] = {
            "schema_version": 1,
            "slug": "tiny",
            "display_name": "Tiny",
            "model": record.model,
            "seed": 0,
            "limit": None,
            "environment": record.environment,
        }
        return RunInfo.model_validate({**fields, **change})

    return make


@pytest.fixture
def make_header(record: ScoreRecord) -> MakeHeader:
    """Return a function that makes a header, fields changed as told."""

    def make(**change: object) -> PredictionsHeader:
        fields: dict[str, object] = {
            "schema_version": 1,
            "condition": Condition(dataset="digits", kind="clean", name="clean", level=0),
            "columns": "logits",
            "label_space": "digits",
            "n": 10,
            "frames": 1,
            "n_classes": K,
            "model_digest": "1" * 64,
            "manifest_digest": "2" * 64,
            "preprocessing_digest": "3" * 64,
            "seed": 0,
            "limit": None,
            "data_digest": "4" * 64,
            "predictions_digest": "5" * 64,
            "source_stamp": "builtin",
            "decoder": "none",
            "attack": None,
            "environment": record.environment,
            "forward_passes": 10,
            "seconds": 1.5,
            "finished": "2026-01-01T00:00:00+00:00",
        }
        return PredictionsHeader.model_validate({**fields, **change})

    return make


@pytest.fixture
def write(make_header: MakeHeader) -> Write:
    """Return a function that writes columns to a file, cut into parts of so many samples."""

    def do(
        path: Path,
        values: dict[str, NDArray[np.float32] | NDArray[np.int32]],
        *,
        labels: NDArray[np.int64],
        frames: int = 1,
        part: int = 4,
        **change: object,
    ) -> PredictionsHeader:
        n = len(labels) // frames
        ids = [f"id-{i}" for i in range(n)]
        with written(path, frames=frames) as writer:
            for first in range(0, n, part):
                rows = slice(first * frames, (first + part) * frames)
                cut = {name: array[rows] for name, array in values.items()}
                writer.append(ids[first : first + part], labels[rows], cut)
            fields = {"n": n, "frames": frames, "predictions_digest": writer.digest(), **change}
            header = make_header(**fields)
            writer.finish(header)
        return header

    return do
