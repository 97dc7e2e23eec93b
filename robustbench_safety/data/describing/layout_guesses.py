"""How somebody's images are laid out, told from what stands on disk. What classes mean is never guessed."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from robustbench_safety.data.describing.table_guesses import hub_dataset, parquet_files
from robustbench_safety.data.pictures import is_picture
from robustbench_safety.data.readers import StoredLayout
from robustbench_safety.data.readers.image_folder import walked
from robustbench_safety.data.readers.npy import open_npy
from robustbench_safety.errors import DataError, UsageError
from robustbench_safety.files import reads
from robustbench_safety.records import (
    HuggingFaceLayout,
    ImageFolderLayout,
    ImageListLayout,
    NpyLayout,
    ParquetLayout,
    TarShardsLayout,
)

__all__ = ["Found", "look_at"]

_HUB = "hf:"
_LIST_ENDINGS = (".txt", ".csv", ".tsv")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What stands at a place."""

    folder: Path | None
    """The dataset's own; None for a name on the hub."""
    layout: StoredLayout
    samples: int
    classes: tuple[str, ...] = ()
    """Keys found, sorted; empty where labels are numbers or there are none."""
    image_size: tuple[int, int] | None = None

    def numbered(self, classes: Sequence[str]) -> bool:
        """Tell whether the keys found are the numbers of these classes."""
        return set(self.classes) == {str(number) for number in range(len(classes))}


def look_at(source: str, *, images: Path | None, split: str | None, labelled: bool) -> Found:
    """Return what stands at ``source``.

    Args:
        source: Path of a folder or file, or ``hf:owner/name``.
        images: Folder that the paths of a list start from.
        split: Of a Hugging Face dataset.
        labelled: Whether labels are wanted.

    Raises:
        UsageError: Nothing that could be read as images stands there.
        DataError: It is damaged.
    """
    if source.startswith(_HUB):
        return _on_hub(source.removeprefix(_HUB), split, labelled=labelled)
    path = Path(source).resolve()
    with reads(path):
        if path.is_file():
            return _of_file(path, images, labelled=labelled)
        if not path.is_dir():
            raise UsageError(source, expected="a folder, a file, or hf:owner/name", found="nothing there")
    for look in (_saved, _parquet, _tar, _stack):
        found = look(path, split, labelled=labelled)
        if found is not None:
            return found
    return _pictures(path, labelled=labelled)


def _of_file(path: Path, images: Path | None, *, labelled: bool) -> Found:
    look: dict[str, Callable[[], Found | None]] = {
        ".npy": lambda: _stack(path.parent, path.name, labelled=labelled),
        ".tar": lambda: _tar(path.parent, None, labelled=labelled, pattern=path.name),
        ".parquet": lambda: _parquet(path.parent, None, labelled=labelled, pattern=path.name),
    }
    if path.suffix in look:
        found = look[path.suffix]()
    elif path.suffix in _LIST_ENDINGS:
        found = _list(path, images, labelled=labelled)
    else:
        found = None
    if found is None:
        raise UsageError(
            str(path),
            expected="a folder, .npy, .tar, .parquet, a list of files, or hf:owner/name",
            found="a file of another kind",
        )
    return found


def _pictures(folder: Path, *, labelled: bool) -> Found:
    """Pictures in class folders; for images of no class at any depth."""
    if not labelled:
        names, _ = walked(folder)
        if not names:
            raise _nothing(folder)
        layout = ImageFolderLayout(type="image_folder", folders="any")
        return Found(folder=folder, layout=layout, samples=len(names))
    classes: list[str] = []
    n = 0
    with reads(folder), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith("."):
                n += sum(is_picture(name) for name in os.listdir(entry.path))  # noqa: PTH208  # half the time
                classes.append(entry.name)
    if not n:
        raise _nothing(folder)
    layout = ImageFolderLayout(type="image_folder")
    return Found(folder=folder, layout=layout, samples=n, classes=tuple(sorted(classes)))


def _nothing(folder: Path) -> UsageError:
    return UsageError(
        str(folder),
        expected="pictures in class folders (for --role ood anywhere), images.npy, .tar or .parquet files",
        found="none of these",
        fix="name the folder right above the class folders",
    )


def _stack(folder: Path, chosen: str | None, *, labelled: bool) -> Found | None:
    """One stack of images in the folder, and one of labels."""
    stacks: dict[str, tuple[int, ...]] = {}
    labels: list[str] = []
    for path in sorted(folder.glob("*.npy")):
        array = open_npy(path)
        if array.ndim == 4 and array.dtype == "uint8" and chosen in (None, path.name):
            stacks[path.name] = array.shape
        elif array.ndim == 1 and array.dtype.kind in "iu":
            labels.append(path.name)
    if not stacks:
        return None
    if len(stacks) > 1:
        raise UsageError(
            str(folder), expected="one stack of images", found=", ".join(stacks), fix="name the file"
        )
    (name, shape), = stacks.items()  # fmt: skip
    if labelled and len(labels) != 1:
        raise UsageError(
            str(folder),
            expected="one .npy of whole numbers, the labels, beside the images",
            found=", ".join(labels) or "none",
            fix="keep the two files in a folder of their own, or use --role ood for images without labels",
        )
    layout = NpyLayout(type="npy", images=name, labels=labels[0] if labelled else None)
    return Found(folder=folder, layout=layout, samples=shape[0], image_size=(shape[1], shape[2]))


def _tar(folder: Path, _split: str | None, *, labelled: bool, pattern: str = "*.tar") -> Found | None:
    """Tar shards: labels in ``.cls`` members, or in the folders of the members."""
    shards = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not shards:
        return None
    n = 0
    folders: set[str] = set()
    endings: set[str] = set()
    for path in shards:
        try:
            with tarfile.open(path, "r:") as shard:
                for member in shard:
                    name = PurePosixPath(member.name)
                    endings.add(name.name.partition(".")[2])
                    if member.isfile() and is_picture(name.name):
                        n += 1
                        folders.add(name.parent.name)
        except tarfile.TarError as error:
            raise DataError(f"{path} is no whole plain tar", found=str(error)) from error
    numbers = "cls" in endings
    layout = TarShardsLayout(
        type="tar_shards",
        shards=pattern,
        label="cls" if labelled and numbers else None,
        labels=("index" if numbers else "key") if labelled else "none",
    )
    classes = tuple(sorted(folders)) if labelled and not numbers else ()
    return Found(folder=folder, layout=layout, samples=n, classes=classes)


def _parquet(folder: Path, _split: str | None, *, labelled: bool, pattern: str | None = None) -> Found | None:
    for files in [pattern] if pattern else ["*.parquet", "data/*.parquet"]:
        if not any(folder.glob(files)):
            continue
        table = parquet_files(sorted(folder.glob(files)), labelled=labelled)
        layout = ParquetLayout(
            type="parquet", files=files, image=table.image, label=table.label, labels=table.labels,
            sample_id=table.sample_id)  # fmt: skip
        return Found(folder=folder, layout=layout, samples=table.samples, classes=table.classes)
    return None


def _saved(folder: Path, split: str | None, *, labelled: bool) -> Found | None:
    """A folder that the datasets library saved."""
    if not any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return None
    layout, table = hub_dataset(None, folder, split, labelled=labelled)
    return Found(folder=folder, layout=layout, samples=table.samples, classes=table.classes)


def _on_hub(repository: str, split: str | None, *, labelled: bool) -> Found:
    layout: HuggingFaceLayout
    layout, table = hub_dataset(repository, Path(), split, labelled=labelled)
    return Found(folder=None, layout=layout, samples=table.samples, classes=table.classes)


def _list(path: Path, images: Path | None, *, labelled: bool) -> Found:
    """A list of files: OpenOOD's words, or a table with a head line."""
    start = (images or path.parent).resolve()
    folder = Path(os.path.commonpath([path.parent, start]))
    below = "" if start == folder else f"{start.relative_to(folder).as_posix()}/"
    relative = path.relative_to(folder).as_posix()
    with reads(path):
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if path.suffix == ".txt":
        layout = ImageListLayout(
            type="image_list", file=relative, format="words", image="0", label="1" if labelled else None,
            labels="index" if labelled else "none", path=f"{below}{{image}}")  # fmt: skip
        return Found(folder=folder, layout=layout, samples=len(lines))
    raise UsageError(
        str(path),
        expected="a .txt list with a path and a class number a line",
        found=path.suffix,
        fix="copy data_manifests/robin-context.yaml or tiny-imagenet.yaml, which read tables, and change it",
    )
