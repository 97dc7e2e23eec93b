"""The options of ``rbs compare`` and ``rbs check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_safety.cli.data_app import DataOption
from robustbench_safety.errors import UsageError

__all__ = ["check", "compare"]

OwnSuiteOption = Annotated[
    str | None,
    typer.Option("--suite", help="Path of the records' suite, where it is not a shipped one."),
]

_A_FILE = "a file, or - for standard output in place of the table."


def compare(
    records: Annotated[
        list[Path],
        typer.Argument(metavar="RECORD RECORD ...", help="Records, .json; each is held against the first."),
    ],
    predictions: Annotated[
        list[Path] | None,
        typer.Option(help="Stored predictions: one folder for all, or given again for each record."),
    ] = None,
    suite: OwnSuiteOption = None,
    data: DataOption = None,
) -> None:
    """Compare records column by column, image by image where their companions or predictions are at hand."""
    from robustbench_safety.cli.comparisons import run_compare
    from robustbench_safety.cli.options import data_root_of

    run_compare(records, predictions=predictions or [], suite=suite, data=data_root_of(data))


def check(
    candidate: Annotated[
        Path | None, typer.Argument(metavar="CANDIDATE", help="Record that is checked, .json.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="Record that it is held against, .json.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Stored predictions of the candidate: what the companion lacks.")
    ] = None,
    baseline_predictions: Annotated[
        Path | None, typer.Option(help="Those of the baseline, where they do not lie there too.")
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=POINTS", help="Drop that is allowed; may be given again. 0 if left out."
        ),
    ] = None,
    tolerances: Annotated[Path | None, typer.Option(help="YAML of column: points.")] = None,
    fail_on_any: Annotated[
        bool, typer.Option("--fail-on-any", help="Let a drop above its tolerance fail without a test.")
    ] = False,
    allow_preprocessing_change: Annotated[
        bool,
        typer.Option("--allow-preprocessing-change", help="Compare models that see the images differently."),
    ] = False,
    suite: OwnSuiteOption = None,
    data: DataOption = None,
    json: Annotated[Path | None, typer.Option("--json", help=f"The report as JSON; {_A_FILE}")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help=f"As JUnit XML; {_A_FILE}")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help=f"As a pull request comment; {_A_FILE}")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option("--annotations", help=f"As GitHub's workflow commands; {_A_FILE}")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say which drop would be found; goes with --n and --discordance.")
    ] = False,
    n: Annotated[int | None, typer.Option("--n", help="Images, for --plan.")] = None,
    discordance: Annotated[
        float | None, typer.Option(help="Share of images that exactly one model gets right, for --plan.")
    ] = None,
    drop: Annotated[
        list[float] | None, typer.Option(help="True drop in points, for --plan; may be given again.")
    ] = None,
    columns: Annotated[int, typer.Option(help="Gated columns, for --plan.")] = 5,
    alpha: Annotated[float, typer.Option(help="Chance of any false alarm.")] = 0.05,
) -> None:
    """Fail, with exit code 1, where a model got worse than its baseline beyond chance.

    Exit code 2 where the two records are not comparable.
    """
    if plan:
        from robustbench_safety.cli.planning import plan_tolerance, run_plan

        if candidate is not None or baseline is not None:
            raise UsageError("--plan", expected="no records: it plans before there are any", found="a record")
        others = {
            "--predictions": predictions, "--baseline-predictions": baseline_predictions,
            "--tolerances": tolerances, "--fail-on-any": fail_on_any, "--suite": suite, "--data": data,
            "--allow-preprocessing-change": allow_preprocessing_change,
            "--junit": junit, "--markdown": markdown, "--annotations": annotations,
        }  # fmt: skip
        if given := [name for name, value in others.items() if value]:
            raise UsageError(
                "--plan",
                expected="--n, --discordance, --drop, --columns, --alpha, --tolerance or --json with it",
                found=", ".join(given),
            )
        run_plan(
            n,
            discordance,
            tolerance=plan_tolerance(tolerance or []),
            alpha=alpha,
            n_columns=columns,
            drops=drop or [],
            json=json,
        )
        return
    if candidate is None or baseline is None:
        raise UsageError(
            "a check is of two records",
            expected="CANDIDATE and --baseline BASELINE",
            found="one of them" if candidate or baseline else "none",
            fix="or ask what would be found: --plan",
        )
    if n is not None or discordance is not None or drop:
        raise UsageError("--n, --discordance and --drop", expected="with --plan alone", found="two records")
    from robustbench_safety.cli.check_outputs import CheckOutputs
    from robustbench_safety.cli.comparisons import run_check
    from robustbench_safety.cli.options import data_root_of

    report = run_check(
        candidate,
        baseline,
        predictions=predictions,
        baseline_predictions=baseline_predictions,
        tolerance=tolerance or [],
        tolerances=tolerances,
        fail_on_any=fail_on_any,
        allow_preprocessing_change=allow_preprocessing_change,
        alpha=alpha,
        suite=suite,
        data=data_root_of(data),
        outputs=CheckOutputs(json=json, junit=junit, markdown=markdown, annotations=annotations),
    )
    raise typer.Exit(1 if report.failed else 0)
