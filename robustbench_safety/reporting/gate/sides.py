"""One of two records that are compared, with what it is paired by: its companion, or its predictions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.aggregating import Measured, Scored
from robustbench_safety.companion import Companion, read_companion
from robustbench_safety.data import DataRoot
from robustbench_safety.errors import FileFormatError, IncompatiblePredictionsError, UsageError
from robustbench_safety.files import digest_of, read_json
from robustbench_safety.measuring import Measuring
from robustbench_safety.predictions import read_header
from robustbench_safety.records import CheckedRecord, Condition, ScoreRecord, Suite
from robustbench_safety.runs import Run
from robustbench_safety.scoring import needed_conditions

__all__ = ["Side", "cells_behind", "read_side", "with_predictions"]

Floats = NDArray[np.float64]

#: What a filed record's name ends in.
_DIGEST_IN_NAME = re.compile(r"--([0-9a-f]{8})$")


@dataclass(frozen=True, kw_only=True)
class Side:
    """A record, and what is known of each of its images."""

    role: str
    """What messages call it: ``candidate``, ``baseline``, or a file's name."""
    record: ScoreRecord
    companion: Companion | None = None
    """None where none lies beside the record."""
    measured: Mapping[str, Measured] = field(default_factory=dict)
    """By cell, measured again from the predictions; empty without such."""
    scores_in: Mapping[Scored, Floats] = field(default_factory=dict)
    """OOD scores of in-distribution images, from the predictions."""

    @property
    def checked(self) -> CheckedRecord:
        """Which record it is."""
        digest = digest_of(self.record.digested_fields())
        return CheckedRecord(name=self.record.display_name, digest=digest, kind=self.record.kind)


def read_side(path: str | Path, *, role: str) -> Side:
    """Read a record and the companion beside it.

    Args:
        path: The record, .json; its companion has the same name and ends in .parquet.
        role: What messages call it.

    Raises:
        StorageError: The file cannot be read.
        FileFormatError: It is no record, or the companion is not that of the record.
    """
    place = Path(path)
    if place.suffix != ".json":
        raise UsageError(
            f"the {role}: {place}", expected="a record, whose name ends in .json",
            fix="name the file that `rbs score` printed after 'record'",
        )  # fmt: skip
    record = read_json(place, ScoreRecord)
    named = _DIGEST_IN_NAME.search(place.stem)
    if named and not digest_of(record.digested_fields()).startswith(named.group(1)):
        raise FileFormatError(
            f"the {role}: {place} was changed after it was written",
            expected=f"the record whose digest begins with {named.group(1)}, as its name says",
            fix="restore it: a record is never edited",
        )
    beside = place.with_suffix(".parquet")
    companion = read_companion(beside, digest=record.companion_digest) if beside.exists() else None
    return Side(role=role, record=record, companion=companion)


def cells_behind(columns: Iterable[str], suite: Suite) -> tuple[str, ...]:
    """Return the ids of the cells that columns are, or are made of, in the suite's order."""
    wanted = set(columns)
    wanted |= {name for aggregate in suite.aggregates if aggregate.id in wanted for name in aggregate.of}
    return tuple(cell.id for cell in suite.cells if cell.id in wanted)


def with_predictions(
    side: Side,
    folder: Path,
    suite: Suite,
    columns: Iterable[str],
    data: DataRoot,
    *,
    or_none: bool = False,
) -> Side:
    """Return the side with what its stored predictions say of each image.

    Args:
        side: The record.
        folder: A run folder, or a folder of such.
        suite: The record's suite.
        columns: Columns whose cells are measured again.
        data: Data root, for manifests and labels.
        or_none: Return the side as it is where the folder holds no predictions of it.

    Raises:
        IncompatiblePredictionsError: No run folder there is the one that the record was made from.
        FileFormatError: A file was changed since it was written.
    """
    kept = cells_behind(columns, suite)
    part = suite.model_copy(
        update={
            "cells": tuple(cell for cell in suite.cells if cell.id in kept),
            "aggregates": tuple(one for one in suite.aggregates if set(one.of) <= set(kept)),
        }
    )
    # Another seed than the suite's makes other attacks, and an attack's name carries its seed.
    needed = needed_conditions(part.model_copy(update={"seed": side.record.seed}), data)
    try:
        run = _find_run(side, folder, needed)
    except IncompatiblePredictionsError:
        if or_none:
            return side
        raise
    measuring = Measuring(run, part, data)
    measuring.fit_detectors()
    for condition in sorted(needed, key=measuring.turn):
        measuring.read(condition, needed[condition])
    return replace(side, measured=measuring.cells, scores_in=measuring.scores_in)


def _find_run(side: Side, folder: Path, needed: Iterable[Condition]) -> Run:
    """Return the run folder whose predictions the record was made from."""
    folders = [folder] if (folder / "run.json").exists() else []
    folders = folders or sorted(path.parent for path in folder.glob("*/run.json"))
    if not folders:
        raise FileFormatError(
            f"{folder} holds no run folder",
            expected="a folder with run.json in it, or a folder of such",
            found="no run.json" if folder.is_dir() else "no such folder",
            fix="name what `rbs score` printed after 'predictions', or its --predictions",
        )
    wanted = {
        one: digest for one in needed if (digest := side.record.prediction_digests.get(one.path)) is not None
    }
    differs = ""
    for found in folders:
        run = Run.load(found)
        other = next((one for one in wanted if _digest(run, one) != wanted[one]), None)
        if other is None:
            return run
        differs = differs or f"{found.name} has other predictions, or none, on {other.path}"
    raise IncompatiblePredictionsError(
        f"{folder} holds no predictions that the {side.role} was made from",
        expected=f"those of {side.record.display_name}, by the prediction digests of its record",
        found=f"{len(folders)} run folder{'s' if len(folders) > 1 else ''}: {differs}",
        fix="name its run folder, or leave the predictions out",
    )


def _digest(run: Run, condition: Condition) -> str | None:
    path = run.path(condition)
    return read_header(path).predictions_digest if path.exists() else None
