"""What is wrong with folders that are called after classes, said class by class."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from robustbench_safety.data.base import Place, Reader
from robustbench_safety.data.pictures import is_picture
from robustbench_safety.data.readers import open_stored
from robustbench_safety.data.verifying.findings import Finding, some_of
from robustbench_safety.errors import DataError
from robustbench_safety.files import reads, resource_names
from robustbench_safety.labels import load_class_map, load_label_space, load_subset
from robustbench_safety.records import ClipsLayout, ImageFolderLayout

__all__ = ["another_set", "folder_faults", "lenient_reader"]

FolderLayout = ImageFolderLayout | ClipsLayout
_UNPACK = "unpack the published archive again"


def another_set(place: Place, layout: FolderLayout, root: Path, beside: Path | None) -> Finding | None:
    """Return the one finding that says it all where a folder holds other classes altogether.

    Args:
        place: What was to be read.
        layout: How the images lie.
        root: The folder of the class folders.
        beside: A user's own manifests.

    Raises:
        StorageError: A folder cannot be listed.
    """
    wanted, found = _wanted(place, layout), _folders(root)
    if wanted is None or (found == wanted.keys() or (found > wanted.keys() and _leaves(layout))):
        return None
    seen = fix = ""
    if name := _whose_classes(found, beside):
        seen = f"{len(found)} folders: these are the classes of {name}"
    elif not found & wanted.keys():
        inner = next((name for name in sorted(found) if wanted.keys() <= _folders(root / name)), None)
        fix = "" if inner is None else f"they are in {root / inner}: move them up by one folder"
        seen = f"none of them, but {some_of(sorted(found))}" if found else "no folder"
    if not seen:
        return None
    return Finding(
        kind="class",
        where=f"{root} does not hold the classes of {place.manifest.name}",
        expected=f"the {len(wanted)} class folders of {place.manifest.name}",
        found=seen,
        fix=fix or "check that this is the dataset's folder and no other's",
    )


def folder_faults(place: Place, layout: FolderLayout, root: Path) -> list[Finding]:
    """Return what is wrong with the class folders of one condition; nothing where names and counts are right.

    Args:
        place: What was to be read.
        layout: How the images lie.
        root: The folder of the class folders.

    Raises:
        StorageError: A folder cannot be listed.
    """
    wanted = _wanted(place, layout)
    if wanted is None:
        return _total_faults(place, root, _n_pictures_below(root))
    found = _folders(root)
    missing = [name for name in wanted if name not in found]
    unknown = [] if _leaves(layout) else sorted(found - wanted.keys())
    out = [
        Finding(
            kind="class",
            where=f"{root / name}: class {wanted[name]} of {place.manifest.name} has no folder",
            expected=f"a folder {name} with its images",
            found="no such folder",
            fix=_UNPACK,
        )
        for name in missing
    ]
    out += [
        Finding(
            kind="class",
            where=f"{root / name}: no class of {place.manifest.name} is called {name}",
            expected=f"folders of its {len(wanted)} classes alone",
            found=f"a folder with {_count(root / name, layout)} images",
            fix="remove it, or check that this is the dataset's folder",
        )
        for name in unknown
    ]
    counts = {name: _count(root / name, layout) for name in wanted if name in found}
    return out + _count_faults(place, root, wanted, counts)


def _wanted(place: Place, layout: FolderLayout) -> dict[str, str] | None:
    """Return the class key of each folder, by its name; None where folders say nothing."""
    naming = layout.folders if isinstance(layout, ImageFolderLayout) else "key"
    if naming == "any":
        return None
    return {key if naming == "key" else str(number): key for number, key in enumerate(place.classes)}


def _leaves(layout: FolderLayout) -> bool:
    return isinstance(layout, ImageFolderLayout) and layout.others == "leave"


def _folders(root: Path) -> set[str]:
    with reads(root), os.scandir(root) as entries:
        return {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")}


def _count(folder: Path, layout: FolderLayout) -> int:
    with reads(folder), os.scandir(folder) as entries:
        if isinstance(layout, ImageFolderLayout):
            return sum(is_picture(entry.name) for entry in entries)
        return sum(
            entry.name.lower().endswith(".mp4") and not entry.name.startswith(".") for entry in entries
        )


def _count_faults(place: Place, root: Path, wanted: dict[str, str], counts: dict[str, int]) -> list[Finding]:
    out, each = _total_faults(place, root, sum(counts.values())), place.manifest.samples_per_class
    for name, n in counts.items():
        if n == each or (each is None and n > 0):
            continue
        out.append(
            Finding(
                kind="count",
                where=f"{root / name}: class {wanted[name]}",
                expected="one image or more" if each is None else f"{each} images",
                found=str(n) if each is None else f"{n}, {_difference(n, each)}",
                fix=_UNPACK,
            )
        )
    return out


def _total_faults(place: Place, root: Path, found: int) -> list[Finding]:
    manifest = place.manifest
    totals = (manifest.samples, *manifest.samples_also)
    if found in totals:
        return []
    return [
        Finding(
            kind="count",
            where=f"{root} does not hold the images of {manifest.name}",
            expected=" or ".join(map(str, totals)) + " images",
            found=f"{found}, {_difference(found, manifest.samples)}",
            fix=_UNPACK,
        )
    ]


def _difference(found: int, wanted: int) -> str:
    return f"{wanted - found} too few" if found < wanted else f"{found - wanted} too many"


def _whose_classes(found: set[str], beside: Path | None) -> str | None:
    """Return the name of the subset, class map or label space whose classes these are exactly."""
    for name in _names("subsets", beside):
        if found == set(load_subset(name, beside=beside).classes):
            return name
    for name in _names("maps", beside):
        if found == set(load_class_map(name, beside=beside).classes):
            return name
    for name in _names("labels", beside):
        if found == set(load_label_space(name, beside=beside).classes):
            return name
    return None


def _names(folder: str, beside: Path | None) -> list[str]:
    own = [] if beside is None else [path.stem for path in (beside / folder).glob("*.yaml")]
    return sorted({*own, *resource_names(f"data_manifests/{folder}")})


def lenient_reader(place: Place, layout: FolderLayout, root: Path) -> Reader | None:
    """Return a reader of the images that are there, though not all are; None where there can be none.

    With it the images of a set that is not whole are looked at all the same.

    Raises:
        StorageError: A folder cannot be listed.
    """
    wanted, classes = _wanted(place, layout), place.classes
    if wanted is None:
        samples = _n_pictures_below(root)
    else:
        found = _folders(root)
        classes = tuple(name for name in wanted if name in found)
        samples = sum(_count(root / name, layout) for name in classes)
        if isinstance(layout, ImageFolderLayout):
            layout = layout.model_copy(update={"folders": "key", "others": "leave"})
    if not samples:
        return None
    change = {"samples": samples, "samples_also": (), "samples_per_class": None}
    manifest = place.manifest.model_copy(update=change)
    try:
        return open_stored(replace(place, manifest=manifest, classes=classes), layout)
    except DataError:
        return None


def _n_pictures_below(root: Path) -> int:
    """Return how many pictures lie at any depth, hidden folders apart; links to folders are not followed."""
    n = 0
    for _, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        n += sum(map(is_picture, names))
    return n
