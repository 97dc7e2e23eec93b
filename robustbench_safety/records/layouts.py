"""How the images of a dataset lie: one record for each way; a reader of the same name reads it.

A path may hold ``{name}`` and ``{level}``, which stand for the condition's, and ``{suffix}``, which is empty
at level 1 and ``_2``, ``_3`` ... above it.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from robustbench_safety.records.base import Name, Record, RelativePath, is_empty

__all__ = [
    "BuiltinLayout",
    "CifarPickleLayout",
    "ClipsLayout",
    "GeneratedLayout",
    "HuggingFaceLayout",
    "IdxLayout",
    "ImageFolderLayout",
    "ImageListLayout",
    "LabelFormat",
    "Layout",
    "MatLayout",
    "Md5",
    "NpyLayout",
    "ParquetLayout",
    "RelabelledLayout",
    "TarShardsLayout",
    "expanded",
    "placed",
]

Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
#: What a stored label is: the class key, the index in the dataset's classes, or nothing that is read.
LabelFormat = Literal["key", "index", "none"]

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS = {"name", "level", "suffix"}


def _known_placeholders(path: str) -> str:
    for found in _PLACEHOLDER.findall(path):
        if found not in _PLACEHOLDERS:
            raise ValueError(f"{{{found}}} stands for nothing: only {{name}}, {{level}} and {{suffix}} do")
    return path


#: Path below the dataset's folder, with placeholders.
Template = Annotated[RelativePath, AfterValidator(_known_placeholders)]
#: Optional folders above a condition's own, with the conditions that each may hold.
FolderGroups = dict[Name, tuple[Name, ...]]


class ImageFolderLayout(Record):
    """``<folder>/[path/]<class>/<image>``, one folder a class."""

    type: Literal["image_folder"]
    path: Template = ""
    """Folder of the class folders below the dataset's folder."""
    folders: Literal["key", "number", "any"] = Field(default="key", exclude_if=lambda value: value == "key")
    """What class folders are called after: the class keys; the class's number, written as decimal digits
    (ImageNet-V2, where sorting the names as text would mix the classes up); or ``any``: pictures at any
    depth, whose folders say nothing (roles ``ood`` and ``material``)."""
    groups: FolderGroups = Field(default_factory=dict, exclude_if=is_empty)
    """Some copies keep a folder level above the path: ``noise/gaussian_noise/1`` for ``gaussian_noise/1``."""
    others: Literal["refuse", "leave"] = Field(default="refuse", exclude_if=lambda value: value == "refuse")
    """What to do with folders that stand for no class. ObjectNet has 313, of which 113 are read."""


class NpyLayout(Record):
    """A stack of images in one ``.npy`` file, labels in another."""

    type: Literal["npy"]
    images: Template
    """uint8 [N, H, W, 3]."""
    labels: Template | None = None
    """Integers [N]; None for a set without labels (role ``ood``)."""
    class_sorted: bool = False
    """Whether the images stand class by class, so that a limit must go round the classes."""
    levels_in_rows: int = Field(default=0, ge=0, exclude_if=is_empty)
    """Levels that one file holds, the lowest first, each with as many rows as the dataset has samples;
    labels likewise. CIFAR-10-C holds 5: rows 10000 (s - 1) to 10000 s - 1 are severity s. 0: a file holds
    one condition."""


class ClipsLayout(Record):
    """Perturbation sequences: a stack of clips in one ``.npy`` file, or one video a clip in class folders."""

    type: Literal["clips"]
    format: Literal["npy", "video"]
    path: Template
    """uint8 [N, F, H, W, 3]; or the folder of the class folders."""
    groups: FolderGroups = Field(default_factory=dict, exclude_if=is_empty)
    """Optional folders above the path, as in an image folder."""
    frames: Annotated[int, Field(ge=2)]
    """Frames of a clip."""
    frames_of: dict[Name, Annotated[int, Field(ge=2)]] = Field(default_factory=dict)
    """Frames of the sequences that have another number."""
    labels: RelativePath | None = None
    """Integers [N] beside a stack; None where clips have no labels. A flip needs none."""


class ImageListLayout(Record):
    """A text file that names one image a line."""

    type: Literal["image_list"]
    file: Template
    """The list, below the dataset's folder."""
    format: Literal["words", "csv", "tsv"]
    """``words``: path and class number with a blank between (the lists of OpenOOD); ``csv`` with a head line;
    ``tsv`` without one."""
    image: str
    """Column of the path: its name, or its number from 0 where there is no head line."""
    label: str | None
    """Column of the label; None where it is not read."""
    labels: LabelFormat
    path: RelativePath = "{image}"
    """Where an image lies below the dataset's folder; ``{image}`` and ``{label}`` stand for its columns."""

    @model_validator(mode="after")
    def _a_path_names_the_image(self) -> Self:
        unknown = set(_PLACEHOLDER.findall(self.path)) - {"image", "label"}
        if unknown or "{image}" not in self.path:
            raise ValueError("path holds {image}, and may hold {label}, and no other braces")
        if "{label}" in self.path and self.label is None:
            raise ValueError("path holds {label}, and label names no column")
        if (self.label is None) != (self.labels == "none"):
            raise ValueError("labels are 'none' where label names no column, and nowhere else")
        return self


class CifarPickleLayout(Record):
    """The official pickled batches of CIFAR-10 and CIFAR-100."""

    type: Literal["cifar_pickle"]
    files: dict[RelativePath, Md5 | None] = Field(min_length=1)
    """Batch files in order, each with its published md5 or None."""
    label_field: Literal["labels", "fine_labels"]


class MatLayout(Record):
    """A MATLAB file (SVHN)."""

    type: Literal["mat"]
    file: RelativePath
    images: str
    """Variable of the images, uint8 [H, W, 3, N]."""
    labels: str
    """Variable of the labels, whole numbers [N] or [N, 1]."""
    label_of_class_0: int = 0
    """Number that stands for class 0; the others are class indices. SVHN writes 10 for the digit 0."""
    md5: Md5 | None = None


class IdxLayout(Record):
    """The IDX files of MNIST and its relatives, gzipped or not; grey becomes RGB."""

    type: Literal["idx"]
    images: RelativePath
    """uint8 [N, H, W]."""
    labels: RelativePath
    """uint8 [N]."""


class TarShardsLayout(Record):
    """Tar files in WebDataset form: members that share the name up to the first dot are one sample."""

    type: Literal["tar_shards"]
    shards: RelativePath
    """Glob of the shards; they are read in the order of their names."""
    label: str | None
    """Ending of the member that holds the label as text, ``cls`` say; None: the folder is the label."""
    labels: LabelFormat


class ParquetLayout(Record):
    """Parquet files with a column of encoded images, as the Hugging Face hub stores them."""

    type: Literal["parquet"]
    files: RelativePath
    """Glob of the files; they are read in the order of their names."""
    image: str
    """Column of the images: bytes, or a struct with ``bytes``."""
    label: str | None
    labels: LabelFormat
    sample_id: str | None = None
    """Column of the sample ids; None for the row's zero-padded number."""


class HuggingFaceLayout(Record):
    """What the ``datasets`` library reads: a local folder, or a name on the hub. No code of it runs."""

    type: Literal["hugging_face"]
    repository: str | None = None
    """``owner/name`` on the hub; None for the dataset's own folder."""
    revision: str | None = None
    """Commit on the hub. Without one the numbers move when the repository does."""
    config: str | None = None
    split: str
    image: str
    label: str | None
    labels: LabelFormat
    sample_id: str | None = None

    @model_validator(mode="after")
    def _a_revision_belongs_to_a_repository(self) -> Self:
        if self.revision is not None and self.repository is None:
            raise ValueError("a revision belongs to a repository on the hub; a local folder has none")
        return self


class RelabelledLayout(Record):
    """Other labels for the images of another dataset, joined by sample id: its predictions serve both."""

    type: Literal["relabelled"]
    source: Name
    """Manifest of the images."""
    file: RelativePath
    """The labels, below the dataset's folder."""
    format: Literal["real_json", "counts_npy"]
    """``real_json``: a list of lists of class indices for ILSVRC2012_val_00000001 onward (ReaL);
    ``counts_npy``: how many people chose each class, [N, K] in the source's order (CIFAR-10H)."""


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
    variant: Literal["imagenet", "inception", "tiny", "cifar"]
    """Whose parameters, and so whose size: 224, 299, 64 and 32 px. Pictures in files are first brought to it
    as the authors did; the images of a stack must have it."""
    saved_as: Literal["array", "jpeg85"] = Field(default="array", exclude_if=lambda value: value == "array")
    """``jpeg85``: corruptions end with the way through a JPEG file of quality 85 that the published images of
    all variants but ``cifar`` went. ``array``: they do not. Sequences are never JPEG."""


Layout = Annotated[
    ImageFolderLayout
    | NpyLayout
    | ClipsLayout
    | ImageListLayout
    | CifarPickleLayout
    | MatLayout
    | IdxLayout
    | TarShardsLayout
    | ParquetLayout
    | HuggingFaceLayout
    | RelabelledLayout
    | BuiltinLayout
    | GeneratedLayout,
    Field(discriminator="type"),
]


def expanded(template: str, name: str, level: int) -> str:
    """Return the path that a template stands for under a condition.

    Example:
        >>> expanded("{name}/{level}", "fog", 3), expanded("{name}{suffix}.npy", "fog", 1)
        ('fog/3', 'fog.npy')
    """
    values = {"{name}": name, "{level}": str(level), "{suffix}": "" if level < 2 else f"_{level}"}
    for placeholder, value in values.items():
        template = template.replace(placeholder, value)
    return template


def placed(layout: Layout, name: str, level: int) -> tuple[str, int]:
    """Return what tells where a condition's images lie from where any other's do."""
    match layout:
        case ImageFolderLayout() | ClipsLayout():
            return expanded(layout.path, name, level), 0
        case NpyLayout():
            return expanded(layout.images, name, level), level if layout.levels_in_rows else 0
        case ImageListLayout():
            return expanded(layout.file, name, level), 0
        case _:
            return "", 0
