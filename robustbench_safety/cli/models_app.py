"""The commands ``rbs models``: what can be scored, what will be used, and a model file of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["CodeOption", "ModelArgument", "PickleOption", "models_app"]

models_app = typer.Typer(help="What can be scored.", no_args_is_help=True)

ModelArgument = Annotated[
    str, typer.Argument(help="family:architecture, or the path of a model file in YAML.")
]
PickleOption = Annotated[
    bool, typer.Option("--trust-pickle", help="Unpickle a checkpoint that runs code; the record says so.")
]
CodeOption = Annotated[
    bool, typer.Option("--trust-code", help="Run a program handed in: .pt2, TorchScript, python:.")
]


@models_app.command("list")
def models_list(
    family: Annotated[str | None, typer.Argument(help="List the architectures of one family.")] = None,
) -> None:
    """List the model families, or the architectures of one."""
    from robustbench_safety.cli.lists import list_models

    list_models(family)


@models_app.command("show")
def models_show(
    model: ModelArgument,
    checkpoint: Annotated[Path | None, typer.Option(help="File of weights.")] = None,
    label_space: Annotated[
        str | None, typer.Option(help="What a suite would speak; used where the model declares none.")
    ] = None,
    trust_pickle: PickleOption = False,
    trust_code: CodeOption = False,
) -> None:
    """Load a model and print what will be used, as a complete model file."""
    from robustbench_safety.cli.models import show_model

    show_model(
        model, checkpoint=checkpoint, label_space=label_space, trust_pickle=trust_pickle,
        trust_code=trust_code)  # fmt: skip


@models_app.command("new")
def models_new(
    checkpoint: Annotated[
        Path, typer.Argument(help="File of weights, ONNX file, exported program, or folder of the hub.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="family:architecture; may be left out where the file itself says it."),
    ] = None,
    label_space: Annotated[str | None, typer.Option(help="Label space that it speaks.")] = None,
    preprocessing: Annotated[
        Path | None,
        typer.Option(help="YAML file of input_size, resize, crop, interpolation, mean and std."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; the checkpoint's name in the current folder.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name shown on the leaderboard.")] = None,
    trust_pickle: PickleOption = False,
    trust_code: CodeOption = False,
) -> None:
    """Write a complete model file for a checkpoint, once it has been loaded and run."""
    from robustbench_safety.cli.models import new_model_file

    new_model_file(
        checkpoint, model=model, label_space=label_space, preprocessing=preprocessing, out=out, name=name,
        trust_pickle=trust_pickle, trust_code=trust_code)  # fmt: skip
