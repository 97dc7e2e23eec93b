"""The engine for one machine: conditions one after another on one device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from robustbench_safety.batches import Batches
from robustbench_safety.errors import IncompleteError
from robustbench_safety.jobs import Job
from robustbench_safety.models import Model
from robustbench_safety.predicting import predict
from robustbench_safety.runs import Run

__all__ = ["Progress", "Silent", "run_jobs"]


class Progress(Protocol):
    """Where a run is; an image that an attack works on counts once."""

    def begin(self, images: int) -> None:
        """The run will do this many images."""

    def condition(self, name: str) -> None:
        """The next images belong to this condition."""

    def advance(self, images: int) -> None:
        """This many more are done."""

    def say(self, message: str) -> None:
        """Something happened that the user should know."""


class Silent:
    """Progress that nobody watches."""

    def begin(self, images: int) -> None:
        """Do nothing."""

    def condition(self, name: str) -> None:
        """Do nothing."""

    def advance(self, images: int) -> None:
        """Do nothing."""

    def say(self, message: str) -> None:
        """Do nothing."""


def run_jobs(model: Model, jobs: Sequence[Job], run: Run, *, workers: int, progress: Progress) -> None:
    """Predict every job into the run folder; what is there already is kept.

    Raises:
        IncompleteError: The run was interrupted; the same call goes on from there.
    """
    batches = Batches(run.info.environment.batch_size, say=progress.say)
    progress.begin(sum(job.images for job in jobs))
    for done, job in enumerate(jobs):
        progress.condition(job.condition.path)
        try:
            predict(model, job, run, workers=workers, advance=progress.advance, batches=batches)
        except KeyboardInterrupt as error:
            raise IncompleteError(
                f"interrupted during {job.condition.path}",
                found=f"{done} of {len(jobs)} conditions are finished and kept in {run.folder}",
                fix="run the same command again to go on from there",
            ) from error
