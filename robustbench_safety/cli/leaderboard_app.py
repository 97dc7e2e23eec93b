"""The commands about leaderboards; everything heavy is imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["BaselineOption", "LeaderboardOption", "leaderboard_app"]

BaselineOption = Annotated[
    list[Path] | None,
    typer.Option("--baseline", help="YAML of a baseline, for the suite's of that name; may be given again."),
]
LeaderboardOption = Annotated[Path, typer.Option("--leaderboard", help="Folder of records and tables.")]

leaderboard_app = typer.Typer(help="Make, check and show the tables of a leaderboard.", no_args_is_help=True)


@leaderboard_app.command("build")
def leaderboard_build(leaderboard: LeaderboardOption = Path("leaderboard")) -> None:
    """Write the tables from the records."""
    from robustbench_safety.cli.commands import build_leaderboard

    build_leaderboard(leaderboard)


@leaderboard_app.command("verify")
def leaderboard_verify(leaderboard: LeaderboardOption = Path("leaderboard")) -> None:
    """Check the records, and that every table is what they make; exit code 1 when one is stale."""
    from robustbench_safety.cli.commands import verify_leaderboard

    raise typer.Exit(verify_leaderboard(leaderboard))


@leaderboard_app.command("show")
def leaderboard_show(
    suite: Annotated[str | None, typer.Argument(help="One suite; all when left out.")] = None,
    leaderboard: LeaderboardOption = Path("leaderboard"),
) -> None:
    """Show the table of each suite."""
    from robustbench_safety.cli.commands import show_leaderboard

    show_leaderboard(leaderboard, suite)
