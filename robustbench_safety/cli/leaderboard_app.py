"""The commands about leaderboards; everything heavy is imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_safety.cli.data_app import DataOption

__all__ = ["BaselineOption", "LeaderboardOption", "leaderboard_app"]

BaselineOption = Annotated[
    list[Path] | None,
    typer.Option("--baseline", help="YAML of a baseline, for the suite's of that name; may be given again."),
]
LeaderboardOption = Annotated[Path, typer.Option("--leaderboard", help="Folder of records and tables.")]

RecordArgument = Annotated[
    Path, typer.Argument(metavar="RECORD", help="A record, .json; its companion lies beside it.")
]
ByOption = Annotated[str | None, typer.Option("--by", help="Who stands for the row; the command by default.")]

leaderboard_app = typer.Typer(help="Make, check and show the tables of a leaderboard.", no_args_is_help=True)


@leaderboard_app.command("build")
def leaderboard_build(
    leaderboard: LeaderboardOption = Path("leaderboard"),
    site: Annotated[
        Path | None, typer.Option("--site", help="Folder of the site; else site/ in the leaderboard's.")
    ] = None,
    no_site: Annotated[bool, typer.Option("--no-site", help="Write the tables alone.")] = False,
) -> None:
    """Write the tables and the site from the records."""
    from robustbench_safety.cli.commands import build_leaderboard

    build_leaderboard(leaderboard, site=site, with_site=not no_site)


@leaderboard_app.command("verify")
def leaderboard_verify(
    leaderboard: LeaderboardOption = Path("leaderboard"),
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Run folders: records made from them are recomputed. predictions/ where it exists."
        ),
    ] = None,
    data: DataOption = None,
) -> None:
    """Check records, companions and tables; exit code 1 with a finding, 2 where a file cannot be read."""
    from robustbench_safety.cli.options import data_root_of
    from robustbench_safety.cli.submitting import verify_leaderboard

    code = verify_leaderboard(leaderboard, predictions=predictions, data=data_root_of(data))
    raise typer.Exit(code)


@leaderboard_app.command("add")
def leaderboard_add(
    record: RecordArgument,
    leaderboard: LeaderboardOption = Path("leaderboard"),
    recompute: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The sender's run folder; every score is made again from it."),
    ] = None,
    supersedes: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="First digits of the record's that this one corrects."),
    ] = None,
    by: ByOption = None,
    suite: Annotated[Path | None, typer.Option(help="YAML of a suite of one's own.")] = None,
    baseline: BaselineOption = None,
    data: DataOption = None,
) -> None:
    """Check a record that somebody sent and file it: self-reported, or recomputed from predictions."""
    from robustbench_safety.cli.options import data_root_of
    from robustbench_safety.cli.submitting import run_add

    run_add(
        leaderboard,
        record,
        data=data_root_of(data),
        suite=suite,
        baseline=baseline or [],
        recompute=recompute,
        supersedes=supersedes,
        by=by,
    )


@leaderboard_app.command("audit")
def leaderboard_audit(
    record: RecordArgument,
    model: Annotated[str, typer.Argument(help="family:architecture, or the path of a model file in YAML.")],
    checkpoint: Annotated[Path | None, typer.Option(help="File of weights.")] = None,
    leaderboard: LeaderboardOption = Path("leaderboard"),
    data: DataOption = None,
    images: Annotated[
        str, typer.Option(help="Source images drawn of each dataset, at least 500; or all.")
    ] = "500",
    seed: Annotated[int | None, typer.Option(help="That draws them; a new one by default.")] = None,
    by: ByOption = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Keep the predictions there; with --seed an audit is resumed.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...")] = None,
    batch_size: Annotated[str, typer.Option(help="Images in a batch; auto measures which is best.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Threads that decode images.")] = None,
    suite: Annotated[Path | None, typer.Option(help="YAML of a suite of one's own.")] = None,
    baseline: BaselineOption = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Unpickle a checkpoint that runs code.")
    ] = False,
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Run a program handed in: .pt2, TorchScript, python:.")
    ] = False,
) -> None:
    """Predict drawn images again; where they agree with the record, file it as verified. Else exit code 1."""
    from robustbench_safety.cli.auditing import images_of, run_audit
    from robustbench_safety.cli.options import batch_size_of, data_root_of

    code = run_audit(
        leaderboard,
        record,
        model,
        checkpoint=checkpoint,
        data=data_root_of(data),
        suite=suite,
        baseline=baseline or [],
        images=images_of(images),
        seed=seed,
        predictions=predictions,
        by=by,
        device=device,
        batch_size=batch_size_of(batch_size),
        workers=workers,
        trust_pickle=trust_pickle,
        trust_code=trust_code,
    )
    raise typer.Exit(code)


@leaderboard_app.command("show")
def leaderboard_show(
    suite: Annotated[str | None, typer.Argument(help="One suite; all when left out.")] = None,
    leaderboard: LeaderboardOption = Path("leaderboard"),
) -> None:
    """Show the table of each suite."""
    from robustbench_safety.cli.commands import show_leaderboard

    show_leaderboard(leaderboard, suite)
