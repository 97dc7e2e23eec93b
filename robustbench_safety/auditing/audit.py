"""An audit: the model loaded, its images drawn, predicted in every condition, and held against the record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robustbench_safety.auditing.agreement import (
    Compared,
    compare_condition,
    compare_scores_kept,
    order_of,
    tolerance_of,
)
from robustbench_safety.companion import Companion
from robustbench_safety.engines.local import Progress, Silent, run_jobs
from robustbench_safety.errors import UsageError
from robustbench_safety.evaluation import default_workers
from robustbench_safety.files import differences
from robustbench_safety.jobs import Job
from robustbench_safety.models import Model
from robustbench_safety.opening import On, open_run
from robustbench_safety.predictions import read_predictions
from robustbench_safety.preparing import prepare_jobs
from robustbench_safety.records import Cell, Score, ScoreRecord
from robustbench_safety.reporting.checking import Rules, answers_by, determined, near
from robustbench_safety.runs import Run
from robustbench_safety.scoring import score_predictions

__all__ = ["FEWEST", "Audit", "audit_record", "check_auditable"]

#: Source images of each dataset. Who falsifies one answer in a hundred is found out by 99 draws in 100.
FEWEST = 500
#: Intervals of record and drawn images are stretched by this before they must meet: unstretched, two of 95 %
#: miss each other in one honest pair of fifty, and a suite has dozens of scores.
_STRETCHED = 2.0
#: By how much a score may differ when all images were predicted again; of a number above 1 as a share of it.
_SCORE_TOLERANCE = 2e-3
#: Standard errors by which a rate of drawn images may differ from that of all.
_STANDARD_ERRORS = 4.0


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What came out."""

    images: int | None
    """Source images drawn of each dataset; None for all."""
    seed: int
    """That drew them."""
    differences: tuple[str, ...]
    """Where model or images are not those of the record; if the model is not, nothing was predicted."""
    compared: tuple[Compared, ...]

    @property
    def agrees(self) -> bool:
        """Whether the record may be called verified."""
        return not self.differences and bool(self.compared) and all(one.agrees for one in self.compared)

    @property
    def words(self) -> str:
        """How it was made, for the record."""
        if self.images is None:
            return "all images"
        return f"{self.images} images of each dataset, drawn by seed {self.seed}"


def check_auditable(record: ScoreRecord, *, images: int | None) -> None:
    """Refuse a record that no audit can make verified, before the model is loaded.

    Raises:
        UsageError: Says why.
    """
    fix = "score the model with `rbs score`"
    if record.status == "partial":
        raise UsageError(
            f"{record.slug} is partial: {record.partial_because[0]}",
            expected="a complete record: no other is ranked",
            fix=fix,
        )
    if record.without_images:
        raise UsageError(f"{record.slug} was made without the images of {record.without_images[0]}", fix=fix)
    if not record.model.network_known:
        raise UsageError(
            f"{record.slug} was made from a file of predictions",
            expected="a record of a network",
            fix="recompute it with `rbs leaderboard add --recompute`, or score the network with `rbs score`",
        )
    if images is not None and images < FEWEST:
        raise UsageError("--images", expected=f"at least {FEWEST}, or all", found=str(images))


def audit_record(
    record: ScoreRecord,
    companion: Companion,
    model: Model,
    rules: Rules,
    *,
    predictions: Path,
    images: int | None = FEWEST,
    seed: int,
    device: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Predict drawn images in every condition of a record, and compare with what its companion says of them.

    Args:
        record: Complete, and of the suite of ``rules``.
        companion: Of the record, by digest, and in agreement with it.
        model: What is said to have made it.
        rules: Of the record's suite, and where its data lie.
        predictions: Folder for the run folder.
        images: Source images drawn of each dataset, at least 500; None for all. A dataset with fewer is taken
            whole.
        seed: That draws them; known to nobody before.
        device: As for :func:`robustbench_safety.score`.
        batch_size: As there.
        workers: As there.
        progress: Told where the run is.

    Raises:
        UsageError: The record cannot be verified by an audit.
        RobustbenchSafetyError: Data are missing, or the model cannot run.
    """
    check_auditable(record, images=images)
    differing = tuple(_other_model(record, model))
    if differing:
        return Audit(images=images, seed=seed, differences=differing, compared=())
    suite, data = rules.suite, rules.data
    jobs, _ = prepare_jobs(
        suite, data, model.spec, n_classes=model.n_classes, seed=suite.seed, limit=images, skip_missing=False,
        drawn_by=None if images is None else seed)  # fmt: skip
    told = tuple(_other_images(jobs, companion))
    if told:
        return Audit(images=images, seed=seed, differences=told, compared=())
    own = record.environment
    run = open_run(
        model, jobs[0], predictions, name=None, batch_size=batch_size, seed=suite.seed, limit=images,
        usual_seed=suite.seed, on=On(device=device, precision=own.precision, tf32=own.tf32),
        mark="audit" if images is None else f"audit-{seed}")  # fmt: skip
    run_jobs(model, jobs, run, workers=workers or default_workers(), progress=progress or Silent())
    again, made = score_predictions(run, suite, data, baselines=rules.baselines)
    tolerance = tolerance_of(own.precision, tf32=own.tf32 or run.info.environment.tf32)
    compared: list[Compared] = []
    for job in jobs:
        compared += _compare_job(job, run, companion, made, record, tolerance)
    compared += compare_scores_kept(companion, made, tolerance=tolerance, fitted=images is None)
    compared += _compare_scores(record, again, rules, whole=images is None)
    data_told = tuple(_other_data(record, again)) if images is None else ()
    return Audit(images=images, seed=seed, differences=data_told, compared=tuple(compared))


def _other_model(record: ScoreRecord, model: Model) -> Iterator[str]:
    """Yield where a model is not that of the record."""
    theirs, ours = answers_by(record.model), answers_by(model.spec)
    for name in ("weights_digest", "preprocessing"):
        if theirs.pop(name) != ours.pop(name):
            yield _said(f"model: {name}", getattr(record.model, name), getattr(model.spec, name))
    for name, old, new in differences(theirs, ours):
        yield _said(f"model: {name}", old, new)
    if model.precision not in (None, record.environment.precision):
        yield _said("precision", record.environment.precision, model.precision)


def _said(what: str, recorded: object, now: object) -> str:
    return f"{what}: recorded {str(recorded)[:300]}, now {str(now)[:300]}"


def _other_images(jobs: Sequence[Job], companion: Companion) -> Iterator[str]:
    """Yield which datasets have other images than the companion says."""
    for name, job in {job.condition.dataset: job for job in reversed(jobs) if job.attack is None}.items():
        kept = companion.datasets.get(name)
        if kept is None:
            continue  # images that detectors are fitted on
        ids = job.open().reader.sample_ids
        if len(ids) != len(kept.source_ids) or order_of(ids, kept.source_ids) is None:
            yield f"images of {name}: recorded {len(kept.source_ids)}, now {len(ids)} of other ids"


def _other_data(record: ScoreRecord, again: ScoreRecord) -> Iterator[str]:
    """Yield which conditions were measured on other images, labels or bytes."""
    for path, digest in again.data_digests.items():
        if record.data_digests.get(path) != digest:
            yield _said(f"data of {path}", record.data_digests.get(path), digest)


def _compare_job(
    job: Job, run: Run, old: Companion, new: Companion, record: ScoreRecord, tolerance: float
) -> Iterator[Compared]:
    path, name = job.condition.path, job.condition.dataset
    predictions = read_predictions(run.path(job.condition))
    if job.attack is not None and job.attack.images is not None:
        right = float((predictions.predicted == predictions.labels).mean())
        yield from _compare_rate(path, record, 1 - right, job.samples, job.attack.images)
        return
    if name not in new.datasets or name not in old.datasets:
        return
    rows, kept = new.datasets[name], old.datasets[name]
    order = order_of(rows.source_ids, kept.source_ids)
    if order is not None:
        yield from compare_condition(predictions, kept, rows, order, tolerance=tolerance)


def _compare_rate(path: str, record: ScoreRecord, error: float, n: int, attacked: int) -> Iterator[Compared]:
    """Yield how the error under an attack on some images agrees; the companion does not keep these."""
    for values in record.conditions.values():
        for one in values:
            if one.condition.path != path:
                continue
            # Drawn without replacement from those attacked.
            share = max(0.0, (one.n - n) / max(1, one.n - 1))
            sampled = math.sqrt(one.value * (1 - one.value) / n * share)
            allowed = max(2, math.ceil((0.01 + _STANDARD_ERRORS * sampled) * n))
            yield Compared(
                path=path,
                what="wrong on balance",
                images=n,
                disagreements=round(abs(error - one.value) * n),
                allowed=allowed,
                note=f"error {error:.4f} of {n}, recorded {one.value:.4f} of {min(attacked, one.n)}",
            )
            return


def _compare_scores(
    record: ScoreRecord, again: ScoreRecord, rules: Rules, *, whole: bool
) -> Iterator[Compared]:
    """Yield how the scores agree that do not follow from the companion: calibration under corruption ..."""
    for cell in rules.suite.cells:
        old, new = record.scores[cell.id], again.scores[cell.id]
        if old.value is None or new.value is None or _is_fitted(cell, whole=whole):
            continue
        if cell.attack is None and not determined(cell, rules):
            agrees = _same(old, new) if whole else _meet(old, new)
            yield Compared(
                path=cell.id,
                what="score" if whole else "interval",
                images=new.n,
                disagreements=int(not agrees),
                allowed=0,
                note=f"{_shown(new)}, recorded {_shown(old)}",
            )


def _is_fitted(cell: Cell, *, whole: bool) -> bool:
    """Tell whether a cell's numbers rest on more images than were drawn."""
    return not whole and (cell.fit is not None or cell.tune is not None)


def _same(old: Score, new: Score) -> bool:
    """Tell whether values and ends of intervals are the same, but for what rounding turns."""
    pairs = [(old.value or 0.0, new.value or 0.0)]
    if (old.interval is None) != (new.interval is None):
        return False
    if old.interval is not None and new.interval is not None:
        pairs += [(old.interval.low, new.interval.low), (old.interval.high, new.interval.high)]
    return all(near(*pair, tolerance=_SCORE_TOLERANCE) for pair in pairs)


def _meet(old: Score, new: Score) -> bool:
    """Tell whether two intervals, stretched, meet; where there is none there is nothing to hold."""
    if old.interval is None or new.interval is None:
        return True
    ends = []
    for one in (old.interval, new.interval):
        middle, half = (one.low + one.high) / 2, _STRETCHED * (one.high - one.low) / 2
        ends.append((middle - half, middle + half))
    return bool(np.max([ends[0][0], ends[1][0]]) <= np.min([ends[0][1], ends[1][1]]))


def _shown(score: Score) -> str:
    if score.interval is None:
        return f"{score.value:.4f}"
    return f"{score.value:.4f} ({score.interval.low:.4f} to {score.interval.high:.4f})"
