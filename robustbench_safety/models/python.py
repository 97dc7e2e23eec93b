"""The ``python`` family: a user's own network, named ``python:package.module:callable``."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError
from torch import nn

from robustbench_safety.errors import ModelError, UnknownNameError, UsageError
from robustbench_safety.files import file_digest
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.records import Preprocessing

__all__ = ["architectures", "build"]

#: A network that says nothing takes pixels in [0, 1] at the size they are stored at.
_UNCHANGED = Preprocessing(
    input_size=None,
    resize=None,
    crop=None,
    interpolation="bilinear",
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


def architectures() -> list[str]:
    """Return no names: every callable that can be imported is one."""
    return []


def build(asked: Asked) -> Built:
    """Import ``package.module`` (from the current folder, too), call ``callable`` without arguments.

    The network may carry ``label_space`` (a name) and ``preprocessing`` (a ``Preprocessing`` or a dict of its
    fields). It keeps the weights that the callable gave it, unless there is a checkpoint.

    Raises:
        UsageError: The name is malformed, or there is no such module.
        UnknownNameError: The module has nothing of that name.
        ModelError: The code fails, or does not return a ``torch.nn.Module``.
    """
    name = f"python:{asked.architecture}"
    module_name, _, attribute = asked.architecture.partition(":")
    if not module_name or not attribute or module_name.startswith("."):
        raise UsageError(f"{name} names no callable", expected="python:package.module:callable")
    with _current_folder_first():
        module = _import(name, module_name)
        make: object = getattr(module, attribute, None)
        if make is None:
            raise UnknownNameError.among(f"callable of {module_name}", attribute, _callables(module))
        if not callable(make):
            raise ModelError(
                f"{name} cannot be called",
                expected="a function without arguments that returns a torch.nn.Module",
                found=f"a {type(make).__name__}",
            )
        with foreign_code(f"{name}: calling it without arguments failed", show_place=True):
            network: object = make()
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{name} returned no network", expected="a torch.nn.Module", found=f"a {type(network).__name__}"
        )
    return Built(
        network=network,
        preprocessing=_preprocessing(name, network),
        label_space=_label_space(name, network),
        code_digest=_code_digest(make, module),
        trusted_code=asked.from_file,
    )


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Let imports find modules in the current folder, as ``python -m`` does, while the block runs."""
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _import(name: str, module_name: str) -> ModuleType:
    with foreign_code(f"{name}: importing {module_name} failed", show_place=True):
        try:
            return importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # Either the module (or a package that it lies in) is missing, or something that it imports.
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise
            raise UsageError(
                f"{name}: there is no module {error.name}",
                expected=f"it in {Path.cwd()} or among the installed packages",
                fix="run from the folder that holds it, or correct the name",
            ) from error


def _callables(module: ModuleType) -> list[str]:
    return [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]


def _label_space(name: str, network: nn.Module) -> str | None:
    declared: object = getattr(network, "label_space", None)
    if declared is not None and not isinstance(declared, str):
        raise ModelError(
            f"{name}: the network's label_space is wrong",
            expected="the name of a label space",
            found=f"a {type(declared).__name__}",
        )
    return declared


def _preprocessing(name: str, network: nn.Module) -> Preprocessing:
    declared: object = getattr(network, "preprocessing", None)
    if declared is None:
        return _UNCHANGED
    if isinstance(declared, Preprocessing):
        return declared
    try:
        # By way of JSON, in which a list may stand for a tuple.
        return Preprocessing.model_validate_json(json.dumps(declared))
    except (TypeError, ValueError) as error:
        first = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else None
        field = "".join(f".{part}" for part in first["loc"]) if first else ""
        raise ModelError(
            f"{name}: the network's preprocessing{field} is wrong",
            expected=first["msg"] if first else "a Preprocessing or a dict of its fields",
            found=repr(first["input"] if first else declared)[:200],
        ) from error


def _code_digest(make: object, module: ModuleType) -> str | None:
    """Return the sha256 of the file that defines the callable; None for compiled code without one."""
    try:
        source = inspect.getsourcefile(inspect.unwrap(make)) if callable(make) else None
    except (TypeError, OSError):
        source = None  # an instance or a partial: not defined in a file of its own
    source = source or getattr(module, "__file__", None)
    return file_digest(Path(source)) if source and Path(source).is_file() else None
