"""Where data lie, and datasets opened from there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from robustbench_safety.data.base import ArrayReader, Place, Reader
from robustbench_safety.data.readers import needed_paths, open_stored, wanted_paths
from robustbench_safety.errors import DataError, FileFormatError, UsageError
from robustbench_safety.files import (
    default_data_root,
    locate_resource,
    read_yaml,
    reads,
    resource_names,
    yaml_fields,
)
from robustbench_safety.labels import load_class_map, load_label_space, load_subset
from robustbench_safety.records import (
    BuiltinLayout,
    ClassMap,
    Condition,
    DatasetManifest,
    GeneratedLayout,
    HuggingFaceLayout,
    RelabelledLayout,
)
from robustbench_safety.streams import GENERATOR, GENERATOR_VERSION

__all__ = ["DataRoot", "Dataset", "dataset_names", "load_dataset", "load_manifest"]


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
        return cls(root=default_data_root())

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
    class_map: ClassMap | None = None
    """Classes of the model's label space that each of ``classes`` stands for; None where it is one itself."""

    @property
    def name(self) -> str:
        """The manifest's name."""
        return self.manifest.name

    @property
    def folder(self) -> Path:
        """The dataset's own folder; it need not exist."""
        return self.data.folder(self.manifest)

    @property
    def archive_folder(self) -> Path:
        """Where its archives are fetched to; a folder of its own, as two datasets have a ``noise.tar``."""
        return self.data.root / "archives" / self.name

    def scored_fields(self) -> dict[str, object]:
        """Return the fields that can move a number, those of what it is made from among them."""
        fields = self.manifest.scored_fields()
        layout = self.manifest.layout
        if isinstance(layout, GeneratedLayout | RelabelledLayout):
            fields["source"] = self.source().scored_fields()
        if isinstance(layout, GeneratedLayout):
            fields["generator"] = f"{GENERATOR} {GENERATOR_VERSION}"
        if self.manifest.subset is not None:
            fields["subset_digest"] = load_subset(self.manifest.subset, beside=self.data.beside).digest
        if self.class_map is not None:
            fields["class_map_digest"] = self.class_map.digest
        return fields

    def label_keys(self, reader: Reader) -> list[str]:
        """Return the class key of every sample, "" for one without a label."""
        return [self.classes[label] if label >= 0 else "" for label in reader.labels]

    def model_key(self, key: str) -> str:
        """Return the key that stands for a class key in a model's label space: of several, the first."""
        return key if self.class_map is None or not key else self.class_map.classes[key][0]

    def columns(self, sample_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the group columns: for each its value in every sample.

        Raises:
            DataError: A sample id does not have the form that the manifest states.
        """
        return {
            name: [_matched(self.manifest, name, re.compile(pattern), sample_id) for sample_id in sample_ids]
            for name, pattern in self.manifest.columns.items()
        }

    def source(self) -> Dataset:
        """Return the dataset that this one is made from, or that it labels anew."""
        layout = self.manifest.layout
        if not isinstance(layout, GeneratedLayout | RelabelledLayout):
            raise ValueError(f"{self.name} is made from no other dataset")
        fix = f"correct the source in the manifest of {self.name}"
        return load_dataset(layout.source, data=self.data, fix=fix)

    def companion(self) -> Dataset | None:
        """Return the clean images, or for role ``ood`` the in-distribution images, to compare with."""
        name = self.manifest.companion
        if name is None:
            return None
        fix = f"correct the companion in the manifest of {self.name}"
        return load_dataset(name, data=self.data, fix=fix)

    def open(self, condition: Condition, *, seed: int) -> Reader:
        """Return the reader of one condition; names, counts and labels are checked, pixels are not read.

        Raises:
            DataError: The folder is missing, empty, short of images or holds something else.
            FileFormatError: The manifest asks for what cannot be made.
            UsageError: The dataset holds labels alone.
        """
        layout = self.manifest.layout
        if isinstance(layout, RelabelledLayout):
            raise UsageError(
                f"{self.name} holds labels, not images",
                expected=f"{layout.source}, whose images they belong to",
                fix="predict that dataset; a suite reads these labels when it scores",
            )
        # Either takes seconds to load, and the images on disk do without.
        if isinstance(layout, BuiltinLayout):
            from robustbench_safety.data.builtin import open_builtin

            return open_builtin(self.manifest, layout, self.classes)
        if isinstance(layout, GeneratedLayout):
            from robustbench_safety.data.generated import GeneratedReader

            clean = self._clean_images(layout, seed)
            textures = self.data.folder(load_manifest("frost-textures"))
            return GeneratedReader(clean, layout, condition, seed=seed, textures=textures)
        self.check_presence(condition)
        return open_stored(self.place(condition), layout)

    def place(self, condition: Condition) -> Place:
        """Return where a condition's images lie."""
        return Place(manifest=self.manifest, folder=self.folder, condition=condition, classes=self.classes)

    def _clean_images(self, layout: GeneratedLayout, seed: int) -> ArrayReader:
        """Return the clean images that conditions are made from, pictures in files at the variant's size."""
        from robustbench_safety.data.source_sizes import SizedReader

        source = self.source()
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
        return clean if isinstance(clean, ArrayReader) else SizedReader(clean, layout.variant)

    def check_presence(self, condition: Condition) -> list[Path]:
        """Return the files and folders that a condition is read from, if they are there; nothing is counted.

        Raises:
            DataError: They are not; says what to fetch.
        """
        layout, folder, place = self.manifest.layout, self.folder, self.place(condition)
        if isinstance(layout, HuggingFaceLayout) and layout.repository is not None:
            return []
        with reads(folder):
            if not folder.is_dir():
                found = "no such folder"
            elif not any(folder.iterdir()):
                found = "an empty folder"
            else:
                return self._needed(place)
        raise DataError(
            f"dataset {self.name} is not in {folder}",
            expected=", ".join(wanted_paths(place, layout)) or "one folder a class",
            found=found,
            fix=self.how_to_get(),
        )

    def _needed(self, place: Place) -> list[Path]:
        try:
            return needed_paths(place, self.manifest.layout)
        except DataError as error:
            fix = f"{error.fix}, or {self.how_to_get()}" if error.fix else self.how_to_get()
            raise DataError(error.what, expected=error.expected, found=error.found, fix=fix) from error

    def how_to_get(self) -> str:
        """Return what to do to have the dataset where it is looked for."""
        manifest = self.manifest
        point = f"name the folder above with --data DIR, or its own with --data {self.name}=DIR"
        if manifest.by_hand:
            return f"{manifest.by_hand.strip()} Then, or if you have it, {point}"
        parts = " and ".join(
            archive.file + (f" (md5 {archive.md5})" if archive.md5 else "") for archive in manifest.archives
        )
        if any(archive.address for archive in manifest.archives):
            return f"get {parts} with `rbs data fetch {self.name}`, or {point}"
        return (f"unpack {parts} under the data root, or " if parts else "") + point


def _matched(manifest: DatasetManifest, column: str, pattern: re.Pattern[str], sample_id: str) -> str:
    found = pattern.search(sample_id)
    if found is None:
        raise DataError(
            f"{manifest.name}: sample {sample_id} has no {column}",
            expected=f"an id that {pattern.pattern} matches",
            fix="check that the files have their published names",
        )
    return found[1]


def _short(value: object) -> str:
    return f"{len(value)} classes from {value[0]!r} on" if value and isinstance(value, tuple) else str(value)


def dataset_names(*, beside: Path | None = None) -> list[str]:
    """Return the sorted names of the shipped manifests, and of those in a user's own folder."""
    # What else lies in that folder, a suite say, is no dataset.
    own = [path.stem for path in beside.glob("*.yaml") if "layout" in yaml_fields(path)] if beside else []
    return sorted({*resource_names("data_manifests"), *own})


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


def load_dataset(name: str, *, data: DataRoot | str | Path | None = None, fix: str = "") -> Dataset:
    """Return a dataset by name; nothing is read but its manifest and class lists.

    Args:
        name: Name of a manifest.
        data: Data root; None for ``RBS_DATA`` or the user's cache.
        fix: What to do when there is none of that name.

    Raises:
        UnknownNameError: There is no manifest, label space or class subset of that name.
        FileFormatError: One of these files does not hold what it should.
    """
    root = DataRoot(root=Path(data)) if isinstance(data, str | Path) else data or DataRoot.default()
    manifest = load_manifest(name, beside=root.beside, fix=fix)
    mapped = _class_map(manifest, root.beside)
    classes = tuple(mapped.classes) if mapped is not None else _classes(manifest, root.beside)
    return Dataset(manifest=manifest, data=root, classes=classes, class_map=mapped)


def _class_map(manifest: DatasetManifest, beside: Path | None) -> ClassMap | None:
    if manifest.class_map is None:
        return None
    fix = f"correct the manifest of {manifest.name}"
    mapped = load_class_map(manifest.class_map, beside=beside, fix=fix)
    _check_space(manifest, f"class map {mapped.name}", mapped.label_space, fix)
    return mapped


def _classes(manifest: DatasetManifest, beside: Path | None) -> tuple[str, ...]:
    fix = f"correct the manifest of {manifest.name}"
    if manifest.label_space is None:
        return ()
    if manifest.subset is None:
        return load_label_space(manifest.label_space, beside=beside, fix=fix).classes
    subset = load_subset(manifest.subset, beside=beside, fix=fix)
    _check_space(manifest, f"subset {subset.name}", subset.label_space, fix)
    return subset.classes


def _check_space(manifest: DatasetManifest, what: str, found: str, fix: str) -> None:
    if found != manifest.label_space:
        raise FileFormatError(
            f"dataset {manifest.name}: {what} lies in another label space",
            expected=str(manifest.label_space),
            found=found,
            fix=fix,
        )
