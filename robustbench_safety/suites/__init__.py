"""Suites: YAML files, and the functions that read one and say what exactly it measures."""

from __future__ import annotations

from pathlib import Path

from robustbench_safety.data import DataRoot, load_dataset
from robustbench_safety.errors import FileFormatError
from robustbench_safety.files import digest_of, locate_resource, read_yaml
from robustbench_safety.records import Cell, Condition, Suite

__all__ = ["cell_conditions", "load_suite", "suite_digest"]


def load_suite(name: str | Path) -> Suite:
    """Read a suite by name, or from the path of a YAML file.

    Raises:
        UnknownNameError: There is no suite of that name.
        FileFormatError: The file is not a suite.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return read_yaml(path, Suite)
    located = locate_resource("suite", str(name), "suites", fix="`rbs suites list` shows them all")
    suite = read_yaml(located, Suite)
    if suite.name != name:
        raise FileFormatError(f"{located}: name", expected=str(name), found=suite.name)
    return suite


def suite_digest(suite: Suite, data: DataRoot) -> str:
    """Return the digest over every field of suite and manifests that can move a number."""
    names = {cell.dataset for cell in suite.cells}
    names |= {cell.in_distribution for cell in suite.cells if cell.in_distribution}
    manifests: dict[str, object] = {
        name: load_dataset(name, data=data).scored_fields() for name in sorted(names)
    }
    return digest_of({"suite": suite.model_dump(mode="json", exclude={"title"}), "manifests": manifests})


def cell_conditions(cell: Cell, suite: Suite, data: DataRoot) -> tuple[Condition, ...]:
    """Return the conditions that a cell is measured on, in the manifest's order.

    Raises:
        FileFormatError: The cell names a condition that its dataset does not have.
    """
    manifest = load_dataset(cell.dataset, data=data).manifest
    everything = manifest.all_conditions()
    if cell.attack is not None:
        name = cell.attack.condition_name(suite.seed)
        return (Condition(dataset=manifest.name, kind="attack", name=name, level=0),)
    if cell.conditions == "all":
        return everything
    names = {condition.name for condition in everything}
    unknown = [name for name in cell.conditions if name not in names]
    if unknown:
        raise FileFormatError(
            f"suite {suite.name}: cell {cell.id}: conditions",
            expected=f"some of {', '.join(sorted(names))}",
            found=unknown[0],
        )
    return tuple(condition for condition in everything if condition.name in cell.conditions)
