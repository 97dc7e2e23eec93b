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
    candidate: Annotated[Path, typer.Argument(metavar="CANDIDATE", help="Record that is checked, .json.")],
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
) -> None:
    """Fail, with exit code 1, where a model got worse than its baseline and that is no chance.

    Exit code 2 where the two records are not comparable.
    """
    if baseline is None:
        raise UsageError("--baseline", expected="the record that the candidate is held against", found="none")
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
        suite=suite,
        data=data_root_of(data),
    )
    raise typer.Exit(1 if report.failed else 0)
