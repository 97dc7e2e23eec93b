"""The companion of a record: what two records are paired by when the predictions are not at hand.

A compact Parquet file that goes into git beside the record. One row for each source image (or clip) of each
dataset; what needs more, calibration under corruption or flips of single frames, pairs by the predictions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.data.label_sets import Labels
from robustbench_safety.files import atomic_path, digest_of
from robustbench_safety.measures import Outputs
from robustbench_safety.predictions import Predictions

__all__ = ["Companion", "write_companion"]

_CONDITIONS_KEY = b"robustbench_safety_companion"


@dataclass
class _Rows:
    """Rows of one dataset."""

    source_ids: list[str]
    columns: dict[str, list[str]] = field(default_factory=dict)
    """Group columns."""
    correct: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    """By condition."""
    flips: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    """By sequence."""
    predicted: NDArray[np.int32] | None = None
    confidence: NDArray[np.float32] | None = None
    scores: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """By detector."""


class Companion:
    """Collected while the conditions of a record are read."""

    def __init__(self) -> None:
        self._datasets: dict[str, _Rows] = {}

    def add(
        self,
        predictions: Predictions,
        truth: Labels | None = None,
        columns: Mapping[str, list[str]] | None = None,
    ) -> None:
        """Keep what pairs of one condition: correct bits, flips, and on clean images class and confidence.

        Args:
            predictions: One condition.
            truth: Labels where an image may have several right classes.
            columns: Group columns of the samples.
        """
        condition, outputs = predictions.header.condition, Outputs(predictions, truth=truth)
        rows = self._rows(predictions)
        rows.columns = dict(columns or {})
        if condition.kind == "sequence":
            flips = metrics.flips_per_clip(outputs.clips, compare=outputs.compare)
            rows.flips[condition.path] = flips.astype(np.uint8)
            return
        if outputs.kept.all() and (predictions.labels >= 0).all():
            rows.correct[condition.path] = outputs.correct == 1
        if condition.kind == "clean":
            rows.predicted = outputs.predicted.astype(np.int32)
        if condition.kind == "clean" and predictions.header.columns != "top1":
            rows.confidence = outputs.confidence.astype(np.float32)

    def add_scores(self, predictions: Predictions, detector: str, scores: NDArray[np.float64]) -> None:
        """Keep the OOD scores of one set; those on a class subset, which leaves images out, are not kept."""
        if len(scores) == len(predictions.sample_ids):
            self._rows(predictions).scores[detector] = scores.astype(np.float32)

    def digest(self) -> str:
        """Return the digest over everything that is kept."""
        content = {
            name: {
                **({"columns": _columns_digests(rows)} if rows.columns else {}),
                "source_ids": _digest("\n".join(rows.source_ids).encode()),
                "correct": {
                    path: _digest(np.packbits(bits).tobytes()) for path, bits in rows.correct.items()
                },
                "flips": {path: _digest(flips.tobytes()) for path, flips in rows.flips.items()},
                "predicted": None if rows.predicted is None else _digest(_little(rows.predicted)),
                "confidence": None if rows.confidence is None else _digest(_little(rows.confidence)),
                "scores": {detector: _digest(_little(scores)) for detector, scores in rows.scores.items()},
            }
            for name, rows in self._datasets.items()
        }
        return digest_of(content)

    def table(self) -> pa.Table:
        """Return the rows.

        Columns: dataset, source_id; ``correct``, one bit a condition, first condition in the lowest bit;
        ``flips``, one count a sequence; predicted, confidence; ``score_<detector>``; ``group_<column>`` where
        a dataset has group columns. The metadata list the conditions and sequences of each dataset in the
        order of the bits and counts.
        """
        detectors = sorted({detector for rows in self._datasets.values() for detector in rows.scores})
        groups = sorted({column for rows in self._datasets.values() for column in rows.columns})
        parts = [_part(name, rows, detectors, groups) for name, rows in self._datasets.items()]
        order = {
            name: {"correct": list(rows.correct), "flips": list(rows.flips)}
            for name, rows in self._datasets.items()
        }
        return pa.concat_tables(parts).replace_schema_metadata({_CONDITIONS_KEY: json.dumps(order)})

    def _rows(self, predictions: Predictions) -> _Rows:
        name = predictions.header.condition.dataset
        return self._datasets.setdefault(name, _Rows(source_ids=predictions.sample_ids))


def write_companion(path: Path, companion: Companion) -> None:
    """Write the companion atomically."""
    with atomic_path(path) as temporary:
        pq.write_table(companion.table(), temporary, compression="zstd", compression_level=19)


def _part(name: str, rows: _Rows, detectors: list[str], groups: list[str]) -> pa.Table:
    n = len(rows.source_ids)
    columns: dict[str, pa.Array] = {
        "dataset": pa.array([name] * n, pa.string()),
        "source_id": pa.array(rows.source_ids, pa.string()),
        "correct": pa.nulls(n, pa.binary()),
        "flips": pa.nulls(n, pa.list_(pa.uint8())),
        "predicted": pa.array(rows.predicted) if rows.predicted is not None else pa.nulls(n, pa.int32()),
        "confidence": pa.array(rows.confidence) if rows.confidence is not None else pa.nulls(n, pa.float32()),
    }
    if rows.correct:
        bits = np.packbits(np.stack(list(rows.correct.values()), axis=1), axis=1, bitorder="little")
        columns["correct"] = pa.array([row.tobytes() for row in bits], pa.binary())
    if rows.flips:
        counts = np.stack(list(rows.flips.values()), axis=1)
        columns["flips"] = pa.array(counts.tolist(), pa.list_(pa.uint8()))
    for detector in detectors:
        scores = rows.scores.get(detector)
        columns[f"score_{detector}"] = pa.array(scores) if scores is not None else pa.nulls(n, pa.float32())
    for column in groups:
        values = rows.columns.get(column)
        columns[f"group_{column}"] = pa.array(values) if values is not None else pa.nulls(n, pa.string())
    return pa.table(columns)


def _columns_digests(rows: _Rows) -> dict[str, str]:
    return {name: _digest("\n".join(values).encode()) for name, values in rows.columns.items()}


def _little(values: NDArray[np.int32] | NDArray[np.float32]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
