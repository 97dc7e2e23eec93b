"""Datasets that the ``datasets`` library reads: names on the Hugging Face hub, and folders in its formats."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import FileReader, Indices, Place, Stored, array_ids, check_count, stamp_of
from robustbench_safety.data.pictures import decode_image
from robustbench_safety.data.readers.columns import (
    check_columns,
    check_groups,
    check_picture_type,
    check_unique,
    class_numbers,
    label_column,
    picture_bytes,
    stand_class_by_class,
    text_ids,
)
from robustbench_safety.data.readers.hub_loading import failures_named, load_split, quiet, source_name
from robustbench_safety.errors import DataError
from robustbench_safety.files import digest_of, read_bytes
from robustbench_safety.records import HuggingFaceLayout

if TYPE_CHECKING:
    import datasets

__all__ = ["HuggingFaceReader"]

#: As for an image folder: the largest picture of ImageNet has 15 MB.
_LARGEST_FILE = 64 * 2**20
#: Bytes handed out before the files are mapped anew: pages that were read count as this process's memory.
_MAPPED_BYTES = 256 * 2**20


class HuggingFaceReader(FileReader):
    """One split, mapped into memory from the library's own cache."""

    def __init__(self, place: Place, layout: HuggingFaceLayout) -> None:
        self._place, self._layout = place, layout
        self._where = source_name(place, layout)
        with quiet(), failures_named(place, layout):
            data = load_split(place, layout)
            self._files = [Path(file["filename"]) for file in data.cache_files]
            self._version = [
                data._fingerprint,
                layout.repository,
                layout.revision,
                layout.config,
                layout.split,
            ]
            self._read_columns(data)
            self._rows = self._pictures(data)
        self._handed_out = 0

    def _read_columns(self, data: datasets.Dataset) -> None:
        place, layout, where = self._place, self._layout, self._where
        label = label_column(place, layout.label, layout.labels)
        wanted = [name for name in (label, layout.sample_id) if name is not None]
        check_columns(where, data.column_names, [layout.image, *wanted])
        n = data.num_rows
        check_count(where, place.manifest, n)
        table = data.select_columns(wanted).with_format("arrow")[:] if wanted else None
        self.sample_ids, self.labels = array_ids(n), np.full(n, -1, dtype=np.int64)
        if layout.sample_id is not None and table is not None:
            self.sample_ids = text_ids(where, layout.sample_id, table.column(layout.sample_id))
            check_unique(where, self.sample_ids)
        if label is not None and table is not None:
            names = getattr(data.features[label], "names", None)
            self._groups = class_numbers(where, place, layout.labels, table.column(label), names)
            self.labels = check_groups(where, place, self._groups)
            self.class_sorted = stand_class_by_class(self._groups)

    def _pictures(self, data: datasets.Dataset) -> datasets.Dataset:
        """Return the image column alone, with the encoded files as they are stored."""
        image = self._layout.image
        # In this format the library decodes nothing.
        rows = data.select_columns([image]).with_format("arrow")
        check_picture_type(self._where, image, rows.features.arrow_schema.field(image).type)
        return rows

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the encoded files."""
        with failures_named(self._place, self._layout):
            cells = self._rows[indices.tolist()].column(self._layout.image).to_pylist()
        pictures = [self._picture(int(i), cell) for i, cell in zip(indices, cells, strict=True)]
        self._handed_out += sum(map(len, pictures))
        if self._files and self._handed_out > _MAPPED_BYTES:
            self._handed_out = 0
            # What the library does to hand a dataset to another process: names and places of files, no rows.
            # Nothing but our own object is unpickled.
            self._rows = pickle.loads(pickle.dumps(self._rows))  # noqa: S301
        return pictures

    def _picture(self, index: int, cell: object) -> bytes:
        if isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path") is not None:
            return read_bytes(self._own_file(index, str(cell["path"])), largest=_LARGEST_FILE)
        return picture_bytes(self._row(index), cell)

    def _own_file(self, index: int, path: str) -> Path:
        """Return the file that a row names, if it is one of the dataset's: rows could name any."""
        from datasets import config
        from huggingface_hub import constants

        if self._layout.repository is None:
            roots = [str(self._place.folder), config.HF_DATASETS_CACHE]
        else:
            roots = [config.HF_DATASETS_CACHE, constants.HF_HUB_CACHE]
        # Links are followed, as in an image folder; ".." is not.
        plain = Path(os.path.normpath(path))
        if any(plain.is_relative_to(Path(root).resolve()) for root in roots):
            return plain
        raise DataError(
            f"{self._row(index)} names a file outside the dataset",
            expected=f"one below {' or '.join(map(str, roots))}",
            found=path,
            fix="take a copy that holds the pictures themselves",
        )

    def _row(self, index: int) -> str:
        return f"{self._where}, row {index}"

    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        """Return uint8 [H, W, 3]; a damaged picture is named by its row."""
        return decode_image(stored, Path(self._row(index)))

    def files(self) -> Sequence[Path]:
        """Return the files in the library's cache, or the saved ones; none where rows are in memory."""
        return self._files

    def stamp(self) -> str:
        """Return a digest over the dataset's fingerprint, what was asked for, and the files."""
        return digest_of([*self._version, stamp_of(self._files)])
