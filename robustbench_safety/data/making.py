"""Corrupted images and sequences to disk, in the layouts of CIFAR-C, CIFAR-P, ImageNet-C and ImageNet-P."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from robustbench_safety import corruptions
from robustbench_safety.data.making_parts import PARTS, Format, Part, Plan, opened
from robustbench_safety.data.making_pool import written_parts
from robustbench_safety.data.store import Dataset
from robustbench_safety.errors import DataError, StorageError, UsageError
from robustbench_safety.files import atomic_path, digest_of, file_digest, write_bytes, writes
from robustbench_safety.records import (
    ClipsLayout,
    Condition,
    DatasetManifest,
    GeneratedLayout,
    ImageFolderLayout,
    NpyLayout,
    expanded,
)
from robustbench_safety.streams import STREAM

__all__ = ["DIGESTS", "make_dataset"]

#: File of the sha256 of all others, as ``sha256sum`` writes it.
DIGESTS = "SHA256SUMS"
#: File that says what the others were made of.
_NOTE = "made.json"
#: Pictures or clips in a part: a minute of work, so that listing the source again costs little beside it.
_IN_PART = {"jpeg": 2000, "mp4": 50}
#: Images that one process has made before a second one has loaded torch.
_FEW = 10_000


def make_dataset(
    dataset: Dataset,
    out: Path,
    *,
    name: str,
    seed: int = 0,
    format: Literal["npy", "jpeg", "mp4"] | None = None,  # noqa: A002  # what it is called in layouts
    workers: int | None = None,
    advance: Callable[[int, int], None],
) -> DatasetManifest:
    """Write a generated dataset to disk, and the sha256 of every file to ``SHA256SUMS``.

    What an earlier call has finished with the same seed and generator is kept. The bytes depend neither on
    the number of workers nor on how often the work was broken off.

    Args:
        dataset: One whose images are made on the fly.
        out: Folder for the files.
        name: Of the dataset of files: its numbers are its own.
        seed: Of the corruptions.
        format: ``npy``, ``jpeg`` (corruptions) or ``mp4`` (sequences); None for that of the published files:
            npy at 32 px, the others above.
        workers: Processes; None for one a core, or one alone where there is little to do.
        advance: Told how many images are written, and how many there are.

    Returns:
        The manifest of what was written.

    Raises:
        UsageError: The dataset is not made on the fly, the format is not for its kind, or ``out`` lies among
            the clean images.
        DataError: Its clean images are missing, or ``out`` holds what was made otherwise.
        StorageError: ``out`` cannot be written, or another process writes there.
        MissingDependencyError: What makes a corruption or writes videos is not installed.
    """
    layout = dataset.manifest.layout
    if not isinstance(layout, GeneratedLayout):
        raise UsageError(
            f"dataset {dataset.name} is not made by the package",
            expected="one whose layout is generated; `rbs data list` shows them",
            found=f"layout {layout.type}",
        )
    if workers is not None and workers < 1:
        raise UsageError("workers", expected="a whole number, at least 1", found=str(workers))
    chosen = _format(dataset.manifest, layout, format)
    _refuse_inside(dataset.source(), out)
    note = {
        "format": chosen,
        "generator": f"{corruptions.GENERATOR} {corruptions.GENERATOR_VERSION}, {STREAM}",
        "made_of": digest_of(dataset.scored_fields()),
        "seed": seed,
    }
    plan = Plan(dataset=dataset, out=out, seed=seed, format=chosen)
    parts, frames = _parts(plan)
    with _own(out, note):
        digests = _labels(plan, parts) if chosen == "npy" else {}
        done, total = 0, sum(part.images for part in parts)
        for written in written_parts(plan, parts, workers or _usual_workers(total)):
            done += written.images
            digests |= dict(written.digests)
            advance(done, total)
        lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))
        write_bytes(out / DIGESTS, os.fsencode(lines))
    return _manifest(dataset.manifest, name, out, chosen, frames)


def _refuse_inside(source: Dataset, out: Path) -> None:
    """Refuse a folder among those that the clean images are listed from: they would list the new ones too."""
    layout, clean = source.manifest.layout, source.manifest.all_conditions()[0]
    if isinstance(layout, ImageFolderLayout):
        listed = (source.folder / expanded(layout.path, clean.name, clean.level)).resolve()
        if out.resolve().is_relative_to(listed):
            raise UsageError(
                f"{out} lies among the clean images",
                expected=f"a folder that is not in {listed}",
                found=str(out.resolve()),
            )


def _usual_workers(images: int) -> int:
    return (os.cpu_count() or 1) if images > _FEW else 1


def _format(manifest: DatasetManifest, layout: GeneratedLayout, asked: Format | None) -> Format:
    usual: Format = "jpeg" if manifest.role == "corruption" else "mp4"
    if asked is None:
        return "npy" if layout.variant == "cifar" else usual
    if asked not in ("npy", usual):
        raise UsageError(
            f"dataset {manifest.name} cannot be written as {asked}",
            expected=f"npy or {usual}",
            found=f"role {manifest.role}",
        )
    return asked


def _parts(plan: Plan) -> tuple[list[Part], dict[str, int]]:
    """Return the parts in the manifest's order, and the frames of each name.

    Every condition is opened, so that what cannot be made is told before anything is written.
    """
    conditions = plan.dataset.manifest.all_conditions()
    frames: dict[str, int] = {}
    first = opened(plan, conditions[0])
    samples = len(first.sample_ids)
    for condition in conditions:
        frames[condition.name] = first.other(condition).frames
    if plan.format != "npy":
        step = _IN_PART[plan.format]
        return [
            Part(conditions=(condition,), start=start, stop=min(start + step, samples))
            for condition in conditions
            for start in range(0, samples, step)
        ], frames
    files: dict[tuple[str, int], list[Condition]] = {}
    for condition in conditions:
        level = condition.level if condition.kind == "sequence" else 0
        files.setdefault((condition.name, level), []).append(condition)
    return [Part(conditions=tuple(members), start=0, stop=samples) for members in files.values()], frames


def _labels(plan: Plan, parts: list[Part]) -> dict[str, str]:
    """Write ``labels.npy``: the labels once for each level that a file holds."""
    levels = {len(part.conditions) for part in parts}
    if len(levels) > 1:
        raise UsageError(
            f"dataset {plan.dataset.name} has corruptions at different numbers of levels",
            expected="one number, as their files share the labels",
            found=", ".join(map(str, sorted(levels))),
        )
    labels = opened(plan, parts[0].conditions[0]).labels
    path = plan.out / "labels.npy"
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, np.tile(labels, levels.pop()), allow_pickle=False)
    return {path.name: file_digest(path)}


@contextmanager
def _own(out: Path, note: dict[str, object]) -> Iterator[None]:
    """Keep a folder to ourselves; a new one gets the note first, so that a killed run is told too."""
    path = out / _NOTE
    if not path.exists():
        if out.exists() and any(out.iterdir()):
            raise DataError(f"{out} is not empty", expected="a new folder, or what was made before")
        write_bytes(path, f"{json.dumps(note, indent=1, sort_keys=True)}\n".encode())
    with path.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"{out} is being made by another process",
                found=f"{path} in use",
                fix="wait until that process ends, then run the same command again",
            ) from error
        except OSError:
            pass  # a network share without locks: nothing better can be had there
        found = json.loads(handle.read())
        if found != note:
            raise DataError(
                f"{out} holds images that were made otherwise", expected=str(note), found=str(found),
                fix="name another folder")  # fmt: skip
        with writes(out):
            shutil.rmtree(out / PARTS, ignore_errors=True)  # of a run that was killed
            (out / PARTS).mkdir(exist_ok=True)
        try:
            yield
        finally:
            shutil.rmtree(out / PARTS, ignore_errors=True)


def _manifest(
    made_of: DatasetManifest, name: str, out: Path, chosen: Format, frames: dict[str, int]
) -> DatasetManifest:
    usual = max(set(frames.values()), key=list(frames.values()).count)
    others = {key: n for key, n in frames.items() if n != usual}
    layout: ClipsLayout | NpyLayout | ImageFolderLayout
    if chosen == "jpeg":
        layout = ImageFolderLayout(type="image_folder", path="{name}/{level}")
    elif chosen == "mp4":
        layout = ClipsLayout(
            type="clips", format="video", path="{name}{suffix}", frames=usual, frames_of=others
        )
    elif made_of.role == "sequence":
        layout = ClipsLayout(
            type="clips", format="npy", path="{name}{suffix}.npy", frames=usual, frames_of=others,
            labels="labels.npy")  # fmt: skip
    else:
        levels = len({condition.level for condition in made_of.all_conditions()})
        layout = NpyLayout(type="npy", images="{name}.npy", labels="labels.npy", levels_in_rows=levels)
    return made_of.model_copy(
        update={
            "name": name,
            "title": f"{made_of.title}, written to disk",
            "layout": layout,
            "folder": out.resolve().name,
            "extras": (_NOTE, DIGESTS),
        }
    )
