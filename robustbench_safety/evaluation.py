"""The way from a model and a suite to a record: prepare everything, predict, score.

These are the calls that the command line and ``import robustbench_safety`` share.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from robustbench_safety.companion import Companion
from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.engines.local import Progress, Silent, run_jobs
from robustbench_safety.errors import ModelError, UsageError
from robustbench_safety.files import read_yaml
from robustbench_safety.jobs import prepare
from robustbench_safety.models import Model, load_model
from robustbench_safety.normalising import check_aggregates
from robustbench_safety.opening import On, open_run
from robustbench_safety.predictions import Predictions, read_predictions
from robustbench_safety.preparing import prepare_jobs
from robustbench_safety.records import Baseline, Condition, Precision, ScoreRecord, Suite
from robustbench_safety.robustness import check_robustness
from robustbench_safety.runs import Run
from robustbench_safety.scoring import score_predictions
from robustbench_safety.stated import StatedDifference, compare_with_stated
from robustbench_safety.submitted import find_submission, refuse_settings, store_submission
from robustbench_safety.suites import load_suite, refuse_model, suite_baselines

__all__ = ["Evaluation", "predict", "rescore", "score"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A finished run."""

    record: ScoreRecord
    companion: Companion
    """What pairs two records without their predictions; filed beside the record."""
    run_folder: Path
    stated: tuple[StatedDifference, ...] = ()
    """Accuracies that the model's authors state, against those measured here."""
    skipped: tuple[str, ...] = ()
    """Datasets left out because their data were missing, in part or whole, each with the reason."""


def score(
    model: str | Path | Model,
    *,
    suite: str | Path | Suite,
    checkpoint: str | Path | None = None,
    name: str | None = None,
    data: DataRoot | str | Path | None = None,
    predictions: str | Path = "predictions",
    device: str | None = None,
    batch_size: int | None = None,
    precision: Precision | None = None,
    tf32: bool = False,
    compiled: bool = False,
    workers: int | None = None,
    seed: int | None = None,
    limit: int | None = None,
    skip_missing: bool = False,
    trust_pickle: bool = False,
    trust_code: bool = False,
    baseline: str | Path | Sequence[str | Path] = (),
    progress: Progress | None = None,
) -> Evaluation:
    """Score a model on a suite. What an earlier, interrupted call has predicted is not predicted again.

    Args:
        model: ``family:architecture``, the path of a model file in YAML, or a loaded model.
        suite: Name, path of a YAML file, or a suite.
        checkpoint: File of weights.
        name: Shown on the leaderboard; None for the model's.
        data: Data root; None for ``RBS_DATA`` or the user's cache.
        predictions: Folder of run folders.
        device: ``cpu``, ``cuda`` ...; None for the first CUDA device, else the CPU.
        batch_size: Images in a batch; None measures which is best.
        precision: Of the forward pass; None for the model file's, else float32.
        tf32: Let a CUDA device take float32 products with 10 bits; the record says so.
        compiled: Let torch.compile translate the network; the record says so.
        workers: Threads that decode images; None for one a core, at most 8.
        seed: Of everything drawn; None for the suite's. Another makes the row partial.
        limit: Source images taken of each dataset; None for all. A limit makes the row partial.
        skip_missing: Leave out cells whose data are missing; the row is then partial.
        trust_pickle: Unpickle a checkpoint that needs code to be run; the record says so.
        trust_code: Run a program that was handed in: .pt2, TorchScript, or a Python callable that a model
            file names; the record says so.
        baseline: Files of baselines, each in place of the one of its name that the suite divides by. The row
            is then compared with rows of the same baseline alone: the suite's digest covers it.
        progress: Told where the run is.

    Returns:
        The record and where the predictions lie.

    Raises:
        RobustbenchSafetyError: Anything handed in is wrong; before any forward pass where that can be told.
    """
    _check_options(batch_size, limit, workers, seed)
    chosen, root = _suite_and_data(suite, data)
    baselines = _baselines(baseline, chosen, root)
    used_seed = chosen.seed if seed is None else seed
    submission = find_submission(model, label_space=chosen.label_space)
    if submission is not None:
        refuse_settings({
            "--checkpoint": checkpoint, "--device": device, "--batch-size": batch_size, "--workers": workers,
            "--precision": precision, "--tf32": tf32 or None, "--compile": compiled or None})  # fmt: skip
        run, told = store_submission(
            submission, chosen, root, predictions=Path(predictions), name=name, seed=used_seed, limit=limit,
            skip_missing=skip_missing)  # fmt: skip
        record, companion = score_predictions(run, chosen, root, baselines=baselines)
        return Evaluation(record=record, companion=companion, run_folder=run.folder, skipped=tuple(told))
    loaded = _loaded(model, checkpoint, chosen.label_space, trust_pickle=trust_pickle, trust_code=trust_code)
    if loaded.spec.label_space != chosen.label_space:
        raise ModelError(
            f"{loaded.spec.name} does not speak the label space of suite {chosen.name}",
            expected=chosen.label_space,
            found=loaded.spec.label_space,
            fix="choose another suite, or a model file with the right label_space",
        )
    refuse_model(chosen, loaded.spec)
    jobs, skipped = prepare_jobs(
        chosen, root, loaded.spec, n_classes=loaded.n_classes, seed=used_seed, limit=limit,
        skip_missing=skip_missing)  # fmt: skip
    run = open_run(
        loaded, jobs[0], Path(predictions), name=name, batch_size=batch_size, seed=used_seed, limit=limit,
        usual_seed=chosen.seed, on=On(device=device, precision=precision, tf32=tf32, compiled=compiled),
    )  # fmt: skip
    run_jobs(loaded, jobs, run, workers=workers or default_workers(), progress=progress or Silent())
    record, companion = score_predictions(run, chosen, root, baselines=baselines)
    stated = compare_with_stated(record, chosen, loaded.published_accuracy)
    return Evaluation(
        record=record, companion=companion, run_folder=run.folder, stated=stated, skipped=tuple(skipped)
    )


def rescore(
    run_folder: str | Path,
    *,
    suite: str | Path | Suite,
    data: DataRoot | str | Path | None = None,
    baseline: str | Path | Sequence[str | Path] = (),
) -> Evaluation:
    """Score a suite again from the predictions in a run folder: without the model, and without the images.

    Args:
        run_folder: The folder that an earlier call has left.
        suite: As for :func:`score`.
        data: As for :func:`score`; for the manifests of one's own, and files of labels.
        baseline: As for :func:`score`.

    Raises:
        RobustbenchSafetyError: The folder is no run folder, or its files are not what they were.
    """
    chosen, root = _suite_and_data(suite, data)
    baselines = _baselines(baseline, chosen, root)
    run = Run.load(Path(run_folder))
    record, companion = score_predictions(run, chosen, root, baselines=baselines)
    return Evaluation(record=record, companion=companion, run_folder=run.folder)


def predict(
    model: str | Path | Model,
    dataset: str,
    *,
    condition: Condition | None = None,
    checkpoint: str | Path | None = None,
    data: DataRoot | str | Path | None = None,
    predictions: str | Path = "predictions",
    device: str | None = None,
    batch_size: int | None = None,
    precision: Precision | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> Predictions:
    """Predict one condition of a dataset, store the predictions and return them.

    Args:
        model: As for :func:`score`.
        dataset: Name of a manifest.
        condition: Which; None for the dataset's first.
        checkpoint: File of weights.
        data: As for :func:`score`.
        predictions: As for :func:`score`.
        device: As for :func:`score`.
        batch_size: As for :func:`score`.
        precision: As for :func:`score`.
        seed: Of generated images.
        limit: Source images taken; None for all.

    Returns:
        Logits [rows, K] with ids and labels, in manifest order.

    Raises:
        RobustbenchSafetyError: Anything handed in is wrong.
    """
    _check_options(batch_size, limit, None, seed)
    opened = load_dataset(dataset, data=_data_root(data))
    chosen = condition or opened.manifest.all_conditions()[0]
    loaded = _loaded(model, checkpoint, opened.manifest.label_space)
    job = prepare(opened, chosen, label_space=loaded.spec.label_space, seed=seed, limit=limit)
    run = open_run(
        loaded, job, Path(predictions), name=None, batch_size=batch_size, seed=seed, limit=limit,
        usual_seed=0, on=On(device=device, precision=precision))  # fmt: skip
    run_jobs(loaded, [job], run, workers=default_workers(), progress=Silent())
    return read_predictions(run.path(chosen))


def _suite_and_data(suite: str | Path | Suite, data: DataRoot | str | Path | None) -> tuple[Suite, DataRoot]:
    root = _data_root(data)
    if isinstance(suite, Suite):
        return suite, root
    path = Path(suite)
    if path.suffix in (".yaml", ".yml"):
        # A suite of one's own brings its manifests along, in its own folder.
        root = replace(root, beside=root.beside or path.parent)
    return load_suite(suite, data=root), root


def _baselines(files: str | Path | Sequence[str | Path], suite: Suite, data: DataRoot) -> dict[str, Baseline]:
    """Return the baselines that a suite divides by, checked against its cells."""
    own: dict[str, Baseline] = {}
    for path in [files] if isinstance(files, str | Path) else files:
        found = read_yaml(Path(path), Baseline)
        if found.name in own:
            raise UsageError(f"{path}: baseline {found.name} is given twice", expected="one file of a name")
        own[found.name] = found
    baselines = suite_baselines(suite, data, own=own)
    check_aggregates(suite, data, baselines)
    check_robustness(suite, data)
    return baselines


def _data_root(data: DataRoot | str | Path | None) -> DataRoot:
    return DataRoot(root=Path(data)) if isinstance(data, str | Path) else data or DataRoot.default()


def default_workers() -> int:
    """Return one thread a core, at most 8."""
    return min(8, os.cpu_count() or 1)


def _loaded(
    model: str | Path | Model,
    checkpoint: str | Path | None,
    label_space: str | None,
    *,
    trust_pickle: bool = False,
    trust_code: bool = False,
) -> Model:
    if isinstance(model, Model):
        return model
    path = Path(checkpoint) if checkpoint is not None else None
    return load_model(
        model, checkpoint=path, label_space=label_space, trust_pickle=trust_pickle, trust_code=trust_code
    )


def _check_options(batch_size: int | None, limit: int | None, workers: int | None, seed: int | None) -> None:
    for name, value, lowest in (
        ("--batch-size", batch_size, 1),
        ("--limit", limit, 1),
        ("--workers", workers, 1),
        ("--seed", seed, 0),
    ):
        if value is not None and value < lowest:
            raise UsageError(name, expected=f"a whole number, at least {lowest}", found=str(value))
