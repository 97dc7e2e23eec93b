"""The list and show commands: what can be measured, on what, and of which models."""

from __future__ import annotations

from robustbench_safety.cli.screen import show_rows
from robustbench_safety.data import DataRoot, Dataset, load_dataset, load_manifest
from robustbench_safety.errors import DataError
from robustbench_safety.files import resource_names
from robustbench_safety.models.families import FAMILIES, load_family
from robustbench_safety.records import BuiltinLayout, GeneratedLayout
from robustbench_safety.suites import load_suite

__all__ = ["list_data", "list_models", "list_suites", "show_suite"]


def list_suites() -> None:
    """Print every shipped suite."""
    rows = []
    for name in resource_names("suites"):
        suite = load_suite(name)
        rows.append((name, str(suite.version), suite.label_space, ", ".join(suite.columns), suite.title))
    show_rows("Suites", ("name", "version", "label space", "columns", "title"), rows)


def show_suite(name: str) -> None:
    """Print the cells and aggregates of one suite."""
    suite = load_suite(name)
    rows = []
    for cell in suite.cells:
        conditions = "all" if cell.conditions == "all" else ", ".join(cell.conditions)
        if cell.attack is not None:
            conditions = cell.attack.condition_name(suite.seed)
        against = f"{cell.detector} against {cell.in_distribution}" if cell.detector else ""
        options = ", ".join(f"{key}={value}" for key, value in cell.options.items())
        rows.append((cell.id, cell.dataset, conditions, cell.metric, against, options))
    rows.extend(
        (aggregate.id, "", "", f"{aggregate.reduce} of {', '.join(aggregate.of)}", "", "")
        for aggregate in suite.aggregates
    )
    head = ("id", "dataset", "conditions", "metric", "detector", "options")
    show_rows(f"{suite.name}, version {suite.version}: {suite.title}", head, rows)


def list_models(family: str | None) -> None:
    """Print the families, or the architectures of one."""
    if family is not None:
        rows = [(f"{family}:{name}",) for name in load_family(family).architectures()]
        show_rows(f"Models of {family}", ("model",), rows)
        return
    rows2 = []
    for name in sorted(FAMILIES):
        summary = (load_family(name).__doc__ or "").strip().splitlines()[0]
        rows2.append((name, summary))
    show_rows("Model families; `rbs models list FAMILY` lists the architectures", ("family", "what"), rows2)


def list_data(data: DataRoot) -> None:
    """Print every dataset and whether it is at hand."""
    rows = []
    for name in resource_names("data_manifests"):
        manifest = load_manifest(name)
        rows.append((
            name, manifest.role, manifest.layout.type, manifest.label_space or "–",
            f"{manifest.samples:,} x {len(manifest.all_conditions())}", presence(load_dataset(name, data=data)), manifest.title,
        ))  # fmt: skip
    head = ("name", "role", "layout", "label space", "images x conditions", "at hand", "title")
    show_rows(f"Datasets; data root {data.root}", head, rows)


def presence(dataset: Dataset) -> str:
    """Say whether the files of a dataset are where they are looked for; nothing is counted."""
    if isinstance(dataset.manifest.layout, BuiltinLayout):
        return "built in"
    if isinstance(dataset.manifest.layout, GeneratedLayout):
        return presence(dataset.source())
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
