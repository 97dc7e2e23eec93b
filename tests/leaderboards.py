"""Leaderboards for tests: filed records of this repository under other names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.leaderboard import write
from robustbench_safety.files import slugify
from tests.conftest import REPOSITORY

#: Names that somebody could send to do harm, each with what must be seen of it on a page.
HOSTILE = {
    "<script>alert(1)</script>": "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(2)>'": "\"><img src=x onerror=alert(2)>'",
    "=1+1": "=1+1",
    "[bold red]x[/]": "[bold red]x[/]",
    "\x1b[31mred\x1b[0m": "[31mred [0m",
    "y" * 5000: "y" * 80 + "…",
    "../../etc/passwd": "../../etc/passwd",
    "abc\u202efdp.exe": "abc fdp.exe",
    "{{ 7 * 7 }} {% raw %}": "{{ 7 * 7 }} {% raw %}",
    "a | b\n\n# c": "a | b # c",
    "javascript:alert(3)": "javascript:alert(3)",
}


#: The suite whose rows are known by sight, and the beginnings of these records' names.
FOUR_ROWS = "cifar10-safety-generated"
_FOUR = ("conv-marabou--", "conv-small-pgd--", "conv-wide-provably-robust--", "resnet-4b-pgd--")


def four_rows(leaderboard: Path) -> Path:
    """Copy the committed leaderboard with four rows of :data:`FOUR_ROWS`, so that no new row moves a test."""

    def others(folder: str, names: list[str]) -> list[str]:
        if Path(folder).parts[-2:] != ("records", FOUR_ROWS):
            return ["site"] if "site" in names else []
        return [name for name in names if not name.startswith(_FOUR)]

    return shutil.copytree(REPOSITORY / "leaderboard", leaderboard, ignore=others)


def fields_of(suite: str = "digits-safety") -> dict[str, Any]:
    """Return the plain fields of the first filed record of a suite."""
    path = sorted((REPOSITORY / "leaderboard" / "records" / suite).glob("*.json"))[0]
    fields: dict[str, Any] = json.loads(path.read_text())
    return fields


def file(
    leaderboard: Path,
    name: str,
    *,
    suite: str = "digits-safety",
    kind: str = "verified",
    scores: Mapping[str, float | None] | None = None,
    **changed: object,
) -> Path:
    """File a record under another name, with some scores changed; None for one that could not be measured."""
    fields = fields_of(suite) | {"display_name": name, "slug": slugify(name)} | changed
    fields["verification"] |= {"kind": kind}
    for column, value in (scores or {}).items():
        fields["scores"][column] |= {
            "value": value,
            "interval": None,
            "reason": "the data were not at hand" if value is None else None,
        }
    return write(leaderboard, fields)


def file_hostile(leaderboard: Path) -> list[Path]:
    """File a record for each of :data:`HOSTILE`, the best last."""
    return [file(leaderboard, name, scores={"corruptions": 0.5 - 0.01 * i}) for i, name in enumerate(HOSTILE)]
