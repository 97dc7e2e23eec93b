"""What a dataset is: manifest, conditions, label space, class subset."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from robustbench_safety.records.base import Digest, Name, Record, RelativePath, refuse_repeated

__all__ = [
    "Archive",
    "BuiltinLayout",
    "CifarPickleLayout",
    "ClassSubset",
    "Condition",
    "ConditionGroup",
    "ConditionKind",
    "DatasetManifest",
    "GeneratedLayout",
    "ImageFolderLayout",
    "LabelSpace",
    "Layout",
    "NpyLayout",
    "Role",
]

ConditionKind = Literal["clean", "corruption", "sequence", "attack", "detector-pass"]
Role = Literal["clean", "shift", "corruption", "sequence", "ood", "fit", "tune"]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
#: The wnid for ImageNet, the class name elsewhere. It names a folder, and a line feed ends it in a digest.
ClassKey = Annotated[str, Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}$")]


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


class ImageFolderLayout(Record):
    """``<folder>/[path/]<class>/<image>``, one folder a class."""

    type: Literal["image_folder"]
    path: RelativePath = ""
    """Folder of the class folders below the dataset's folder."""


class NpyLayout(Record):
    """A stack of images in one ``.npy`` file, labels in another."""

    type: Literal["npy"]
    images: RelativePath
    """uint8 [N, H, W, 3]."""
    labels: RelativePath | None = None
    """Integers [N]; None for a set without labels (role ``ood``)."""
    class_sorted: bool = False
    """Whether the images stand class by class, so that a limit must go round the classes."""


class CifarPickleLayout(Record):
    """The official pickled batches of CIFAR-10 and CIFAR-100."""

    type: Literal["cifar_pickle"]
    files: dict[RelativePath, Md5 | None] = Field(min_length=1)
    """Batch files in order, each with its published md5 or None."""
    label_field: Literal["labels", "fine_labels"]


class BuiltinLayout(Record):
    """Images that the package makes by itself: no files."""

    type: Literal["builtin"]
    generator: Literal["digits", "gaussian-noise", "rademacher-noise", "blobs"]
    split: Literal["train", "tune", "test"] = "test"


class GeneratedLayout(Record):
    """Corruptions or sequences made on the fly from the clean images of another dataset."""

    type: Literal["generated"]
    source: Name
    """Manifest of the clean images."""
    variant: Literal["cifar"]
    """Whose parameters: ``cifar`` are those of CIFAR-10-C and CIFAR-10-P for 32 px."""


Layout = Annotated[
    ImageFolderLayout | NpyLayout | CifarPickleLayout | BuiltinLayout | GeneratedLayout,
    Field(discriminator="type"),
]

#: Fields of a manifest that cannot move a number.
_PROSE = {"title", "folder", "archives", "licence", "citation", "notes"}


class DatasetManifest(Record):
    """``data_manifests/<name>.yaml``: everything needed to find, check and read a dataset."""

    name: Name
    version: int = Field(ge=1)
    title: str
    role: Role
    layout: Layout
    folder: RelativePath = ""
    """Folder below the data root; empty where nothing lies on disk."""
    conditions: tuple[ConditionGroup, ...] = Field(min_length=1)
    label_space: Name | None
    """None for a set whose images belong to no class (role ``ood``)."""
    subset: Name | None = None
    """Class subset that the images are drawn from; None for the whole label space."""
    samples: int = Field(gt=0)
    """Source images in each condition."""
    image_size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    """Height and width in pixels where all images share one; None where they vary."""
    pre_cropped: bool = False
    """Whether the images on disk are final crops that must not be cropped again."""
    archives: tuple[Archive, ...] = ()
    licence: str
    citation: str
    notes: str = ""

    @model_validator(mode="after")
    def _labels_where_needed(self) -> Self:
        if self.label_space is None and self.role != "ood":
            raise ValueError(f"label_space may be null for role 'ood' alone, not for role {self.role!r}")
        if self.label_space is None and self.subset is not None:
            raise ValueError("a subset needs the label_space that it is drawn from")
        if isinstance(self.layout, NpyLayout) and self.layout.labels is None and self.role != "ood":
            raise ValueError(f"labels may be left out for role 'ood' alone, not for role {self.role!r}")
        if isinstance(self.layout, ImageFolderLayout) and self.label_space is None:
            raise ValueError("an image_folder needs a label_space: its folders are called after the classes")
        return self

    @model_validator(mode="after")
    def _conditions_fit_the_layout(self) -> Self:
        conditions = [
            (g.kind, name, level) for g in self.conditions for name in g.names for level in g.levels
        ]
        refuse_repeated("condition", conditions)
        if isinstance(self.layout, GeneratedLayout):
            if self.layout.source == self.name:
                raise ValueError("a dataset cannot be made from itself")
            if any(group.kind not in ("corruption", "sequence") for group in self.conditions):
                raise ValueError("what is generated is a corruption or a sequence")
        elif len(conditions) > 1:
            raise ValueError(f"layout {self.layout.type} holds one condition, {len(conditions)} are listed")
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
