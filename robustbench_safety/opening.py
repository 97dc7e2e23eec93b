"""A run opened: the network on its device, the batch size, and the folder that the predictions go into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from robustbench_safety.devices import compile_network, describe, measured_batch_size, select_device
from robustbench_safety.files import slugify
from robustbench_safety.jobs import Job
from robustbench_safety.models import Model
from robustbench_safety.models.families import libraries_of
from robustbench_safety.predicting import first_images
from robustbench_safety.records import Precision, RunInfo
from robustbench_safety.runs import Run
from robustbench_safety.startup import CHECKED, check_first_batch

__all__ = ["On", "open_run"]


@dataclass(frozen=True, kw_only=True)
class On:
    """How a network runs."""

    device: str | None
    precision: Precision | None
    tf32: bool = False
    compiled: bool = False


def open_run(
    model: Model,
    first_job: Job,
    predictions: Path,
    *,
    name: str | None,
    batch_size: int | None,
    seed: int,
    limit: int | None,
    usual_seed: int,
    on: On,
    mark: str = "",
) -> Run:
    """Put the network on its device and open the run folder, measuring the batch size only when it is new.

    Args:
        model: Its network is moved to the device.
        first_job: What will be predicted first.
        predictions: Folder of run folders.
        name: Shown on the leaderboard; None for the model's.
        batch_size: Images in a batch; None for that of an earlier session, else a measured one.
        seed: Of everything drawn.
        limit: Source images taken of each dataset; None for all.
        usual_seed: Of the suite: another stands in the folder's name.
        on: How the network runs.
        mark: Added to the folder's name, where what is taken differs otherwise.

    Raises:
        RobustbenchSafetyError: The device is not there, the network does not run on it, or the folder was
            made for something else.
    """
    place = select_device(on.device, tf32=on.tf32)
    precision = on.precision or model.precision or "float32"
    model.network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if on.compiled:
        compile_network(model.network)
    slug = slugify(name or model.name)
    options = tuple(option for option in ("tf32", "compiled") if getattr(on, option))
    folder = predictions / Run.folder_name(
        slug, model.spec, precision=precision, device=str(place), options=options
    )
    # A smoke run must not stand in the way of the whole one.
    if limit is not None:
        folder = folder.with_name(f"{folder.name}--limit-{limit}")
    if seed != usual_seed:
        folder = folder.with_name(f"{folder.name}--seed-{seed}")
    if mark:
        folder = folder.with_name(f"{folder.name}--{mark}")
    if batch_size is None and (folder / "run.json").exists():
        batch_size = Run.load(folder).info.environment.batch_size
    images, ids = first_images(model, first_job, most=CHECKED)
    if batch_size is None:
        batch_size = measured_batch_size(model.network, images[0], place, precision)
    check_first_batch(model, images, ids, place, precision, batch_size=batch_size)
    info = RunInfo(
        schema_version=1,
        slug=slug,
        display_name=name or model.name,
        model=model.spec,
        seed=seed,
        limit=limit,
        environment=describe(
            place,
            precision,
            batch_size,
            tf32=on.tf32,
            compiled=on.compiled,
            libraries=libraries_of(model.spec),
        ),
    )
    return Run.resume_or_start(folder, info)
