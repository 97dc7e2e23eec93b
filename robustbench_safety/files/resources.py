"""Where the shipped manifests, label lists and suites lie, and a user's own that go before them."""

from __future__ import annotations

from pathlib import Path

from robustbench_safety.errors import FileFormatError, UnknownNameError

__all__ = ["check_resource_name", "locate_resource", "resource_folder", "resource_names"]

_PACKAGE = Path(__file__).parent.parent


def resource_folder(name: str) -> Path:
    """Return the folder of shipped files ``name``: the checkout's, else the one in the installed package."""
    beside = _PACKAGE.parent / name
    # Beside the package in a checkout; site-packages could hold a stranger's folder of the same name.
    if (_PACKAGE.parent / "pyproject.toml").is_file() and beside.is_dir():
        return beside
    return _PACKAGE / name


def resource_names(folder: str) -> list[str]:
    """Return the sorted names of the YAML files in a folder of shipped files."""
    return sorted(path.stem for path in resource_folder(folder).glob("*.yaml"))


def locate_resource(kind: str, name: str, folder: str, *, beside: Path | None = None, fix: str = "") -> Path:
    """Return the YAML file of ``name``: from ``beside`` where it has one, else a shipped one.

    Args:
        kind: What is looked for, for the error: "suite", "dataset" ...
        name: Its name.
        folder: Folder of shipped files.
        beside: A user's own folder that goes first.
        fix: What to do when there is none.

    Raises:
        UnknownNameError: There is none; near names are shown.
    """
    known = {path.stem: path for path in resource_folder(folder).glob("*.yaml")}
    if beside is not None:
        known |= {path.stem: path for path in beside.glob("*.yaml")}
    if name not in known:
        raise UnknownNameError.among(kind, name, known, fix=fix)
    return known[name]


def check_resource_name(path: Path, name: str, found: str) -> None:
    """Refuse a file whose field ``name`` is not the name that it is filed under.

    Raises:
        FileFormatError: It is not.
    """
    if found != name:
        raise FileFormatError(
            f"{path}: name is wrong", expected=name, found=found, fix="call the file after its name"
        )
