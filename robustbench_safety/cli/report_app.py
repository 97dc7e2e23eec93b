"""``rbs report``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="Record that `rbs score` wrote, .json.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, one file.")] = Path("report.html"),
    leaderboard: Annotated[
        Path | None,
        typer.Option(help="Leaderboard to show it among; else the one that the record lies in, if any."),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option("--png", help="Folder of the figures as PNG; else OUT_figures beside the page."),
    ] = None,
) -> None:
    """Write a record as one page, with its figures as PNG beside it."""
    from robustbench_safety.cli.report import run_report

    run_report(record, out, leaderboard=leaderboard, png=png)
