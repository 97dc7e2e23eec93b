"""Where data lie, and datasets opened from there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from robustbench_safety.data.base import ArrayReader, Reader
from robustbench_safety.data.builtin import open_builtin
from robustbench_safety.data.generated import GeneratedReader
from robustbench_safety.data.readers import CifarPickleReader, ImageFolderReader, NpyReader
from robustbench_safety.errors import DataError, FileFormatError
from robustbench_safety.files import locate_resource, read_yaml, reads
from robustbench_safety.labels import load_label_space, load_subset
from robustbench_safety.records import (
    BuiltinLayout,
    CifarPickleLayout,
    Condition,
    DatasetManifest,
    GeneratedLayout,
    ImageFolderLayout,
    NpyLayout,
)

__all__ = ["DataRoot", "Dataset", "load_dataset", "load_manifest"]


@dataclass(frozen=True, kw_only=True)
class DataRoot:
    """The folder under which datasets lie, and those that lie elsewhere."""

    root: Path
    folders: Mapping[str, Path] = field(default_factory=dict)
    """By dataset name: the dataset's own folder."""
    beside: Path | None = None
    """Folder of a user's own manifests, which go before the shipped ones. It is laid out like
    ``data_manifests``: label spaces in ``labels/`` below it, class subsets in ``subsets/``."""

    @classmethod
    def default(cls) -> DataRoot:
        """Return ``RBS_DATA``, else a folder in the user's cache."""
        if named := os.environ.get("RBS_DATA"):
            return cls(root=Path(named))
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cls(root=cache / "robustbench-safety" / "data")

    def folder(self, manifest: DatasetManifest) -> Path:
        """Return the folder of a dataset; it need not exist."""
        return self.folders.get(manifest.name, self.root / manifest.folder)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A manifest with the place where its files lie."""

    manifest: DatasetManifest
    data: DataRoot
    classes: tuple[str, ...]
    """Class keys that labels index; empty for a set without labels."""

    @property
    def name(self) -> str:
        """The manifest's name."""
        return self.manifest.name

    def scored_fields(self) -> dict[str, object]:
        """Return the fields that can move a number, those of the source of generated images among them."""
        fields = self.manifest.scored_fields()
        if isinstance(self.manifest.layout, GeneratedLayout):
            source = load_manifest(
                self.manifest.layout.source,
                beside=self.data.beside,
                fix=f"correct the source in the manifest of {self.name}",
            )
            fields["source"] = source.scored_fields()
        return fields

    def label_keys(self, reader: Reader) -> list[str]:
        """Return the class key of every sample, "" for out-of-distribution images."""
        return [self.classes[label] if label >= 0 else "" for label in reader.labels]

    def open(self, condition: Condition, *, seed: int) -> Reader:
        """Return the reader of one condition; names, counts and labels are checked, pixels are not read.

        Raises:
            DataError: The folder is missing, empty, short of images or holds something else.
            FileFormatError: The manifest asks for what cannot be made.
        """
        layout = self.manifest.layout
        match layout:
            case BuiltinLayout():
                return open_builtin(self.manifest, layout, self.classes)
            case GeneratedLayout():
                return GeneratedReader(self._source(layout, seed), layout, condition, seed=seed)
            case CifarPickleLayout():
                return CifarPickleReader(self.manifest, layout, self.check_presence(), self.classes)
            case NpyLayout():
                return NpyReader(self.manifest, layout, self.check_presence(), self.classes)
            case ImageFolderLayout():
                return ImageFolderReader(self.manifest, layout, self.check_presence(), self.classes)
            case _:
                assert_never(layout)

    def _source(self, layout: GeneratedLayout, seed: int) -> ArrayReader:
        """Return the clean images that conditions are made from."""
        source = load_dataset(layout.source, data=self.data)
        wrong = f"dataset {self.name} cannot be made from {source.name}"
        fix = "correct the manifest"
        if isinstance(source.manifest.layout, GeneratedLayout):
            raise FileFormatError(wrong, expected="stored or builtin images", found="generated ones", fix=fix)
        for what, expected, found in (
            ("classes", source.classes, self.classes),
            ("samples", source.manifest.samples, self.manifest.samples),
            ("role ood", source.manifest.role == "ood", self.manifest.role == "ood"),
        ):
            if expected != found:
                raise FileFormatError(
                    f"{wrong}: {what}", expected=_short(expected), found=_short(found), fix=fix
                )
        clean = source.open(source.manifest.all_conditions()[0], seed=seed)
        if not isinstance(clean, ArrayReader):
            raise DataError(
                wrong, expected="images of one size", found=f"layout {source.manifest.layout.type}", fix=fix
            )
        return clean

    def check_presence(self) -> Path:
        """Return the dataset's folder if the files that the layout names are there; counts are not looked at.

        Raises:
            DataError: They are not; says what to fetch.
        """
        folder = self.data.folder(self.manifest)
        wanted = _named_files(self.manifest)
        with reads(folder):
            if not folder.is_dir():
                found = "no such folder"
            elif not any(folder.iterdir()):
                found = "an empty folder"
            else:
                absent = [name for name in wanted if not (folder / name).exists()]
                if not absent:
                    return folder
                found = f"no {absent[0]} there"
        raise DataError(
            f"dataset {self.name} is not in {folder}",
            expected=", ".join(wanted) or "one folder a class",
            found=found,
            fix=self._how_to_get(),
        )

    def _how_to_get(self) -> str:
        parts = []
        for archive in self.manifest.archives:
            source = f" from {archive.address}" if archive.address else ""
            parts.append(f"{archive.file}{source}" + (f" (md5 {archive.md5})" if archive.md5 else ""))
        fetch = f"unpack {' and '.join(parts)} under the data root, or " if parts else ""
        return f"{fetch}name the folder above with --data DIR, or its own with --data {self.name}=DIR"


def _named_files(manifest: DatasetManifest) -> list[str]:
    """Return the files and folders, below the dataset's own, that its layout names."""
    layout = manifest.layout
    match layout:
        case CifarPickleLayout():
            return list(layout.files)
        case NpyLayout():
            return [layout.images] + ([layout.labels] if layout.labels else [])
        case ImageFolderLayout():
            return [layout.path] if layout.path else []
        case BuiltinLayout() | GeneratedLayout():
            return []
        case _:
            assert_never(layout)


def _short(value: object) -> str:
    return f"{len(value)} classes from {value[0]!r} on" if value and isinstance(value, tuple) else str(value)


def load_manifest(name: str, *, beside: Path | None = None, fix: str = "") -> DatasetManifest:
    """Read ``data_manifests/<name>.yaml``.

    Args:
        name: Name of a manifest.
        beside: A user's own folder, which goes before the shipped ones.
        fix: What to do when there is none of that name.

    Raises:
        UnknownNameError: There is none of that name; near names are shown.
        FileFormatError: It is not a manifest, or its name is not that of its file.
    """
    fix = fix or "`rbs data list` shows them all"
    path = locate_resource("dataset", name, "data_manifests", beside=beside, fix=fix)
    manifest = read_yaml(path, DatasetManifest)
    if manifest.name != name:
        raise FileFormatError(
            f"{path}: name is wrong", expected=name, found=manifest.name, fix="call the file after its name"
        )
    return manifest


def load_dataset(name: str, *, data: DataRoot | str | Path | None = None) -> Dataset:
    """Return a dataset by name; nothing is read but its manifest and class lists.

    Args:
        name: Name of a manifest.
        data: Data root; None for ``RBS_DATA`` or the user's cache.

    Raises:
        UnknownNameError: There is no manifest, label space or class subset of that name.
        FileFormatError: One of these files does not hold what it should.
    """
    root = DataRoot(root=Path(data)) if isinstance(data, str | Path) else data or DataRoot.default()
    manifest = load_manifest(name, beside=root.beside)
    return Dataset(manifest=manifest, data=root, classes=_classes(manifest, root.beside))


def _classes(manifest: DatasetManifest, beside: Path | None) -> tuple[str, ...]:
    fix = f"correct the manifest of {manifest.name}"
    if manifest.label_space is None:
        return ()
    if manifest.subset is None:
        return load_label_space(manifest.label_space, beside=beside, fix=fix).classes
    subset = load_subset(manifest.subset, beside=beside, fix=fix)
    if subset.label_space != manifest.label_space:
        raise FileFormatError(
            f"dataset {manifest.name}: subset {subset.name} lies in another label space",
            expected=manifest.label_space,
            found=subset.label_space,
            fix=fix,
        )
    return subset.classes
