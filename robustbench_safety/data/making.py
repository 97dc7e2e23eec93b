"""Corrupted images and sequences to disk, in the layouts of CIFAR-C, CIFAR-P, ImageNet-C and ImageNet-P."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_safety import corruptions
from robustbench_safety.data.generated import GeneratedReader
from robustbench_safety.data.making_parts import PARTS, Format, Part, Plan, opened, place_of
from robustbench_safety.data.making_pool import written_parts
from robustbench_safety.data.store import Dataset
from robustbench_safety.errors import (
    DataError,
    MissingDependencyError,
    StorageError,
    UnknownNameError,
    UsageError,
)
from robustbench_safety.files import atomic_path, digest_of, file_digest, read_bytes, write_bytes, writes
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
    conditions: Sequence[str] = (),
    seed: int = 0,
    format: Literal["npy", "jpeg", "mp4"] | None = None,  # noqa: A002  # what it is called in layouts
    workers: int | None = None,
    advance: Callable[[int, int], None],
) -> DatasetManifest:
    """Write a generated dataset to disk, and the sha256 of every file to ``SHA256SUMS``.

    What an earlier call has finished with the same seed, generator and clean images is kept, and what it has
    finished of other ``conditions`` is listed with those of this call. The bytes depend neither on the number
    of workers nor on how often the work was broken off.

    Args:
        dataset: One whose images are made on the fly.
        out: Folder for the files.
        name: Of the dataset of files: its numbers are its own.
        conditions: Names of the corruptions or sequences to make, at all of their levels; empty for all.
        seed: Of the corruptions.
        format: ``npy``, ``jpeg`` (corruptions) or ``mp4`` (sequences); None for that of the published files:
            npy at 32 px, the others above.
        workers: Processes; None for one a core, or one alone where there is little to do.
        advance: Told how many images are written, and how many there are.

    Returns:
        The manifest of what is in ``out`` and finished.

    Raises:
        UsageError: The dataset is not made on the fly, the format is not for its kind, or ``out`` lies among
            the clean images.
        UnknownNameError: The dataset has no such condition.
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
    plan = Plan(dataset=dataset, out=out, seed=seed, format=chosen)
    asked = _asked(dataset.manifest, conditions)
    first = _opened_all(plan, asked)
    note = {
        "clean_images": first.stamp(),
        "format": chosen,
        "generator": f"{corruptions.GENERATOR} {corruptions.GENERATOR_VERSION}, {STREAM}",
        "made_of": digest_of(dataset.scored_fields()),
        "seed": seed,
    }
    parts = _parts(plan, asked, len(first.sample_ids))
    with _own(out, note):
        digests = _finished(out)
        if chosen == "npy":
            digests |= _labels(plan, first.labels)
        done, total = 0, sum(part.images for part in parts)
        for written in written_parts(plan, parts, workers or _usual_workers(total)):
            done += written.images
            digests |= dict(written.digests)
            advance(done, total)
        lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(digests.items()))
        write_bytes(out / DIGESTS, os.fsencode(lines))
    places = set(map(_topmost, digests))
    there = {one.name for one in dataset.manifest.all_conditions() if place_of(plan, one) in places}
    return _manifest(_only(dataset.manifest, there), layout, name, out, chosen)


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


def _asked(manifest: DatasetManifest, names: Sequence[str]) -> list[Condition]:
    conditions = manifest.all_conditions()
    known = {condition.name for condition in conditions}
    for name in names:
        if name not in known:
            raise UnknownNameError.among(f"{manifest.role} of {manifest.name}:", name, known)
    return [condition for condition in conditions if not names or condition.name in names]


def _opened_all(plan: Plan, conditions: Sequence[Condition]) -> GeneratedReader:
    """Open every condition, so that what cannot be made is told before anything is written; return the first.

    Raises:
        DataError: The clean images are missing, or what a corruption is made with.
        MissingDependencyError: What makes a corruption is not installed.
    """
    first = opened(plan, conditions[0])
    refused: dict[str, DataError | MissingDependencyError] = {}
    for condition in conditions[1:]:
        if condition.name not in refused:
            try:
                first.other(condition)
            except (DataError, MissingDependencyError) as error:
                refused[condition.name] = error
    if refused:
        told = next(iter(refused.values()))
        others = dict.fromkeys(f"--name {one.name}" for one in conditions if one.name not in refused)
        raise type(told)(
            told.what,
            expected=told.expected,
            found=told.found,
            fix=f"{told.fix}; or leave out {' and '.join(refused)}: {' '.join(others)}",
        ) from told
    return first


def _parts(plan: Plan, conditions: Sequence[Condition], samples: int) -> list[Part]:
    """Return the parts in the manifest's order."""
    if plan.format != "npy":
        step = _IN_PART[plan.format]
        return [
            Part(conditions=(condition,), start=start, stop=min(start + step, samples))
            for condition in conditions
            for start in range(0, samples, step)
        ]
    files = _by_file(plan, conditions)
    return [Part(conditions=tuple(members), start=0, stop=samples) for members in files.values()]


def _by_file(plan: Plan, conditions: Sequence[Condition]) -> dict[str, list[Condition]]:
    """Return the conditions of every stack."""
    files: dict[str, list[Condition]] = {}
    for condition in conditions:
        files.setdefault(place_of(plan, condition), []).append(condition)
    return files


def _labels(plan: Plan, labels: NDArray[np.int64]) -> dict[str, str]:
    """Write ``labels.npy``: the labels once for each level that a file holds, of those not asked for too."""
    levels = {len(members) for members in _by_file(plan, plan.dataset.manifest.all_conditions()).values()}
    if len(levels) > 1:
        raise UsageError(
            f"dataset {plan.dataset.name} has corruptions at different numbers of levels",
            expected="one number, as their files share the labels",
            found=", ".join(map(str, sorted(levels))),
        )
    path = plan.out / "labels.npy"
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, np.tile(labels, levels.pop()), allow_pickle=False)
    return {path.name: file_digest(path)}


def _finished(out: Path) -> dict[str, str]:
    """Return path and digest of every file that earlier calls have listed, but of removed conditions."""
    if not (out / DIGESTS).exists():
        return {}
    lines = os.fsdecode(read_bytes(out / DIGESTS)).splitlines()
    listed = {path: digest for digest, _, path in (line.partition("  ") for line in lines) if path}
    kept = {place for place in map(_topmost, listed) if (out / place).exists()}
    return {path: digest for path, digest in listed.items() if _topmost(path) in kept}


def _topmost(path: str) -> str:
    return path.split("/", 1)[0]


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
            raise _made_otherwise(out, note, found)
        with writes(out):
            shutil.rmtree(out / PARTS, ignore_errors=True)  # of a run that was killed
            (out / PARTS).mkdir(exist_ok=True)
        try:
            yield
        finally:
            shutil.rmtree(out / PARTS, ignore_errors=True)


def _made_otherwise(out: Path, asked: dict[str, object], found: dict[str, object]) -> DataError:
    """Name what differs, and nothing else."""
    differing = [key for key in asked if found.get(key) != asked[key]] or ["nothing more"]
    fix = "name another folder for OUT"
    if "clean_images" in differing:
        fix += ", or give the clean images back that it was begun with: names, sizes and times of their files"
    return DataError(
        f"{out} holds images that were made otherwise",
        expected=", ".join(f"{key} {asked.get(key, '')}" for key in differing),
        found=", ".join(str(found.get(key)) for key in differing),
        fix=fix,
    )


def _only(manifest: DatasetManifest, names: Set[str]) -> DatasetManifest:
    """Return the manifest with the conditions of these names; where they are not all, the title says so."""
    groups = [
        group.model_copy(update={"names": kept})
        for group in manifest.conditions
        if (kept := tuple(name for name in group.names if name in names))
    ]
    levels = {level for group in groups for level in group.levels}
    n = len({condition.name for condition in manifest.all_conditions()})
    some = f" ({len(names)} of {n} {manifest.role}s)" if len(names) < n else ""
    return manifest.model_copy(
        update={
            "title": f"{manifest.title}, written to disk{some}",
            "conditions": tuple(groups),
            "headline": tuple(name for name in manifest.headline if name in names),
            "headline_levels": tuple(level for level in manifest.headline_levels if level in levels),
        }
    )


def _manifest(
    made_of: DatasetManifest, generated: GeneratedLayout, name: str, out: Path, chosen: Format
) -> DatasetManifest:
    layout: ClipsLayout | NpyLayout | ImageFolderLayout
    if chosen == "jpeg":
        layout = ImageFolderLayout(type="image_folder", path="{name}/{level}")
    elif made_of.role == "sequence":
        names = dict.fromkeys(condition.name for condition in made_of.all_conditions())
        frames = {key: corruptions.n_frames(key, variant=generated.variant) for key in names}
        usual = max(set(frames.values()), key=list(frames.values()).count)
        npy = chosen == "npy"
        layout = ClipsLayout(
            type="clips",
            format="npy" if npy else "video",
            path="{name}{suffix}.npy" if npy else "{name}{suffix}",
            frames=usual,
            frames_of={key: n for key, n in frames.items() if n != usual},
            labels="labels.npy" if npy else None,
        )
    else:
        levels = len({condition.level for condition in made_of.all_conditions()})
        layout = NpyLayout(type="npy", images="{name}.npy", labels="labels.npy", levels_in_rows=levels)
    return made_of.model_copy(
        update={
            "name": name,
            "layout": layout,
            "folder": out.resolve().name,
            "extras": (_NOTE, DIGESTS),
        }
    )
