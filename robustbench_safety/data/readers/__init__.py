"""Readers of what lies on disk: one small file for each layout."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from robustbench_safety.data.base import Place, Reader
from robustbench_safety.data.readers.cifar import CifarPickleReader
from robustbench_safety.data.readers.clips import NpyClipsReader, VideoReader
from robustbench_safety.data.readers.hub import HuggingFaceReader
from robustbench_safety.data.readers.idx import IdxReader, idx_paths
from robustbench_safety.data.readers.image_folder import ImageFolderReader
from robustbench_safety.data.readers.image_list import ImageListReader
from robustbench_safety.data.readers.mat import MatReader
from robustbench_safety.data.readers.npy import NpyReader
from robustbench_safety.data.readers.parquet import ParquetReader
from robustbench_safety.data.readers.places import globbed, located
from robustbench_safety.data.readers.tar_shards import TarShardsReader
from robustbench_safety.records import (
    BuiltinLayout,
    CifarPickleLayout,
    ClipsLayout,
    GeneratedLayout,
    HuggingFaceLayout,
    IdxLayout,
    ImageFolderLayout,
    ImageListLayout,
    Layout,
    MatLayout,
    NpyLayout,
    ParquetLayout,
    RelabelledLayout,
    TarShardsLayout,
    expanded,
)

__all__ = ["StoredLayout", "needed_paths", "open_stored", "wanted_paths"]

#: Layouts whose images lie on disk.
StoredLayout = (
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
)


def open_stored(place: Place, layout: StoredLayout) -> Reader:
    """Return the reader of one condition; names, counts and labels are checked, pixels are not read.

    Raises:
        DataError: What is there is not what the manifest says.
        StorageError: A file cannot be read.
    """
    match layout:
        case ImageFolderLayout():
            return ImageFolderReader(place, layout)
        case NpyLayout():
            return NpyReader(place, layout)
        case ClipsLayout(format="npy"):
            return NpyClipsReader(place, layout)
        case ClipsLayout():
            return VideoReader(place, layout)
        case ImageListLayout():
            return ImageListReader(place, layout)
        case CifarPickleLayout():
            return CifarPickleReader(place, layout)
        case MatLayout():
            return MatReader(place, layout)
        case IdxLayout():
            return IdxReader(place, layout)
        case TarShardsLayout():
            return TarShardsReader(place, layout)
        case ParquetLayout():
            return ParquetReader(place, layout)
        case HuggingFaceLayout():
            return HuggingFaceReader(place, layout)
        case _:
            assert_never(layout)


def wanted_paths(place: Place, layout: Layout) -> list[str]:
    """Return the paths and globs, below the dataset's folder, that a condition is read from."""
    return [
        expanded(path, place.condition.name, place.condition.level) for path in _templates(layout) if path
    ]


def needed_paths(place: Place, layout: Layout) -> list[Path]:
    """Return the files and folders that a condition is read from; counts are not looked at.

    Raises:
        DataError: One is not there; what stands in its place is named.
    """
    if isinstance(layout, TarShardsLayout):
        return globbed(place, layout.shards)
    if isinstance(layout, ParquetLayout):
        return globbed(place, layout.files)
    if isinstance(layout, IdxLayout):
        return idx_paths(place, layout)
    groups = layout.groups if isinstance(layout, ImageFolderLayout | ClipsLayout) else None
    return [located(place, path, groups) for path in _templates(layout)]


def _templates(layout: Layout) -> list[str]:
    match layout:
        case ImageFolderLayout():
            return [layout.path]
        case ClipsLayout():
            return [layout.path] + ([layout.labels] if layout.labels else [])
        case NpyLayout():
            return [layout.images] + ([layout.labels] if layout.labels else [])
        case ImageListLayout() | MatLayout() | RelabelledLayout():
            return [layout.file]
        case CifarPickleLayout():
            return list(layout.files)
        case IdxLayout():
            return [layout.images, layout.labels]
        case TarShardsLayout():
            return [layout.shards]
        case ParquetLayout():
            return [layout.files]
        case HuggingFaceLayout() | BuiltinLayout() | GeneratedLayout():
            return []
        case _:
            assert_never(layout)
