"""The shipped manifests with smaller numbers and nothing else changed: what is tested is their layouts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from robustbench_safety.labels import class_digest

__all__ = ["SHIPPED", "Fields", "classes_of", "fields_of", "only", "write_manifest", "write_subset"]

SHIPPED = Path(__file__).parent.parent.parent / "data_manifests"
#: Fields that say how much there is.
_NUMBERS = {
    "samples",
    "samples_also",
    "samples_per_class",
    "conditions",
    "headline",
    "headline_levels",
    "subset",
}

Fields = dict[str, Any]


@cache
def _loaded(path: Path) -> Fields:
    fields = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    assert isinstance(fields, dict)
    return fields


def fields_of(name: str) -> Fields:
    """Return a file below ``data_manifests`` as it is shipped."""
    return _loaded(SHIPPED / f"{name}.yaml").copy()


def classes_of(name: str) -> list[str]:
    """Return the classes of a label space, class subset or class map: ``labels/imagenet-1k`` say."""
    return list(fields_of(name)["classes"])


def only(kind: str, **levels: Sequence[int]) -> list[Fields]:
    """Return the conditions of a manifest: the levels of each name."""
    return [{"kind": kind, "names": [name], "levels": list(those)} for name, those in levels.items()]


def write_manifest(own: Path, name: str, folder: Path, **numbers: object) -> Fields:
    """Write the manifest of a copy that lies in ``folder``; return its fields.

    Args:
        own: Folder of the copies' manifests.
        name: Of the shipped manifest.
        folder: Of the copy. Published checksums are replaced by those of the files that stand there.
        numbers: Fields that say how much there is.
    """
    assert set(numbers) <= _NUMBERS, "nothing else is changed"
    fields = fields_of(name)
    assert set(numbers) - {"subset"} <= set(fields), "no number is added"
    fields |= numbers
    if "conditions" in numbers and "headline" in fields:
        names = {name for group in fields["conditions"] for name in group["names"]}
        fields["headline"] = [one for one in dict.fromkeys(fields["headline"]) if one in names]
    _replace_checksums(fields, folder)
    write(own / f"{name}.yaml", fields)
    return fields


def _replace_checksums(fields: Fields, folder: Path) -> None:
    layout = fields["layout"] = dict(fields["layout"])
    if layout["type"] == "cifar_pickle":
        layout["files"] = {
            file: _md5(folder / file) if md5 else None for file, md5 in layout["files"].items()
        }
    if "md5" in layout:
        layout["md5"] = _md5(folder / layout["file"])
    if "archives" in fields:
        fields["archives"] = [_archive(archive, folder) for archive in fields["archives"]]
    if "file_md5" in fields:
        there = [file for file in fields["file_md5"] if (folder / file).exists()]
        fields["file_md5"] = {file: _md5(folder / file) for file in there}


def _archive(fields: Fields, folder: Path) -> Fields:
    if not (folder / fields["file"]).exists():
        return fields
    kept = {key: value for key, value in fields.items() if key not in ("bytes", "sha256")}
    return kept | {"md5": _md5(folder / fields["file"])}


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_subset(own: Path, name: str, classes: Sequence[str], *, label_space: str = "imagenet-1k") -> None:
    """Write a class subset with its count and digest."""
    fields = {"name": name, "label_space": label_space, "classes": list(classes), "count": len(classes)}
    write(own / "subsets" / f"{name}.yaml", fields | {"digest": class_digest(classes), "source": "a test"})


def write(path: Path, fields: Mapping[str, object]) -> None:
    """Write a YAML file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(fields), sort_keys=False))
