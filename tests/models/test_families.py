"""The table of families, and those of other packages."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import cast

import pytest

from robustbench_safety.errors import MissingDependencyError, UnknownNameError, UsageError
from robustbench_safety.models import families
from robustbench_safety.models.families import FAMILIES, family_names, libraries_of, load_family
from robustbench_safety.records import ModelSpec


def outside(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Pretend that an installed package offers the family ``elsewhere``."""
    point = EntryPoint("elsewhere", value, families.ENTRY_POINT_GROUP)

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [point] if group == families.ENTRY_POINT_GROUP else []

    monkeypatch.setattr(families, "entry_points", entry_points)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_of_the_table_builds_and_lists(name: str) -> None:
    family = load_family(name)
    names = family.architectures()
    assert names == sorted(names)
    assert callable(family.build)


def test_an_unknown_family_shows_near_names() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model family 'cifra'; expected one like cifar"):
        load_family("cifra")


def test_a_family_of_an_installed_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    outside(monkeypatch, "robustbench_safety.models.digits")
    assert load_family("elsewhere").architectures() == ["cnn"]
    assert "elsewhere" in family_names()


def test_a_family_that_cannot_be_imported_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    outside(monkeypatch, "no_such_package.family")
    with pytest.raises(MissingDependencyError, match="no_such_package"):
        load_family("elsewhere")


def test_an_entry_point_that_is_no_family_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    outside(monkeypatch, "json")
    with pytest.raises(UsageError, match="functions build and architectures"):
        load_family("elsewhere")


def test_the_libraries_of_an_ensemble_are_those_of_its_members() -> None:
    def spec(family: str, *members: ModelSpec) -> ModelSpec:
        return cast(ModelSpec, SimpleNamespace(family=family, members=members))

    members = [spec(name) for name in ("onnx", "timm", "clip")]
    assert libraries_of(spec("ensemble", *members)) == ("onnxruntime", "open-clip-torch")
    assert libraries_of(members[1]) == ()


def test_loading_the_table_imports_no_family() -> None:
    code = (
        "import sys, robustbench_safety.models; "
        "sys.exit(any(name in sys.modules for name in ('timm', 'robustbench_safety.models.cifar')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
