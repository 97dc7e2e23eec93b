"""Which columns of a table hold pictures, labels and ids, told from their types and usual names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from robustbench_safety.data.base import Place
from robustbench_safety.data.readers.columns import label_names
from robustbench_safety.data.readers.hub_loading import failures_named, load_split, quiet
from robustbench_safety.errors import DataError, UsageError
from robustbench_safety.records import (
    Condition,
    ConditionGroup,
    DatasetManifest,
    HuggingFaceLayout,
    LabelFormat,
)

__all__ = ["Table", "hub_dataset", "parquet_files"]

_LABELS = ("label", "labels", "cls", "class", "target", "fine_label")
_IDS = ("sample_id",)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns of a table of images."""

    image: str
    label: str | None
    labels: LabelFormat
    sample_id: str | None
    samples: int
    classes: tuple[str, ...]
    """Keys found, in the table's own order; empty where labels are bare numbers."""


def parquet_files(files: Sequence[Path], *, labelled: bool) -> Table:
    """Look at Parquet files.

    Raises:
        DataError: One is damaged.
        UsageError: No column holds encoded pictures, or none holds labels where they are wanted.
    """
    try:
        samples = 0
        keys: set[str] = set()
        for path in files:
            with pq.ParquetFile(path) as file:
                samples += file.metadata.num_rows
                schema, metadata = file.schema_arrow, file.schema_arrow.metadata
                label = _first(schema.names, _LABELS) if labelled else None
                if label is not None and _is_text(schema.field(label).type):
                    keys |= set(file.read([label]).column(label).to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is no whole Parquet file", found=str(error)) from error
    named = label_names(path, metadata, label) if label is not None else None
    return _table(str(files[0].parent), schema, label, samples, named or sorted(keys), labelled=labelled)


def hub_dataset(
    repository: str | None, folder: Path, split: str | None, *, labelled: bool
) -> tuple[HuggingFaceLayout, Table]:
    """Look at a split of what the datasets library reads.

    Raises:
        DataError: It is not there or not in reach.
        UsageError: No column holds encoded pictures, or none holds labels where they are wanted.
    """
    name, _, revision = (repository or "").partition("@")
    layout = HuggingFaceLayout(
        type="hugging_face", repository=name or None, revision=revision or None, split=split or "test",
        image="image", label=None, labels="none")  # fmt: skip
    place = _unknown_place(layout, folder)
    with quiet(), failures_named(place, layout):
        data = load_split(place, layout)
        schema = data.features.arrow_schema
        label = _first(schema.names, _LABELS) if labelled else None
        named = getattr(data.features[label], "names", None) if label is not None else None
        if label is not None and named is None and _is_text(schema.field(label).type):
            named = sorted(set(data[label]))
    table = _table(name or str(folder), schema, label, data.num_rows, named or [], labelled=labelled)
    columns = {
        "image": table.image, "label": table.label, "labels": table.labels, "sample_id": table.sample_id,
    }  # fmt: skip
    return layout.model_copy(update=columns), table


def _unknown_place(layout: HuggingFaceLayout, folder: Path) -> Place:
    """Return a place for what is only looked at yet."""
    clean = ConditionGroup(kind="clean", names=("clean",), levels=(0,))
    manifest = DatasetManifest(
        name="new", version=1, title="new", role="ood", layout=layout, conditions=(clean,), label_space=None,
        samples=1, licence="", citation="")  # fmt: skip
    condition = Condition(dataset="new", kind="clean", name="clean", level=0)
    return Place(manifest=manifest, folder=folder, condition=condition, classes=())


def _table(
    where: str, schema: pa.Schema, label: str | None, samples: int, classes: Sequence[str], *, labelled: bool
) -> Table:
    images = [field.name for field in schema if _holds_files(field.type)]
    if len(images) != 1:
        found = ", ".join(images) or f"none among {', '.join(schema.names)}"
        raise UsageError(where, expected="one column of encoded pictures", found=found)
    if labelled and label is None:
        raise UsageError(
            where,
            expected=f"a column of labels: {', '.join(_LABELS)}",
            found=", ".join(schema.names),
            fix="use --role ood for images that belong to no class",
        )
    labels: LabelFormat = "none" if label is None else "key" if classes else "index"
    sample_id = _first(schema.names, _IDS)
    return Table(
        image=images[0], label=label, labels=labels, sample_id=sample_id, samples=samples,
        classes=tuple(classes))  # fmt: skip


def _first(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _holds_files(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
