"""The list and show commands: what can be measured, and of which models."""

from __future__ import annotations

from robustbench_safety.cli.screen import screen, show_rows
from robustbench_safety.files import resource_names
from robustbench_safety.models.families import install_command, load_family
from robustbench_safety.models.family_facts import FamilyFacts, all_families
from robustbench_safety.suites import load_suite

__all__ = ["list_models", "list_suites", "show_suite"]


def list_suites() -> None:
    """Print every shipped suite."""
    rows = []
    for name in resource_names("suites"):
        suite = load_suite(name)
        rows.append((name, str(suite.version), suite.label_space, ", ".join(suite.columns), suite.title))
    show_rows("Suites", ("name", "version", "label space", "columns", "title"), rows)
    screen().print("Every dataset of `rbs data list` is also a suite of its own name.", markup=False)


def show_suite(name: str) -> None:
    """Print the cells and aggregates of one suite."""
    suite = load_suite(name)
    rows = []
    for cell in suite.cells:
        conditions = cell.conditions if isinstance(cell.conditions, str) else ", ".join(cell.conditions)
        if cell.levels:
            conditions += f" at level {', '.join(map(str, cell.levels))}"
        if cell.attack is not None:
            conditions = cell.attack.condition_name(suite.seed)
        against = f"{cell.detector} against {cell.in_distribution}" if cell.detector else ""
        asked = dict(cell.options)
        if cell.temperature is not None:
            asked["temperature"] = cell.temperature
        options = ", ".join(f"{key}={value}" for key, value in asked.items())
        seen = cell.subset or "all"
        rows.append((cell.id, cell.dataset, conditions, seen, cell.metric, against, options))
    for aggregate in suite.aggregates:
        made = f"{aggregate.reduce} of {', '.join(aggregate.of)}"
        fields = ("baseline", "accuracies", "axis", "reference")
        against = ", ".join(f"{name}={value}" for name in fields if (value := getattr(aggregate, name)))
        rows.append((aggregate.id, "", "", "", made, "", against))
    head = ("id", "dataset", "conditions", "classes", "metric", "detector", "options")
    show_rows(f"{suite.name}, version {suite.version}: {suite.title}", head, rows)
    if suite.models != "all":
        screen().print(f"models   {suite.models} alone", markup=False)
    for what, names in (("columns", suite.columns), ("beside", suite.beside)):
        if names:
            screen().print(f"{what:<8} {', '.join(names)}", markup=False, soft_wrap=True)


def list_models(family: str | None) -> None:
    """Print the families, or the architectures of one."""
    if family is not None:
        found = load_family(family)
        rows = [(f"{family}:{name}",) for name in found.architectures()]
        if not rows:
            summary = (getattr(found, "__doc__", None) or family).strip().partition("\n")[0]
            screen().print(f"{family} has no list of names. {summary}", markup=False, soft_wrap=True)
            return
        show_rows(f"Models of {family}", ("model",), rows)
    facts = all_families()
    rows2 = [(fact.name, fact.summary or f"offered by {fact.package}", _note(fact)) for fact in facts]
    head = ("family", "what", "note")
    show_rows("Model families; `rbs models list FAMILY` lists the architectures", head, rows2)


def _note(fact: FamilyFacts) -> str:
    if fact.missing:
        return f"lacks {', '.join(fact.missing)}: {install_command(fact.name)}"
    return f"of {fact.package}" if fact.package else ""
