"""The table of model families. A family is a module, imported when one of its models is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from robustbench_safety.errors import MissingDependencyError, UnknownNameError, UsageError
from robustbench_safety.models.model import Built

__all__ = ["ENTRY_POINT_GROUP", "FAMILIES", "Family", "family_names", "load_family"]

#: Name of a family -> the module that builds its networks.
FAMILIES = {
    "cifar": "robustbench_safety.models.cifar",
    "digits": "robustbench_safety.models.digits",
    "python": "robustbench_safety.models.python",
    "timm": "robustbench_safety.models.timm",
}

#: Where other installed packages name their families.
ENTRY_POINT_GROUP = "robustbench_safety.models"


class _Build(Protocol):
    def __call__(self, architecture: str, *, label_space: str | None, pretrained: bool) -> Built: ...


class Family(Protocol):
    """What a family's module must offer."""

    build: _Build
    """Build the bare network of an architecture.

    ``label_space`` is the one that the model file declares, None where it declares none. ``pretrained`` is
    true where no checkpoint was given: the family then brings its own weights or raises ``CheckpointError``.
    """
    architectures: Callable[[], list[str]]
    """Return the names that ``build`` knows, sorted."""


def family_names() -> list[str]:
    """Return the sorted names of all families, those of other installed packages included."""
    return sorted({*FAMILIES, *_outside()})


def load_family(name: str) -> Family:
    """Import the family ``name``: one of ours, else one that an installed package offers.

    Raises:
        UnknownNameError: There is none; near names are shown.
        MissingDependencyError: It cannot be imported.
        UsageError: What the package names is not a family.
    """
    if name in FAMILIES:
        return cast(Family, importlib.import_module(FAMILIES[name]))
    outside = _outside()
    if name not in outside:
        raise UnknownNameError.among("model family", name, family_names(), fix="`rbs models list` shows all")
    try:
        module: object = outside[name].load()
    except (ImportError, AttributeError) as error:
        raise MissingDependencyError(
            f"model family {name!r} ({outside[name].value}) cannot be imported",
            found=str(error),
            fix="install what it needs, or remove the package that offers it",
        ) from error
    if not callable(getattr(module, "build", None)) or not callable(getattr(module, "architectures", None)):
        raise UsageError(
            f"model family {name!r} ({outside[name].value}) is not a family",
            expected="a module with the functions build and architectures",
            found=type(module).__name__,
        )
    return cast(Family, module)


def _outside() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
