"""Python that is not run where the tests run: what it takes from the package must exist."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module

PACKAGE = "robustbench_safety"


def check_python(text: str, name: str) -> None:
    """Fail unless a block is Python, and every name and keyword that it takes from the package is there."""
    tree = ast.parse(text, name)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            module = import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
        elif isinstance(node, ast.Attribute) and _is_package(node.value):
            assert hasattr(import_module(PACKAGE), node.attr), f"rbs has no {node.attr}"
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and _is_package(node.func.value)
        ):
            # The walk comes to a call before it comes to the name that is called.
            assert hasattr(import_module(PACKAGE), node.func.attr), f"rbs has no {node.func.attr}"
            called = getattr(import_module(PACKAGE), node.func.attr)
            known = inspect.signature(called).parameters
            given = {keyword.arg for keyword in node.keywords if keyword.arg}
            assert given <= set(known), f"rbs.{node.func.attr} has no {', '.join(sorted(given - set(known)))}"


def _is_package(node: ast.expr) -> bool:
    """Whether an expression is the package by the name that the pages give it."""
    return isinstance(node, ast.Name) and node.id in ("rbs", PACKAGE)
