"""What a dataset is: manifest, conditions, label space, class subset."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from robustbench_safety.records.base import Digest, Name, Record, RelativePath, is_empty, refuse_repeated
from robustbench_safety.records.layouts import (
    ClipsLayout,
    GeneratedLayout,
    ImageFolderLayout,
    Layout,
    Md5,
    NpyLayout,
    RelabelledLayout,
    placed,
)

__all__ = [
    "Archive",
    "ClassMap",
    "ClassNames",
    "ClassSubset",
    "Condition",
    "ConditionGroup",
    "ConditionKind",
    "DatasetManifest",
    "LabelSpace",
    "Role",
]

ConditionKind = Literal["clean", "corruption", "sequence", "attack", "detector-pass"]
Role = Literal["clean", "shift", "corruption", "sequence", "ood", "fit", "tune", "labels", "material"]
#: Roles of images that may belong to no class.
_WITHOUT_CLASSES = ("ood", "material")
#: The wnid for ImageNet, the class name elsewhere. It names a folder, and a line feed ends it in a digest.
ClassKey = Annotated[str, Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}$")]


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"a column is what one pair of parentheses matches; there are {groups}")
    return pattern


class Condition(Record):
    """One way of showing a dataset to a model: a value, not a formatted string."""

    dataset: Name
    """Name of the manifest."""
    kind: ConditionKind
    name: Name
    """Corruption, sequence or attack; ``clean`` where the images are shown as they are. The name of an
    attack carries norm, eps, steps, step and seed."""
    level: int = Field(ge=0)
    """Severity or difficulty; 0 where there is none."""

    @property
    def path(self) -> str:
        """Where predictions on it lie below a run folder, without the file's ending."""
        return f"{self.dataset}/{self.kind}/{self.name}-{self.level}"


class ConditionGroup(Record):
    """Conditions of one kind: every name at every level."""

    kind: ConditionKind
    names: tuple[Name, ...] = Field(min_length=1)
    levels: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)


class Archive(Record):
    """One published file."""

    file: str
    bytes: int | None = Field(default=None, gt=0)
    md5: Md5 | None = None
    sha256: Digest | None = None
    address: str | None = None
    """Where it can be fetched without a login; None where it must be got by hand."""
    unpack_to: RelativePath | None = Field(default="", exclude_if=lambda value: value == "")
    """Folder below the data root that it is unpacked into; None for a file that is used as it is, and then it
    is put into the dataset's folder."""


#: Fields of a manifest that cannot move a number.
_PROSE = {
    "title", "folder", "archives", "licence", "citation", "notes",
    "file_md5", "by_hand", "unverified", "extras", "headline", "headline_levels", "companion",
}  # fmt: skip


class DatasetManifest(Record):
    """``data_manifests/<name>.yaml``: everything needed to find, check and read a dataset."""

    name: Name
    version: int = Field(ge=1)
    title: str
    role: Role
    """``labels``: other labels for the images of another dataset; ``material``: no model is tested on it, a
    corruption is made of it."""
    layout: Layout
    folder: RelativePath = ""
    """Folder below the data root; empty where nothing lies on disk."""
    conditions: tuple[ConditionGroup, ...] = Field(min_length=1)
    headline: tuple[Name, ...] = ()
    """Conditions that the published mean is taken over; empty for all. ImageNet-C has 15 of 19."""
    headline_levels: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Levels of that mean; empty for all."""
    label_space: Name | None
    """None for a set whose images belong to no class (roles ``ood`` and ``material``)."""
    subset: Name | None = None
    """Class subset that the images are drawn from; None for the whole label space."""
    class_map: Name | None = Field(default=None, exclude_if=is_empty)
    """Map from the dataset's own classes to sets of classes of ``label_space``: any of a set is right."""
    columns: dict[Name, Annotated[str, AfterValidator(_one_group)]] = Field(
        default_factory=dict, exclude_if=is_empty
    )
    """Group columns: what the one pair of parentheses of a regular expression matches in the sample id."""
    samples: int = Field(gt=0)
    """Source images in each condition."""
    samples_also: tuple[Annotated[int, Field(gt=0)], ...] = Field(default=(), exclude_if=is_empty)
    """Other numbers of images that count as whole, where sources disagree; the record says which it was."""
    samples_per_class: int | None = Field(default=None, gt=0, exclude_if=is_empty)
    """Images of each class, where all classes have as many."""
    image_size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    """Height and width in pixels where all images share one; None where they vary."""
    pre_cropped: bool = False
    """Whether the images on disk are final crops that must not be cropped again."""
    border: int = Field(default=0, ge=0, exclude_if=is_empty)
    """Pixels cut from each side before anything else (ObjectNet's red border)."""
    resize_to_input: bool = Field(default=False, exclude_if=is_empty)
    """For networks that state no resize (those of 32 px): resize the shorter side to their input size and
    crop the centre, as outlier exposure does. False: images of another size are refused there."""
    recropped: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = Field(
        default=None, exclude_if=is_empty
    )
    """(256, 224): every network is shown the centre of the image resized to 256, in this proportion where it
    takes another size than 224, whatever resize it states itself. A protocol of the dataset's users."""
    companion: Name | None = None
    """Clean images to compare with; for role ``ood`` the in-distribution images."""
    archives: tuple[Archive, ...] = ()
    file_md5: dict[RelativePath, Md5] = Field(default_factory=dict)
    """Published md5 of single files of the unpacked copy, by path below the dataset's folder."""
    by_hand: str = ""
    """What to do where a licence or a login stands before the archives; empty where they can be fetched."""
    extras: tuple[str, ...] = ()
    """Patterns of files that the published copy holds beside the images: ``README*``."""
    licence: str
    citation: str
    unverified: tuple[str, ...] = ()
    """What of the above was recalled or inferred, and not read in a source."""
    notes: str = ""

    @model_validator(mode="after")
    def _labels_where_needed(self) -> Self:
        layout = self.layout
        if self.label_space is None and self.role not in _WITHOUT_CLASSES:
            raise ValueError(
                f"label_space may be null for roles 'ood' and 'material' alone, not for role {self.role!r}"
            )
        for name in ("subset", "class_map"):
            if self.label_space is None and getattr(self, name) is not None:
                raise ValueError(f"a {name} needs the label_space that it is drawn from")
        if isinstance(layout, NpyLayout) and layout.labels is None and self.role != "ood":
            raise ValueError(f"labels may be left out for role 'ood' alone, not for role {self.role!r}")
        if isinstance(layout, ImageFolderLayout):
            if self.label_space is None and layout.folders != "any":
                raise ValueError(
                    "an image_folder needs a label_space: its folders are called after the classes"
                )
            if layout.folders == "any" and self.role not in _WITHOUT_CLASSES:
                raise ValueError(
                    "folders may be 'any' for roles 'ood' and 'material' alone: they say no class"
                )
        if getattr(layout, "labels", "") == "none" and self.role != "ood":
            raise ValueError(f"labels may be 'none' for role 'ood' alone, not for role {self.role!r}")
        if isinstance(layout, RelabelledLayout) != (self.role == "labels"):
            raise ValueError("role 'labels' and layout 'relabelled' go together")
        return self

    @model_validator(mode="after")
    def _conditions_fit_the_layout(self) -> Self:
        conditions = self.all_conditions()
        refuse_repeated("condition", [(one.kind, one.name, one.level) for one in conditions])
        names = {condition.name for condition in conditions}
        for name in self.headline:
            if name not in names:
                raise ValueError(f"headline names {name!r}, which is no condition")
        levels = {condition.level for condition in conditions}
        for level in self.headline_levels:
            if level not in levels:
                raise ValueError(f"headline_levels names {level}, which is no condition's level")
        layout = self.layout
        kinds = {condition.kind for condition in conditions}
        if isinstance(layout, GeneratedLayout):
            if layout.source == self.name:
                raise ValueError("a dataset cannot be made from itself")
            if kinds - {"corruption", "sequence"}:
                raise ValueError("what is generated is a corruption or a sequence")
            return self
        if ("sequence" in kinds) != isinstance(layout, ClipsLayout) or len(kinds) > 1:
            raise ValueError("stored sequences have layout clips, and conditions of one kind")
        places = [placed(layout, condition.name, condition.level) for condition in conditions]
        if len(set(places)) < len(places):
            holds = "one condition" if len(set(places)) == 1 else f"{len(set(places))} conditions"
            raise ValueError(f"layout {layout.type} holds {holds}, {len(places)} are listed")
        return self

    def all_conditions(self) -> tuple[Condition, ...]:
        """Return every condition in the manifest's order."""
        return tuple(
            Condition(dataset=self.name, kind=group.kind, name=name, level=level)
            for group in self.conditions
            for name in group.names
            for level in group.levels
        )

    def scored_fields(self) -> dict[str, object]:
        """Return the fields that can move a number: what a suite's digest covers."""
        return self.model_dump(mode="json", exclude=_PROSE)


class LabelSpace(Record):
    """``data_manifests/labels/<name>.yaml``: the classes of a label space, in index order."""

    name: Name
    classes: tuple[ClassKey, ...] = Field(min_length=2)
    digest: Digest
    """sha256 of the keys, each followed by a line feed."""
    source: str

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        refuse_repeated("class", self.classes)
        return self


class ClassSubset(Record):
    """``data_manifests/subsets/<name>.yaml``: an ordered list of classes within a label space."""

    name: Name
    label_space: Name
    classes: tuple[ClassKey, ...] = Field(min_length=2)
    count: int
    digest: Digest
    """sha256 of the keys, each followed by a line feed."""
    source: str

    @model_validator(mode="after")
    def _counted(self) -> Self:
        refuse_repeated("class", self.classes)
        if len(self.classes) != self.count:
            raise ValueError(f"the list has {len(self.classes)} classes, count says {self.count}")
        return self


class ClassNames(Record):
    """``data_manifests/class_names/<label space>.yaml``: the words for its classes."""

    name: Name
    """Of the label space."""
    prompts: dict[ClassKey, str] = Field(min_length=2)
    """By class, in index order: the name that prompt templates are filled with."""
    lemmas: dict[ClassKey, str] = Field(default_factory=dict)
    """By class: the words that published label lists write, e.g. ``tench, Tinca tinca``."""
    source: str


class ClassMap(Record):
    """``data_manifests/maps/<name>.yaml``: classes of a dataset, each with the classes that mean the same."""

    name: Name
    label_space: Name
    classes: dict[ClassKey, tuple[ClassKey, ...]] = Field(min_length=2)
    """By class of the dataset: classes of ``label_space``, any of which is right."""
    count: int
    digest: Digest
    """sha256 of the lines ``class<tab>member,member``, each followed by a line feed."""
    source: str

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if len(self.classes) != self.count:
            raise ValueError(f"the map has {len(self.classes)} classes, count says {self.count}")
        for key, members in self.classes.items():
            if not members:
                raise ValueError(f"class {key!r} stands for nothing")
            refuse_repeated(f"class {key!r}: member", members)
        return self
