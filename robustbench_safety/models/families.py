"""The table of model families. A family is a module, imported when one of its models is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from robustbench_safety.errors import MissingDependencyError, UnknownNameError, UsageError
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.records import ModelSpec

__all__ = [
    "ENTRY_POINT_GROUP",
    "EXTRAS",
    "FAMILIES",
    "LIBRARIES",
    "Family",
    "family_names",
    "install_command",
    "libraries_of",
    "load_family",
    "outside_families",
]

#: Name of a family -> the module that builds its networks.
FAMILIES = {
    "cifar": "robustbench_safety.models.cifar",
    "clip": "robustbench_safety.models.clip.family",
    "digits": "robustbench_safety.models.digits",
    "ensemble": "robustbench_safety.models.ensemble",
    "export": "robustbench_safety.models.graphs.export",
    "hf": "robustbench_safety.models.hf.family",
    "onnx": "robustbench_safety.models.graphs.onnx",
    "predictions": "robustbench_safety.models.predictions",
    "python": "robustbench_safety.models.python",
    "timm": "robustbench_safety.models.timm",
    "torchvision": "robustbench_safety.models.torchvision",
}

#: Name of a family -> the extra of this package that brings its library; the others need none.
EXTRAS = {"clip": "clip", "hf": "hf", "onnx": "onnx"}

#: Name of a family -> the package beside torch that its logits depend on; a record names its version.
LIBRARIES = {"clip": "open-clip-torch", "hf": "transformers", "onnx": "onnxruntime"}

#: Where other installed packages name their families.
ENTRY_POINT_GROUP = "robustbench_safety.models"


class Family(Protocol):
    """What a family's module must offer."""

    build: Callable[[Asked], Built]
    """Build the network that is asked for.

    Where a checkpoint was handed in, the network comes without weights and the checkpoint is loaded into it
    strictly afterwards; a family that needs the weights earlier loads them with ``weights.load_checkpoint``
    and says so in ``Built.loaded``. Where none was, it brings its own or raises ``CheckpointError``.
    """
    architectures: Callable[[], list[str]]
    """Return the names that ``build`` knows, sorted."""


def family_names() -> list[str]:
    """Return the sorted names of all families, those of other installed packages included."""
    return sorted({*FAMILIES, *outside_families()})


def load_family(name: str) -> Family:
    """Import the family ``name``: one of ours, else one that an installed package offers.

    Raises:
        UnknownNameError: There is none; near names are shown.
        MissingDependencyError: It cannot be imported.
        UsageError: What the package names is not a family.
    """
    if name in FAMILIES:
        return _ours(name)
    outside = outside_families()
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


def _ours(name: str) -> Family:
    try:
        return cast(Family, importlib.import_module(FAMILIES[name]))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if name not in EXTRAS or missing == "robustbench_safety":
            raise
        raise MissingDependencyError(
            f"model family {name!r} needs the extra {EXTRAS[name]!r}",
            expected=f"the package that holds {missing}",
            found="not installed",
            fix=f"{install_command(name)}; in a checkout: uv pip install '.[{EXTRAS[name]}]'",
        ) from error


def install_command(name: str) -> str:
    """Return the command that installs the extra of the family ``name``."""
    return f"uv pip install 'robustbench-safety[{EXTRAS[name]}]'"


def libraries_of(spec: ModelSpec) -> tuple[str, ...]:
    """Return the packages beside torch that a model's logits depend on, its members' included; sorted."""
    own = {LIBRARIES[spec.family]} if spec.family in LIBRARIES else set()
    return tuple(sorted(own.union(*(libraries_of(member) for member in spec.members))))


def outside_families() -> dict[str, EntryPoint]:
    """Return what other installed packages offer, by family; nothing of it is imported."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
