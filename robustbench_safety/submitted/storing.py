"""From a file of predictions to a run folder that can be scored and rescored like any other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.data.label_sets import missing_labels
from robustbench_safety.errors import DataError, ModelError
from robustbench_safety.files import digest_of, slugify
from robustbench_safety.jobs import prepare, stored_columns
from robustbench_safety.labels import load_label_space
from robustbench_safety.predictions import Columns, PredictionsHeader, Values, written
from robustbench_safety.records import (
    BuiltinLayout,
    Condition,
    Environment,
    GeneratedLayout,
    ModelSpec,
    RunInfo,
    Suite,
)
from robustbench_safety.runs import Run
from robustbench_safety.scoring import needed_conditions
from robustbench_safety.submitted.joining import Samples, joined, samples_of_images, samples_of_table
from robustbench_safety.submitted.request import Submission
from robustbench_safety.submitted.tables import Table, opened_table
from robustbench_safety.suites import refuse_model

__all__ = ["store_submission"]

_UNKNOWN = "unknown"
#: Kinds of conditions whose images are made with the network itself.
_OF_A_NETWORK = ("attack", "detector-pass")
#: Named in a message.
_SHOWN = 5
#: Rows written at a time.
_ROWS_TOGETHER = 4096


def store_submission(
    submission: Submission,
    suite: Suite,
    data: DataRoot,
    *,
    predictions: Path,
    name: str | None,
    seed: int,
    limit: int | None,
    skip_missing: bool,
) -> tuple[Run, list[str]]:
    """Store every condition that is needed; what an earlier call has stored of the same file is kept.

    Where the images of a condition are at hand, ids and labels are theirs; elsewhere they are the file's.

    Args:
        submission: What was handed in.
        suite: What is to be scored; its attacks are left to the record, which says why they are null.
        data: Data root.
        predictions: Folder of run folders.
        name: Shown on the leaderboard; None for the submission's.
        seed: Of generated images.
        limit: Source images taken of each data set; None for all.
        skip_missing: Leave out conditions that the file does not hold, or whose samples nobody can tell.

    Returns:
        The run, and what was left out, each with the reason.

    Raises:
        RobustbenchSafetyError: The file is not what it should be, or does not fit the data.
    """
    space = load_label_space(submission.label_space, beside=data.beside)
    seeded = suite.model_copy(update={"seed": seed})
    conditions = [one for one in needed_conditions(seeded, data) if one.kind not in _OF_A_NETWORK]
    if not conditions:
        raise ModelError(f"nothing of suite {suite.name} can be measured from a file of predictions")
    unlabelled = missing_labels([cell.dataset for cell in suite.cells], data, skip_missing=skip_missing)
    needed = [condition.path for condition in conditions]
    with opened_table(submission.path, space.classes, needed) as table:
        names, skipped = _names_in_table(table, submission.path, needed, skip_missing=skip_missing)
        spec = submission.spec(table.content)
        refuse_model(suite, spec)
        run = _open_run(submission, spec, predictions, name, seed=seed, usual_seed=suite.seed, limit=limit)
        storing = _Storing(table, run, data)
        for condition in conditions:
            if condition.path not in names:
                continue
            try:
                storing.store(condition, names[condition.path])
            except _NobodyCanTellError as error:
                if not skip_missing:
                    raise
                skipped.append(f"{condition.path}: {error}")
    return run, unlabelled + skipped


class _NobodyCanTellError(DataError):
    """Neither images nor labels are at hand."""


def _names_in_table(
    table: Table, path: Path, needed: Sequence[str], *, skip_missing: bool
) -> tuple[dict[str, str | None], list[str]]:
    """Return what each condition is called in the table, and what is to be said of the others."""
    if table.conditions == [None]:
        if len(needed) > 1:
            raise DataError(
                f"{path}: column condition is missing",
                expected=f"the path of one of the {len(needed)} conditions in each row, e.g. {needed[0]}",
                fix="add it, or hand in a folder with one file a condition",
            )
        return {needed[0]: None}, []
    there = set(table.conditions)
    missing = [name for name in needed if name not in there]
    if missing and (not skip_missing or len(missing) == len(needed)):
        raise DataError(
            f"{path} lacks {len(missing)} of {len(needed)} conditions",
            expected=_some(missing),
            found=_some(sorted(name for name in there if name is not None)),
            fix="add them, or leave their cells out with --skip-missing",
        )
    told = [f"{name}: not in {path}" for name in missing]
    extra = sorted(name for name in there if name is not None and name not in needed)
    if extra:
        told.append(f"{_some(extra)}: in {path}, and no cell of the suite needs it")
    return {name: name for name in needed if name in there}, told


@dataclass
class _Storing:
    """Stores one condition after another."""

    table: Table
    run: Run
    data: DataRoot

    def __post_init__(self) -> None:
        self._without_images: dict[str, tuple[str, str]] = {}

    def store(self, condition: Condition, name: str | None) -> None:
        """Store one condition, which the table calls ``name``."""
        started = time.perf_counter()
        dataset, spec = load_dataset(condition.dataset, data=self.data), self.run.info.model
        columns: Columns = "top1"
        n_classes = len(load_label_space(spec.label_space, beside=self.data.beside).classes)
        if self.table.content != "top1":
            columns = stored_columns(condition, n_classes)
        samples = self._samples(dataset, condition, name)
        self._check_same_samples(condition, samples)
        fields = self._fields(condition, columns, dataset)
        path, there = self.run.path(condition), self.run.finished(fields, condition)
        # What the file says is in the model's digest; images may have changed, or come to hand since.
        if there and (there.data_digest_covers, there.source_stamp) == (samples.covers, samples.stamp):
            return
        values = joined(self.table, name, samples, condition, columns)
        with written(path, frames=samples.frames) as writer:
            for first in range(0, len(samples.sample_ids), _ROWS_TOGETHER):
                part = slice(first, first + _ROWS_TOGETHER)
                rows = slice(first * samples.frames, (first + _ROWS_TOGETHER) * samples.frames)
                labels = np.repeat(samples.labels[part], samples.frames)
                cut: Values = {column: array[rows] for column, array in values.items()}
                writer.append(samples.sample_ids[part], labels, cut)
            header = PredictionsHeader.model_validate(
                {
                    **fields,
                    "condition": condition,
                    "environment": self.run.info.environment,
                    "frames": samples.frames,
                    "label_space": spec.label_space,
                    "n": len(samples.sample_ids),
                    "n_classes": n_classes,
                    "data_digest": samples.data_digest(),
                    "data_digest_covers": samples.covers,
                    "predictions_digest": writer.digest(),
                    "source_stamp": samples.stamp,
                    "decoder": "none",
                    "attack": None,
                    "forward_passes": 0,
                    "seconds": round(time.perf_counter() - started, 3),
                    "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
            writer.finish(header)

    def _fields(self, condition: Condition, columns: Columns, dataset: Dataset) -> dict[str, object]:
        """Return the header fields that say what predictions were made from."""
        info = self.run.info
        return {
            "schema_version": 1,
            "condition": condition.model_dump(mode="json"),
            "columns": columns,
            "model_digest": digest_of(info.model),
            "manifest_digest": digest_of(dataset.scored_fields()),
            "preprocessing_digest": digest_of(info.model.preprocessing),
            "seed": info.seed,
            "limit": info.limit,
            "environment": info.environment.model_dump(mode="json"),
        }

    def _samples(self, dataset: Dataset, condition: Condition, name: str | None) -> Samples:
        info, space = self.run.info, self.run.info.model.label_space
        if _at_hand(dataset, condition):
            job = prepare(dataset, condition, label_space=space, seed=info.seed, limit=info.limit)
            return samples_of_images(job)
        if not self.table.has_labels(name) and dataset.manifest.role != "ood":
            raise _NobodyCanTellError(
                f"{self.table.where(name)}: {condition.path}: neither images nor labels are at hand",
                expected=f"a column label in the file, or {dataset.name} in {dataset.folder}",
                fix=dataset.how_to_get(),
            )
        return samples_of_table(self.table, name, condition, dataset, space, info.limit)

    def _check_same_samples(self, condition: Condition, samples: Samples) -> None:
        """Refuse other ids or labels than another condition has: a data set shows the same samples in all."""
        if samples.covers == "samples":
            return
        digest = samples.data_digest()
        first, other = self._without_images.setdefault(condition.dataset, (digest, condition.path))
        if first != digest:
            raise DataError(
                f"{condition.path} has other samples or labels than {other}",
                expected="the same in all conditions of a data set",
            )


def _at_hand(dataset: Dataset, condition: Condition) -> bool:
    """Tell whether the images of a condition are where they are looked for."""
    layout = dataset.manifest.layout
    if isinstance(layout, BuiltinLayout):
        return True
    if isinstance(layout, GeneratedLayout):
        source = dataset.source()
        return _at_hand(source, source.manifest.all_conditions()[0])
    try:
        dataset.check_presence(condition)
    except DataError:
        return False
    return True


def _open_run(
    submission: Submission,
    spec: ModelSpec,
    predictions: Path,
    name: str | None,
    *,
    seed: int,
    usual_seed: int,
    limit: int | None,
) -> Run:
    slug = slugify(name or submission.name)
    folder = predictions / Run.folder_name(slug, spec, precision=_UNKNOWN, device="none")
    # As for a network: a smoke run must not stand in the way of the whole one.
    if limit is not None:
        folder = folder.with_name(f"{folder.name}--limit-{limit}")
    if seed != usual_seed:
        folder = folder.with_name(f"{folder.name}--seed-{seed}")
    environment = Environment(
        package=metadata.version("robustbench-safety"),
        commit=None,
        python=_UNKNOWN,
        libraries={},
        machine=_UNKNOWN,
        device="none",
        device_name=_UNKNOWN,
        precision=submission.file.precision or "float32",
        tf32=False,
        threads=0,
        batch_size=0,
        decoder=_UNKNOWN,
        known=False,
    )
    info = RunInfo(
        schema_version=1,
        slug=slug,
        display_name=name or submission.name,
        model=spec,
        seed=seed,
        limit=limit,
        environment=environment,
    )
    return Run.resume_or_start(folder, info)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
