"""Imports run one way; what is heavy is imported late; the tree holds no place for leftovers."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "robustbench_safety"

#: From the ground up; a module may import from its own layer and from those before it.
LAYERS = (
    ("errors", "records"),
    ("files", "accuracies", "augmentations", "baselines", "labels", "streams"),
    ("data", "corruptions"),
    ("models",),
    ("attacks", "detector_passes"),
    ("batches", "devices", "startup", "summary", "predictions", "chunks", "runs", "jobs", "predicting"),
    ("metrics", "detectors"),
    (
        "outputs",
        "measures",
        "detection_measures",
        "metric_options",
        "recording",
        "aggregating",
        "normalising",
        "robustness",
        "suites",
        "companion",
        "pairing",
        "temperatures",
        "detecting",
        "measuring",
        "masking",
        "scoring",
    ),
    ("engines", "submitted"),
    ("preparing", "opening", "evaluation", "stated"),
    ("reporting",),
    ("auditing",),
    ("demo",),
    ("recipes",),
    ("cli",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

#: What may be imported from outside, for the layers that promise to be light.
ALLOWED_OUTSIDE = {
    "errors": set(),
    "records": {"pydantic"},
    "files": {"pydantic", "yaml"},
    "accuracies": set(),
    "augmentations": set(),
    "baselines": set(),
    "labels": {"numpy"},
    "streams": {"numpy"},
    "metrics": {"numpy", "scipy"},
    "detectors": {"numpy", "scipy", "sklearn"},
    "outputs": {"numpy", "scipy"},
    "measures": {"numpy", "scipy"},
    "detection_measures": {"numpy"},
    "metric_options": set(),
    "recording": {"numpy"},
    "aggregating": {"numpy"},
    "normalising": {"numpy"},
    "robustness": {"numpy"},
    "temperatures": {"numpy"},
    "detecting": {"numpy"},
    "measuring": {"numpy"},
    "masking": set(),
    "scoring": set(),
    "suites": set(),
    "reporting": {"numpy", "pyarrow", "pydantic", "yaml", "jinja2", "markupsafe", "matplotlib"},
    "demo": set(),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "robustbench_safety":
                yield from (f"robustbench_safety.{alias.name}" for alias in node.names)


def home(path: Path) -> str:
    """Return the layer's name of a file: its first folder or its own name."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def inside(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "robustbench_safety" and len(parts) > 1 else None


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_its_own_layer_and_those_below_alone(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return  # the public names: it reaches everywhere, and lazily
    assert home(path) in RANK, f"{path} stands in no layer: say in LAYERS where it belongs"
    for module in imports(path):
        target = inside(module)
        if target is not None:
            assert RANK[target] <= RANK[home(path)], f"{home(path)} must not import {module}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_light_layer_imports_nothing_heavy(path: Path) -> None:
    if path == PACKAGE / "__init__.py" or home(path) not in ALLOWED_OUTSIDE:
        return
    outside = {module.split(".")[0] for module in imports(path)} - set(sys.stdlib_module_names)
    assert outside - {"robustbench_safety"} <= ALLOWED_OUTSIDE[home(path)]


def test_no_two_modules_import_each_other() -> None:
    names = {
        ".".join(("robustbench_safety", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in modules()
    }
    graph = {name: {other for other in imports(path) if other in names} for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_importing_the_package_loads_neither_torch_nor_pandas() -> None:
    code = "import sys, robustbench_safety; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_shows_its_help_without_loading_anything_heavy() -> None:
    code = (
        "import sys\nfrom robustbench_safety.cli.app import run\ncode = run(['--help'])\n"
        "heavy = {'torch', 'pandas', 'numpy', 'pydantic', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "print(code, sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_every_public_name_can_be_had() -> None:
    import robustbench_safety as rbs

    for name in rbs.__all__:
        assert getattr(rbs, name) is not None
    assert callable(rbs.predict)
    assert callable(rbs.score)
    assert set(rbs.__all__) <= set(dir(rbs))


def test_no_module_is_called_after_what_it_cannot_name() -> None:
    words = {"utils", "helpers", "misc", "common", "manager", "base_utils"}
    assert not [path for path in modules() if path.stem in words]


def test_a_module_has_one_job_and_so_at_most_350_lines() -> None:
    long = {
        path.name: n for path in modules() if (n := len(path.read_text(encoding="utf-8").splitlines())) > 350
    }
    assert not long
