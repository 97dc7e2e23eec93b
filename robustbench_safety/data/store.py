"""Where data lie, and datasets opened from there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from robustbench_safety.data.builtin import open_builtin
from robustbench_safety.data.generated import GeneratedReader
from robustbench_safety.data.readers import (
    ArrayReader,
    CifarPickleReader,
    ImageFolderReader,
    NpyReader,
    Reader,
)
from robustbench_safety.errors import DataError, FileFormatError
from robustbench_safety.files import locate_resource, read_yaml
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
    """Folder of a user's own manifests, which go before the shipped ones."""

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
            source = load_manifest(self.manifest.layout.source, beside=self.data.beside)
            fields["source"] = source.scored_fields()
        return fields

    def label_keys(self, reader: Reader) -> list[str]:
        """Return the class key of every sample, "" for out-of-distribution images."""
        return [self.classes[label] if label >= 0 else "" for label in reader.labels]

    def open(self, condition: Condition, *, seed: int) -> Reader:
        """Return the reader of one condition; names, counts and labels are checked, pixels are not read.

        Raises:
            DataError: The folder is missing, empty, short of images or holds something else.
        """
        layout = self.manifest.layout
        if isinstance(layout, GeneratedLayout):
            source = load_dataset(layout.source, data=self.data)
            clean = source.open(source.manifest.all_conditions()[0], seed=seed)
            if not isinstance(clean, ArrayReader):
                raise DataError(f"{self.name} cannot be made from {source.name}: its images vary in size")
            return GeneratedReader(clean, layout, condition, seed=seed)
        reader = self._open_stored()
        if self.manifest.role == "ood":
            reader.labels = reader.labels * 0 - 1
        elif reader.labels.min() < 0 or reader.labels.max() >= len(self.classes):
            raise DataError(
                f"{self.name}: a label lies outside its label space {self.manifest.label_space}",
                expected=f"0 to {len(self.classes) - 1}",
                found=f"{reader.labels.min()} to {reader.labels.max()}",
            )
        return reader

    def _open_stored(self) -> Reader:
        layout = self.manifest.layout
        if isinstance(layout, BuiltinLayout):
            return open_builtin(self.manifest, layout)
        folder = self.check_presence()
        if isinstance(layout, CifarPickleLayout):
            return CifarPickleReader(self.manifest, layout, folder)
        if isinstance(layout, NpyLayout):
            return NpyReader(self.manifest, layout, folder)
        assert isinstance(layout, ImageFolderLayout)  # noqa: S101  # the union has no other member
        return ImageFolderReader(self.manifest, layout, folder, self.classes)

    def check_presence(self) -> Path:
        """Return the dataset's folder if the files that the layout names are there; counts are not looked at.

        Raises:
            DataError: They are not; says what to fetch.
        """
        layout, folder = self.manifest.layout, self.data.folder(self.manifest)
        wanted: list[str] = []
        if isinstance(layout, CifarPickleLayout):
            wanted = list(layout.files)
        elif isinstance(layout, NpyLayout):
            wanted = [layout.images] + ([layout.labels] if layout.labels else [])
        elif isinstance(layout, ImageFolderLayout):
            wanted = [layout.path] if layout.path else []
        absent = [name for name in wanted if not (folder / name).exists()]
        if folder.is_dir() and not absent:
            return folder
        found = f"no {absent[0]} there" if folder.is_dir() else "no such folder"
        raise DataError(
            f"dataset {self.name} is not in {folder}",
            expected=", ".join(wanted) or "one folder a class",
            found="an empty folder" if folder.is_dir() and not any(folder.iterdir()) else found,
            fix=self._how_to_get(),
        )

    def _how_to_get(self) -> str:
        parts = []
        for archive in self.manifest.archives:
            source = f" from {archive.address}" if archive.address else ""
            parts.append(f"{archive.file}{source}" + (f" (md5 {archive.md5})" if archive.md5 else ""))
        fetch = f"unpack {' and '.join(parts)} under the data root, or " if parts else ""
        return f"{fetch}name the folder above with --data DIR, or its own with --data {self.name}=DIR"


def load_manifest(name: str, *, beside: Path | None = None) -> DatasetManifest:
    """Read ``data_manifests/<name>.yaml``.

    Raises:
        UnknownNameError: There is none of that name.
        FileFormatError: It is not a manifest, or its name is not that of its file.
    """
    path = locate_resource(
        "dataset", name, "data_manifests", beside=beside, fix="`rbs data list` shows them all"
    )
    manifest = read_yaml(path, DatasetManifest)
    if manifest.name != name:
        raise FileFormatError(f"{path}: name", expected=name, found=manifest.name)
    return manifest


def load_dataset(name: str, *, data: DataRoot | str | Path | None = None) -> Dataset:
    """Return a dataset by name; nothing is read but its manifest and class lists.

    Args:
        name: Name of a manifest.
        data: Data root; None for ``RBS_DATA`` or the user's cache.
    """
    root = DataRoot(root=Path(data)) if isinstance(data, str | Path) else data or DataRoot.default()
    manifest = load_manifest(name, beside=root.beside)
    classes: tuple[str, ...] = ()
    if manifest.subset is not None:
        classes = load_subset(manifest.subset, beside=root.beside).classes
    elif manifest.label_space is not None:
        classes = load_label_space(manifest.label_space, beside=root.beside).classes
    return Dataset(manifest=manifest, data=root, classes=classes)
