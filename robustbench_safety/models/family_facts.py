"""What is known of a family without importing it: its first line, its package, and what it lacks."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, requires
from pathlib import Path

from robustbench_safety.models.families import EXTRAS, FAMILIES, family_names, outside_families

__all__ = ["FamilyFacts", "all_families"]

_PACKAGE = "robustbench_safety"
_DISTRIBUTION = "robustbench-safety"
#: ``open-clip-torch>=3.2; extra == "clip"``
_OF_AN_EXTRA = re.compile(r"""([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['"]([\w-]+)['"]""")

#: What a table of families need not say of each.
_PREAMBLE = re.compile(r"^The ``[\w-]+`` family: ")


@dataclass(frozen=True, kw_only=True)
class FamilyFacts:
    """A family as it is listed."""

    name: str
    summary: str
    """First line of what its module says of itself; empty where the source cannot be found."""
    package: str
    """Name and version of the package that offers it; empty for ours."""
    missing: tuple[str, ...]
    """Packages of its extra that are not installed."""


def all_families() -> list[FamilyFacts]:
    """Return every family, sorted by name; no module of any is imported."""
    outside = outside_families()
    return [_ours(name) if name in FAMILIES else _outside(outside[name]) for name in family_names()]


def _ours(name: str) -> FamilyFacts:
    module = FAMILIES[name].removeprefix(f"{_PACKAGE}.").replace(".", "/")
    source = Path(__file__).parent.parent / f"{module}.py"
    return FamilyFacts(name=name, summary=_summary(source), package="", missing=_missing(name))


def _outside(point: EntryPoint) -> FamilyFacts:
    package, summary = "another package", ""
    if point.dist is not None:
        package = f"{point.dist.name} {point.dist.version}"
        path = point.module.replace(".", "/")
        sources = (Path(str(point.dist.locate_file(f"{path}{end}"))) for end in (".py", "/__init__.py"))
        summary = next((_summary(source) for source in sources if source.is_file()), "")
    return FamilyFacts(name=point.name, summary=summary, package=package, missing=())


def _summary(source: Path) -> str:
    try:
        docstring = ast.get_docstring(ast.parse(source.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return ""
    first = (docstring or "").partition("\n")[0]
    return _PREAMBLE.sub("", first).replace("``", "")


def _missing(name: str) -> tuple[str, ...]:
    if name not in EXTRAS:
        return ()
    try:
        wanted = [_OF_AN_EXTRA.match(line) for line in requires(_DISTRIBUTION) or ()]
    except PackageNotFoundError:
        return ()  # run from a folder that was never installed: nothing says what an extra holds
    packages = [found[1] for found in wanted if found is not None and found[2] == EXTRAS[name]]
    return tuple(package for package in packages if not _is_installed(package))


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
