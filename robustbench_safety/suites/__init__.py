"""Suites: YAML files, and the functions that read one and say what exactly it measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from robustbench_safety.accuracies import load_accuracies
from robustbench_safety.baselines import load_baseline
from robustbench_safety.data import DataRoot, dataset_names, load_dataset
from robustbench_safety.errors import FileFormatError, ModelError, UnknownNameError, UsageError
from robustbench_safety.files import digest_of, locate_resource, read_yaml, resource_names, yaml_fields
from robustbench_safety.labels import load_class_map, load_subset
from robustbench_safety.records import AccuracyTable, Baseline, ModelSpec, Suite
from robustbench_safety.suites.conditions import (
    cell_conditions,
    clean_conditions,
    clean_dataset,
    explicit,
    tune_dataset,
)
from robustbench_safety.suites.detection import (
    check_sides,
    featured_conditions,
    fit_conditions,
    in_conditions,
)
from robustbench_safety.suites.of_dataset import suite_of

__all__ = [
    "cell_conditions",
    "check_sides",
    "clean_conditions",
    "clean_dataset",
    "featured_conditions",
    "fit_conditions",
    "in_conditions",
    "load_suite",
    "refuse_model",
    "suite_accuracies",
    "suite_baselines",
    "suite_digest",
    "tune_dataset",
]


def load_suite(name: str | Path, *, data: DataRoot | None = None) -> Suite:
    """Read a suite by name, or from the path of a YAML file.

    Every dataset is also a suite of its own name, which measures it under its own rules: the name of a
    dataset does for a suite's, and so does the path of a manifest.

    Args:
        name: Name or path.
        data: Whose own manifests go before the shipped ones; None for the shipped ones alone.

    Raises:
        UnknownNameError: There is no suite and no dataset of that name.
        FileFormatError: The file is neither.
    """
    path = Path(name)
    root = data or DataRoot.default()
    if path.suffix in (".yaml", ".yml"):
        if "layout" not in yaml_fields(path):
            return read_yaml(path, Suite)
        if path.suffix != ".yaml":
            # Manifests are looked up by this ending: a shipped one of the same name would be taken.
            raise UsageError(str(path), expected="a manifest whose name ends in .yaml", fix="rename it")
        if root.beside is not None and root.beside.resolve() != path.parent.resolve():
            raise UsageError(
                str(path),
                expected=f"a manifest in {root.beside}, the folder of manifests named for the data",
                fix="move it there, or name no folder beside a manifest's own",
            )
        return suite_of(load_dataset(path.stem, data=replace(root, beside=path.parent)))
    suites = resource_names("suites")
    if str(name) not in suites:
        datasets = dataset_names(beside=root.beside)
        if str(name) in datasets:
            return suite_of(load_dataset(str(name), data=root))
        fix = "`rbs suites list` and `rbs data list` show them all"
        raise UnknownNameError.among("suite", str(name), [*suites, *datasets], fix=fix)
    located = locate_resource("suite", str(name), "suites")
    suite = read_yaml(located, Suite)
    if suite.name != name:
        raise FileFormatError(f"{located}: name", expected=str(name), found=suite.name)
    return suite


def suite_baselines(
    suite: Suite, data: DataRoot, *, own: Mapping[str, Baseline] | None = None
) -> dict[str, Baseline]:
    """Return the baselines that a suite's aggregates are divided by, by name.

    Args:
        suite: The suite.
        data: Whose own baselines go before the shipped ones.
        own: Baselines that take the place of those of their name.

    Raises:
        UnknownNameError: There is no baseline of a name.
        UsageError: One of ``own`` stands for none that the suite speaks of.
    """
    names = sorted({aggregate.baseline for aggregate in suite.aggregates if aggregate.baseline})
    given = dict(own or {})
    if unused := [name for name in given if name not in names]:
        raise UsageError(
            f"baseline {unused[0]} is none that suite {suite.name} divides by",
            expected=f"one called {' or '.join(names)}" if names else "a suite with a baseline",
            fix="give the file's field name the name of the baseline whose place it takes",
        )
    fix = f"correct the aggregates of suite {suite.name}"
    return {name: given.get(name) or load_baseline(name, beside=data.beside, fix=fix) for name in names}


def refuse_model(suite: Suite, spec: ModelSpec) -> None:
    """Refuse a model that a suite does not take, before it is shown an image.

    An ensemble is zero-shot where all of its members are. A file of predictions does not tell what made them,
    and so is not.

    Raises:
        ModelError: The suite is of zero-shot models, and this is none.
    """
    if suite.models == "zero-shot" and not _is_zero_shot(spec):
        found = "a trained classifier" if spec.network_known else "a file of predictions, whoever made them"
        raise ModelError(
            f"suite {suite.name} takes zero-shot models alone",
            expected="a network whose classifier is made of text, as family clip makes it",
            found=f"{spec.name}, {found}",
            fix="score it on a suite of all models",
        )


def _is_zero_shot(spec: ModelSpec) -> bool:
    return spec.zero_shot is not None or (bool(spec.members) and all(map(_is_zero_shot, spec.members)))


def suite_accuracies(suite: Suite, data: DataRoot) -> dict[str, AccuracyTable]:
    """Return the tables of published models that a suite's aggregates hold a model against, by name.

    Raises:
        UnknownNameError: There is no table of a name.
    """
    names = sorted({aggregate.accuracies for aggregate in suite.aggregates if aggregate.accuracies})
    fix = f"correct the aggregates of suite {suite.name}"
    return {name: load_accuracies(name, beside=data.beside, fix=fix) for name in names}


def suite_digest(suite: Suite, data: DataRoot, *, baselines: Mapping[str, Baseline] | None = None) -> str:
    """Return the digest over every field of suite, manifests and tables that can move a number.

    Args:
        suite: The suite.
        data: Whose own manifests go before the shipped ones.
        baselines: As :func:`suite_baselines` returns them; None for those of the suite.
    """
    names = {cell.dataset for cell in suite.cells}
    names |= {cell.in_distribution for cell in suite.cells if cell.in_distribution}
    names |= {name for cell in suite.cells if (name := tune_dataset(cell, data))}
    names |= {one.dataset for cell in suite.cells for one in fit_conditions(cell, data)}
    manifests: dict[str, object] = {
        name: load_dataset(name, data=data).scored_fields() for name in sorted(names)
    }
    cells = tuple(explicit(cell, suite, data) for cell in suite.cells)
    covered: dict[str, object] = {
        "suite": suite.model_copy(update={"cells": cells}).model_dump(mode="json", exclude={"title"}),
        "manifests": manifests,
    }
    if divided_by := suite_baselines(suite, data) if baselines is None else baselines:
        covered["baselines"] = {name: found.scored_fields() for name, found in divided_by.items()}
    if published := suite_accuracies(suite, data):
        covered["accuracies"] = {name: table.scored_fields() for name, table in published.items()}
    if maps := sorted({cell.class_map for cell in suite.cells if cell.class_map}):
        covered["class_maps"] = {name: load_class_map(name, beside=data.beside).digest for name in maps}
    if subsets := sorted({cell.subset for cell in suite.cells if cell.subset}):
        covered["subsets"] = {name: load_subset(name, beside=data.beside).digest for name in subsets}
    return digest_of(covered)
