"""``rbs export``: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export"]


def export(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="Record that `rbs score` wrote, .json.")],
    out: Annotated[Path, typer.Option(help="Copy of the model's repository, or a new folder.")],
    model_id: Annotated[str, typer.Option(help="The model's repository on the hub: owner/name.")],
    benchmark: Annotated[
        str | None,
        typer.Option(help="The benchmark's dataset on the hub: owner/name; else robustbench-safety/SUITE."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Address that shows where the numbers are from.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other results of this suite.")
    ] = False,
) -> None:
    """Write a record as a Hugging Face model card and .eval_results; nothing is sent."""
    from robustbench_safety.cli.exporting import run_export

    run_export(record, out, model_id=model_id, benchmark=benchmark, source=source, overwrite=overwrite)
