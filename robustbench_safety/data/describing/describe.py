"""A manifest for images that somebody has: what they are is looked at, what they mean is said by the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from robustbench_safety.data.base import Place
from robustbench_safety.data.describing.layout_guesses import Found, look_at
from robustbench_safety.data.readers import StoredLayout, open_stored
from robustbench_safety.errors import DataError, UsageError
from robustbench_safety.labels import class_digest, load_label_space
from robustbench_safety.records import (
    ClassSubset,
    ConditionGroup,
    DatasetManifest,
    ImageFolderLayout,
    LabelSpace,
)

__all__ = ["Described", "describe"]

OwnRole = Literal["clean", "shift", "ood"]

_CLEAN = ConditionGroup(kind="clean", names=("clean",), levels=(0,))
_UNSTATED = "not stated"


@dataclass(frozen=True, kw_only=True)
class Described:
    """A manifest and the class lists that it needs."""

    manifest: DatasetManifest
    data_root: Path
    """Folder that the manifest's ``folder`` lies in."""
    label_space: LabelSpace | None
    """A new one, made of the classes that were found; None where a known one was named."""
    subset: ClassSubset | None
    """Of a known label space, where not all its classes were found."""


def describe(
    source: str,
    *,
    name: str,
    role: OwnRole,
    label_space: str | None = None,
    companion: str | None = None,
    title: str | None = None,
    licence: str | None = None,
    citation: str | None = None,
    images: Path | None = None,
    split: str | None = None,
    beside: Path | None = None,
) -> Described:
    """Look at images and return a manifest of them.

    Args:
        source: A folder of pictures, of tar shards, of Parquet files or saved by ``datasets``; an ``.npy``
            file; a list of files; or ``hf:owner/name``.
        name: Of the new dataset.
        role: What it is for.
        label_space: A known label space that the classes belong to; it is never guessed. None makes a new one
            of the classes found.
        companion: Dataset to compare with; for ``ood`` the in-distribution images.
        title: Shown in lists; None for the name.
        licence: Of the images.
        citation: Where they come from.
        images: Folder that the paths of a list start from.
        split: Of a Hugging Face dataset.
        beside: Folder of the user's own manifests and label spaces.

    Raises:
        UsageError: There is nothing that could be described, or the options do not fit it.
        DataError: The images contradict each other or the label space.
    """
    found = look_at(source, images=images, split=split, labelled=role != "ood")
    space, classes, subset = _class_lists(found, name, role, label_space, beside)
    layout = found.layout
    if isinstance(layout, ImageFolderLayout) and role != "ood" and classes and found.numbered(classes):
        layout = layout.model_copy(update={"folders": "number"})
    manifest = DatasetManifest(
        name=name,
        version=1,
        title=title or name,
        role=role,
        layout=layout,
        folder=found.folder.name if found.folder is not None else "",
        conditions=(_CLEAN,),
        label_space=None if role == "ood" else (label_space or name),
        subset=subset.name if subset is not None else None,
        samples=found.samples,
        image_size=found.image_size,
        resize_to_input=role == "ood",
        companion=companion,
        licence=licence or _UNSTATED,
        citation=citation or _UNSTATED,
    )
    folder = found.folder or Path()
    per_class = _checked(manifest, folder, layout, tuple(subset.classes if subset else classes))
    if per_class is not None:
        manifest = manifest.model_copy(update={"samples_per_class": per_class})
    return Described(manifest=manifest, data_root=folder.parent, label_space=space, subset=subset)


def _class_lists(
    found: Found, name: str, role: OwnRole, label_space: str | None, beside: Path | None
) -> tuple[LabelSpace | None, Sequence[str], ClassSubset | None]:
    """Return a new label space if one is needed, the classes, and a subset if not all of them are there."""
    if role == "ood":
        return None, (), None
    if label_space is None:
        classes = tuple(found.classes)
        if len(classes) < 2:
            raise UsageError(
                f"the classes of {name} are not known",
                expected="two classes or more, or the label space that its numbers index",
                found=", ".join(classes) or "none",
                fix="name it with --label-space, or use --role ood for images that belong to no class",
            )
        made = LabelSpace(name=name, classes=classes, digest=class_digest(classes), source=f"found in {name}")
        return made, classes, None
    known = load_label_space(label_space, beside=beside, fix="`rbs data list` shows the shipped ones")
    if not found.classes or found.numbered(known.classes):
        return None, known.classes, None
    foreign = [key for key in found.classes if key not in set(known.classes)]
    if foreign:
        raise DataError(
            f"{name} does not lie in label space {label_space}",
            expected=f"classes of {label_space}",
            found=f"{len(foreign)} others, e.g. {foreign[0]!r}",
            fix="name another --label-space, or leave it out to make one of these classes",
        )
    ordered = tuple(key for key in known.classes if key in set(found.classes))
    if ordered == known.classes:
        return None, known.classes, None
    subset = ClassSubset(
        name=name,
        label_space=label_space,
        classes=ordered,
        count=len(ordered),
        digest=class_digest(ordered),
        source=f"the classes found in {name}",
    )
    return None, known.classes, subset


def _checked(
    manifest: DatasetManifest, folder: Path, layout: StoredLayout, classes: tuple[str, ...]
) -> int | None:
    """Open the images as described; return how many there are of each class where all have as many."""
    (condition,) = manifest.all_conditions()
    place = Place(manifest=manifest, folder=folder, condition=condition, classes=classes)
    reader = open_stored(place, layout)
    if not classes:
        return None
    counts = np.bincount(reader.groups, minlength=len(classes))
    return int(counts[0]) if len(set(counts.tolist())) == 1 and counts[0] > 0 else None
