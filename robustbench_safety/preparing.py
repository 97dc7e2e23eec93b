"""Opens everything that a suite needs before the first forward pass, and says at once what is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from robustbench_safety.attacks import check_attack
from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.data.label_sets import missing_labels
from robustbench_safety.errors import DataError, ModelError
from robustbench_safety.jobs import Job, prepare, stored_columns
from robustbench_safety.records import BuiltinLayout, GeneratedLayout, ModelSpec, Suite
from robustbench_safety.scoring import needed_conditions, why_not_shown
from robustbench_safety.suites import featured_conditions

__all__ = ["prepare_jobs"]

#: Characters of an error that stands in a list of several.
_LONGEST = 160


@dataclass
class _Missing:
    """What cannot be read of one dataset."""

    errors: dict[str, DataError] = field(default_factory=dict)
    """By path of the condition; by the dataset's name for a file of labels."""
    n_needed: int = 0
    """Conditions needed of it."""


def prepare_jobs(
    suite: Suite,
    data: DataRoot,
    spec: ModelSpec,
    *,
    n_classes: int,
    seed: int,
    limit: int | None,
    skip_missing: bool,
    drawn_by: int | None = None,
) -> tuple[list[Job], list[str]]:
    """Open every condition that a suite needs; no pixel is read.

    Args:
        suite: The suite.
        data: Data root.
        spec: Of the model that is to be scored.
        n_classes: Of the model.
        seed: Of generated images and attacks.
        limit: Source images taken of each dataset; None for all.
        skip_missing: Leave out what is missing instead of raising.
        drawn_by: Seed that draws the ``limit`` images for an audit, which looks at all of their logits; None
            to take the first.

    Returns:
        The conditions, opened, and what was left out: one line a dataset, with the reason.

    Raises:
        DataError: Something is missing or not what its manifest says. Where that is so of several datasets,
            one error names them all and says how to get each.
        ModelError: Nothing of the suite can be measured on this model, or it has too few classes for an
            attack.
        MissingDependencyError: The library of an attack is not installed.
    """
    missing = _without_labels(suite, data)
    featured = featured_conditions(suite, data)
    passes = {one.condition_name: one for cell in suite.cells if (one := cell.detector_pass)}
    jobs: list[Job] = []
    not_shown: list[str] = []
    for condition, cells in needed_conditions(suite.model_copy(update={"seed": seed}), data).items():
        if (reason := why_not_shown(condition, spec)) is not None:
            not_shown.append(reason)  # the record says it of every cell
            continue
        attack = next((cell.attack for cell in cells if cell.attack), None)
        if attack is not None:
            check_attack(attack, n_classes=n_classes)
        found = missing.setdefault(condition.dataset, _Missing())
        found.n_needed += 1
        try:
            dataset = load_dataset(condition.dataset, data=data)
            job = prepare(
                dataset, condition, label_space=spec.label_space, attack=attack,
                detector_pass=passes.get(condition.name) if condition.kind == "detector-pass" else None,
                columns=stored_columns(condition, n_classes) if drawn_by is None else "logits",
                features=condition in featured, seed=seed, limit=limit, drawn_by=drawn_by)  # fmt: skip
            jobs.append(job)
        except DataError as error:
            found.errors[condition.path] = error
    missing = {name: found for name, found in missing.items() if found.errors}
    if missing and (not skip_missing or not jobs):
        raise _in_one(missing, suite, data)
    if not jobs:
        raise ModelError(f"nothing of suite {suite.name} can be measured: it {not_shown[0]}")
    return jobs, [_told(name, found) for name, found in missing.items()]


def _without_labels(suite: Suite, data: DataRoot) -> dict[str, _Missing]:
    """Return the datasets whose labels belong to other datasets' images, and are not there."""
    missing: dict[str, _Missing] = {}
    for name in dict.fromkeys(cell.dataset for cell in suite.cells):
        try:
            missing_labels([name], data, skip_missing=False)
        except DataError as error:
            missing[name] = _Missing(errors={name: error}, n_needed=1)
    return missing


def _told(name: str, found: _Missing) -> str:
    path, error = next(iter(found.errors.items()))
    n = len(found.errors)
    return f"{path if n == 1 else f'{name}, {n} of {found.n_needed} conditions'}: {error}"


def _in_one(missing: Mapping[str, _Missing], suite: Suite, data: DataRoot) -> DataError:
    """Return one error for all of them: that of the only one, or a list."""
    lines: dict[str, list[str]] = {}
    for name, found in missing.items():
        line = _how_to_mend(load_dataset(name, data=data), found)
        lines.setdefault(line, []).append(name)
    if len(lines) == 1:
        return next(iter(next(iter(missing.values())).errors.values()))
    shown = "".join(f"\n  {line}{_for(names, line)}" for line, names in lines.items())
    return DataError(
        f"suite {suite.name} lacks data of {len(missing)} datasets",
        expected=f"each under {data.root}, in its manifest's folder",
        fix=f"get them:{shown}\nname one that lies elsewhere with --data NAME=DIR, or leave the cells of all "
        "these out with --skip-missing",
    )


def _how_to_mend(dataset: Dataset, found: _Missing) -> str:
    """Return one line: which dataset is not there and how to get it, or what is wrong with it."""
    path, error = next(iter(found.errors.items()))
    absent = _absent(dataset, path)
    if absent is None:
        return f"{dataset.name}: {error.what[:_LONGEST]}" + (
            f"; found {error.found[:_LONGEST]}" if error.found else ""
        )
    manifest = absent.manifest
    if manifest.by_hand:
        how = f"by hand, as `rbs data show {absent.name}` says"
    elif any(archive.address for archive in manifest.archives):
        how = f"`rbs data fetch {absent.name}`"
    else:
        how = f"--data {absent.name}=DIR"
    some = len(found.errors) < found.n_needed
    share = f" ({len(found.errors)} of {found.n_needed} conditions are not there)" if some else ""
    return f"{absent.name}: {how}{share}"


def _absent(dataset: Dataset, path: str) -> Dataset | None:
    """Return the dataset that is not where it is looked for: itself, or one that it is made from."""
    layout = dataset.manifest.layout
    if isinstance(layout, BuiltinLayout):
        return None
    if isinstance(layout, GeneratedLayout):
        source = dataset.source()
        textures = load_dataset("frost-textures", data=dataset.data)
        parts = (_absent(one, one.manifest.all_conditions()[0].path) for one in (source, textures))
        return next((part for part in parts if part is not None), None)
    conditions = dataset.manifest.all_conditions()
    condition = next((one for one in conditions if one.path == path), conditions[0])
    try:
        dataset.check_presence(condition)
    except DataError:
        return dataset
    return None


def _for(names: Sequence[str], line: str) -> str:
    """Say which datasets are made from the one that is missing."""
    others = [name for name in names if not line.startswith(f"{name}:")]
    return f" (for {', '.join(others)})" if others else ""
