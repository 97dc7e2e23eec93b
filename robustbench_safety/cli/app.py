"""The commands. Everything heavy is imported inside them, so that ``rbs --help`` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from robustbench_safety.cli import comparisons_app
from robustbench_safety.cli.data_app import DataOption, data_app
from robustbench_safety.cli.export_app import export
from robustbench_safety.cli.leaderboard_app import BaselineOption, LeaderboardOption, leaderboard_app
from robustbench_safety.cli.models_app import models_app
from robustbench_safety.cli.report_app import report
from robustbench_safety.errors import IncompleteError, RobustbenchSafetyError, UsageError

__all__ = ["app", "run"]

app = typer.Typer(
    name="rbs",
    help="Score how safe an image classifier is: corruptions, consistency, calibration ...",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
suites_app = typer.Typer(help="What can be measured.", no_args_is_help=True)
app.add_typer(leaderboard_app, name="leaderboard")
app.add_typer(suites_app, name="suites")
app.add_typer(models_app, name="models")
app.add_typer(data_app, name="data")
app.command("export")(export)
app.command("compare")(comparisons_app.compare)
app.command("check")(comparisons_app.check)
app.command("report")(report)

SuiteOption = Annotated[
    str, typer.Option("--suite", help="Name of a suite or a dataset, or the path of a YAML file of either.")
]


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is written.")] = Path(
        "rbs-demo"
    ),
) -> None:
    """Score two shipped checkpoints on real data that the package carries; no download."""
    from robustbench_safety.cli.commands import run_demo

    run_demo(out)


@app.command()
def score(
    model: Annotated[str, typer.Argument(help="family:architecture, or the path of a model file in YAML.")],
    suite: SuiteOption,
    checkpoint: Annotated[Path | None, typer.Option(help="File of weights.")] = None,
    name: Annotated[str | None, typer.Option(help="Name shown on the leaderboard.")] = None,
    data: DataOption = None,
    leaderboard: LeaderboardOption = Path("leaderboard"),
    predictions: Annotated[Path, typer.Option(help="Folder of stored predictions.")] = Path("predictions"),
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...")] = None,
    batch_size: Annotated[str, typer.Option(help="Images in a batch; auto measures which is best.")] = "auto",
    precision: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Of the forward pass; the model file's, else float32."),
    ] = None,
    tf32: Annotated[
        bool, typer.Option("--tf32", help="Let a CUDA device take float32 products with 10 bits.")
    ] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Let torch.compile translate the network.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Threads that decode images.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Another than the suite's; the row is then partial.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="First N source images; the row is then partial.")] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out what has no data; the row is then partial.")
    ] = False,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Unpickle a checkpoint that runs code; the record says so.")
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option("--trust-code", help="Run a program handed in: .pt2, TorchScript, python:."),
    ] = False,
    baseline: BaselineOption = None,
) -> None:
    """Score a model on a suite. Run it again after an interruption and it goes on from there."""
    from robustbench_safety.cli.commands import run_score
    from robustbench_safety.cli.options import batch_size_of, data_root_of

    run_score(
        leaderboard,
        model,
        suite=suite,
        checkpoint=checkpoint,
        name=name,
        data=data_root_of(data),
        predictions=predictions,
        device=device,
        batch_size=batch_size_of(batch_size),
        precision=precision,
        tf32=tf32,
        compiled=compiled,
        workers=workers,
        seed=seed,
        limit=limit,
        skip_missing=skip_missing,
        trust_pickle=trust_pickle,
        trust_code=trust_code,
        baseline=baseline or [],
    )


@app.command()
def rescore(
    run_folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run folder that `rbs score` printed.")],
    suite: SuiteOption,
    data: DataOption = None,
    leaderboard: LeaderboardOption = Path("leaderboard"),
    baseline: BaselineOption = None,
) -> None:
    """Make the record again from stored predictions, without the model and the images.

    Labels in files of their own (ReaL, CIFAR-10H) are read again, under --data.
    """
    from robustbench_safety.cli.commands import run_rescore
    from robustbench_safety.cli.options import data_root_of

    run_rescore(leaderboard, run_folder, suite, data=data_root_of(data), baseline=baseline or [])


@app.command()
def corrupt(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Any photograph.")],
    out: Annotated[Path, typer.Option(help="The contact sheet: .png, .jpg or .webp.")],
    name: Annotated[
        list[str] | None, typer.Option(help="A corruption; may be given again. All when left out.")
    ] = None,
    variant: Annotated[
        str, typer.Option(help="Size and parameters: imagenet (224 px), inception, tiny or cifar.")
    ] = "imagenet",
    seed: Annotated[int, typer.Option(min=0, help="Of the random corruptions.")] = 0,
    data: DataOption = None,
) -> None:
    """Show every corruption of a photograph at every severity in one picture."""
    from robustbench_safety.cli.corrupt import corrupt_image
    from robustbench_safety.cli.options import data_root_of

    corrupt_image(image, out, names=name or [], variant=variant, seed=seed, data=data_root_of(data))


@suites_app.command("list")
def suites_list() -> None:
    """List the suites."""
    from robustbench_safety.cli.lists import list_suites

    list_suites()


@suites_app.command("show")
def suites_show(name: Annotated[str, typer.Argument(help="Name, or the path of a YAML file.")]) -> None:
    """Show the cells and columns of a suite."""
    from robustbench_safety.cli.lists import show_suite

    show_suite(name)


@suites_app.command("baseline")
def suites_baseline(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="Record of the reference network, .json.")],
    out: Annotated[Path, typer.Option(help="Folder; one YAML file for each baseline of the suite.")],
    suite: Annotated[
        str | None, typer.Option("--suite", help="Path of the record's suite, where it is not a shipped one.")
    ] = None,
) -> None:
    """Write what a record has measured as baselines, for --baseline of `rbs score`."""
    from robustbench_safety.cli.commands import write_baselines

    write_baselines(record, out, suite)


#: Characters; a name in a file that somebody handed in may have millions.
_LONGEST_MESSAGE = 4000


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; the one place where errors become messages."""
    try:
        result = app(arguments, standalone_mode=False)
    except RobustbenchSafetyError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; run the same command again", IncompleteError.exit_code)
    except OSError as error:
        # What no module foresaw: a disk that filled up while a table was written, a pipe that was closed.
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}", UsageError.exit_code)
    except Exception as error:
        # click's own exceptions carry their message and exit code; anything else is a defect of ours.
        if not (hasattr(error, "exit_code") and hasattr(error, "format_message")):
            raise
        context = getattr(error, "ctx", None)
        usage = f"{context.get_usage()}\n" if context is not None else ""
        return _fail(f"{usage}{error.format_message()}", int(error.exit_code))
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    # A name in a file that somebody handed in may hold what would steer the terminal.
    cut = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]} ..."
    shown = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in cut)
    typer.echo(f"rbs: {shown}", err=True)
    return code
