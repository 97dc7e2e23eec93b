"""A manifest in words, for people."""

from __future__ import annotations

from robustbench_safety.data import Dataset
from robustbench_safety.errors import DataError
from robustbench_safety.records import (
    Archive,
    BuiltinLayout,
    ConditionGroup,
    GeneratedLayout,
    HuggingFaceLayout,
    RelabelledLayout,
)

__all__ = ["archive_in_words", "fields_in_words", "presence"]


def presence(dataset: Dataset) -> str:
    """Say whether the files of a dataset are where they are looked for; nothing is counted."""
    layout = dataset.manifest.layout
    if isinstance(layout, BuiltinLayout):
        return "built in"
    if isinstance(layout, GeneratedLayout):
        return presence(dataset.source())
    if isinstance(layout, HuggingFaceLayout) and layout.repository is not None:
        return "on the hub"
    conditions = dataset.manifest.all_conditions()
    there = 0
    for condition in conditions:
        try:
            dataset.check_presence(condition)
            there += 1
        except DataError:
            continue
    if there in (0, len(conditions)):
        return "yes" if there else "no"
    return f"{there} of {len(conditions)} conditions"


def fields_in_words(dataset: Dataset) -> list[tuple[str, str]]:
    """Return everything that the manifest says: (field, value)."""
    manifest = dataset.manifest
    rows = [
        ("title", manifest.title),
        ("version", str(manifest.version)),
        ("role", manifest.role),
        ("layout", _layout_in_words(dataset)),
        ("folder", str(dataset.folder) if manifest.folder else "–"),
        ("at hand", presence(dataset)),
        ("conditions", "\n".join(_conditions_in_words(group) for group in manifest.conditions)),
        ("images a condition", _counts_in_words(dataset)),
        ("label space", _classes_in_words(dataset)),
        ("preprocessing", _preprocessing_in_words(dataset)),
        ("compared with", manifest.companion or "–"),
        ("archives", "\n".join(archive_in_words(archive) for archive in manifest.archives) or "–"),
        ("licence", manifest.licence),
        ("citation", manifest.citation),
        ("not verified", "\n".join(manifest.unverified) or "–"),
        ("notes", manifest.notes or "–"),
        ("how to get it", dataset.how_to_get() if manifest.folder else "–"),
    ]
    if manifest.headline:
        at = f" at level {', '.join(map(str, manifest.headline_levels))}" if manifest.headline_levels else ""
        rows.insert(7, ("published mean over", f"{', '.join(manifest.headline)}{at}"))
    if manifest.columns:
        rows.insert(9, ("group columns", ", ".join(manifest.columns)))
    return rows


def _layout_in_words(dataset: Dataset) -> str:
    layout = dataset.manifest.layout
    fields = layout.model_dump(mode="json", exclude={"type"}, exclude_defaults=True)
    shown = [f"{name.replace('_', ' ')} {_value_in_words(value)}" for name, value in fields.items()]
    return "\n".join([layout.type.replace("_", " "), *shown])


def _value_in_words(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_value_in_words(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _conditions_in_words(group: ConditionGroup) -> str:
    levels = f" at levels {', '.join(map(str, group.levels))}" if group.levels != (0,) else ""
    return f"{group.kind}: {', '.join(group.names)}{levels}"


def _counts_in_words(dataset: Dataset) -> str:
    manifest = dataset.manifest
    text = " or ".join(f"{n:,}" for n in (manifest.samples, *manifest.samples_also))
    if manifest.samples_per_class is not None:
        text += f", {manifest.samples_per_class} of each class"
    if manifest.image_size is not None:
        text += f", {manifest.image_size[0]}x{manifest.image_size[1]} pixels"
    return text


def _classes_in_words(dataset: Dataset) -> str:
    manifest = dataset.manifest
    if manifest.label_space is None:
        return "–"
    text = manifest.label_space
    if manifest.class_map is not None:
        text += f", through the map {manifest.class_map} ({len(dataset.classes)} classes)"
    if manifest.subset is not None:
        text += f", subset {manifest.subset}"
    return text


def _preprocessing_in_words(dataset: Dataset) -> str:
    manifest = dataset.manifest
    if isinstance(manifest.layout, RelabelledLayout):
        return f"as {manifest.layout.source}"
    steps = []
    if manifest.border:
        steps.append(f"{manifest.border} pixels cut from each side")
    if manifest.pre_cropped:
        steps.append("shown as stored, or resized straight to the model's input size; never cropped")
    elif manifest.recropped is not None:
        side, crop = manifest.recropped
        steps.append(
            f"shorter side to {side}, centre crop {crop}, or in this proportion to the model's input size"
        )
    else:
        steps.append("resized and cropped as the model states")
    if manifest.resize_to_input:
        steps.append("for models that state no resize: shorter side to the input size, centre crop")
    return "; ".join(steps)


def archive_in_words(archive: Archive) -> str:
    """Return file, bytes, digests and address, as far as they are known."""
    parts = [archive.file]
    if archive.bytes is not None:
        parts.append(f"{archive.bytes:,} bytes")
    for name, digest in (("md5", archive.md5), ("sha256", archive.sha256)):
        if digest is not None:
            parts.append(f"{name} {digest}")
    if archive.address is not None:
        parts.append(archive.address)
    return ", ".join(parts)
