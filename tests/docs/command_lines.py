"""Command lines read by our own parser: what cannot be run where the tests run must at least exist."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import cast

from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from robustbench_safety.cli.app import app
from robustbench_safety.data import dataset_names
from robustbench_safety.files import resource_names
from robustbench_safety.models.families import family_names, load_family

#: Families whose list of names is complete and at hand; a name of another may be a file or a repository.
_LISTED = ("cifar", "digits", "timm", "torchvision")


def words(command: str, folder: Path) -> list[str]:
    """Return the words of a command as the shell makes them in a folder: quotes, patterns, comments."""
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split("\0")[:-1]


def is_rbs(command: str) -> bool:
    """Whether a line is one command of ours and nothing for the shell."""
    first = command.split()[0]
    return first in ("rbs", ".venv/bin/rbs") and not re.search(r"[|;&<>]|\$\(", command.partition(" #")[0])


def check_command(command: str, folder: Path, *, written: Collection[str]) -> None:
    """Fail unless the parser takes a command and every name in it exists.

    Args:
        command: ``rbs ...``; ``...`` in it stands for suite and data.
        folder: Where patterns are looked up.
        written: Files that the page has written.
    """
    arguments = words(command.replace(" ...", " --suite imagenet-safety"), folder)[1:]
    name, parsed = _parsed(arguments)
    if suite := parsed.get("suite"):
        _check_name(str(suite), {*resource_names("suites"), *dataset_names()}, written)
    if name in ("rbs data show", "rbs data fetch", "rbs data verify", "rbs data make"):
        _check_name(str(parsed["name"]), set(dataset_names()), written)
    if name == "rbs suites show":
        _check_name(str(parsed["name"]), {*resource_names("suites"), *dataset_names()}, written)
    if model := parsed.get("model"):
        _check_model(str(model), written)


def check_mention(command: str) -> None:
    """Fail unless what a sentence calls a command is one, with the options that it has."""
    command = command.removeprefix(".venv/bin/")
    found, rest = _group(command.split()[1:])
    if not isinstance(found, TyperGroup):
        options = {
            name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        given = {word.partition("=")[0] for word in rest if word.startswith("--")} - {"--help"}
        assert given <= options, f"{command}: there is no {', '.join(sorted(given - options))}"


def _group(arguments: list[str]) -> tuple[TyperCommand | TyperGroup, list[str]]:
    """Return the command that the first words name, and the words after them."""
    found = cast(TyperCommand | TyperGroup, get_command(app))
    rest = list(arguments)
    while isinstance(found, TyperGroup) and rest and not rest[0].startswith("-"):
        names, word = found.commands, rest.pop(0)
        # `rbs leaderboard build|verify` stands for two.
        for one in word.split("|"):
            assert one in names, f"there is no command {one}; there are {', '.join(names)}"
        found = cast(TyperCommand | TyperGroup, names[word.split("|")[0]])
    return found, rest


def _parsed(arguments: list[str]) -> tuple[str, dict[str, object]]:
    """Return the whole name of the command, and its parameters as the parser understands them."""
    command, rest = _group(arguments)
    assert not isinstance(command, TyperGroup), f"rbs {' '.join(arguments)} is a group of commands"
    name = " ".join(["rbs", *arguments[: len(arguments) - len(rest)]])
    with command.make_context(name, rest) as context:
        return name, dict(context.params)


def _check_name(name: str, known: Collection[str], written: Collection[str]) -> None:
    if name.endswith((".yaml", ".yml")):
        assert name in written or "/" in name, f"no block of the page writes {name}"
        return
    assert name in known, f"there is no {name}"


def _check_model(model: str, written: Collection[str]) -> None:
    family, colon, architecture = model.partition(":")
    if not colon:
        assert model.endswith((".yaml", ".yml")), f"{model} is neither family:name nor a model file"
        return
    assert family in family_names(), f"there is no family {family}"
    if family in _LISTED:
        # A tag (`.a1_in1k`), an entry (`/IMAGENET1K_V2`) or a label space (`/cifar-100`) may follow the name.
        name = re.split(r"[./]", architecture)[0]
        assert name in load_family(family).architectures(), f"{family} has no {name}"
