"""The commands ``rbs data``: what datasets there are, where they lie, whether they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["DataOption", "data_app"]

data_app = typer.Typer(help="What it is measured on.", no_args_is_help=True)

DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", help="Data root, or NAME=DIR for one dataset; may be given again.", metavar="DIR"),
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a dataset, or the path of a manifest in YAML.")
]


@data_app.command("list")
def data_list(data: DataOption = None) -> None:
    """List the datasets, and which of them are at hand."""
    from robustbench_safety.cli.datasets import list_data
    from robustbench_safety.cli.options import data_root_of

    list_data(data_root_of(data))


@data_app.command("show")
def data_show(name: NameArgument, data: DataOption = None) -> None:
    """Show everything that is known of a dataset: layout, counts, archives, licence, what is unverified."""
    from robustbench_safety.cli.datasets import show_dataset
    from robustbench_safety.cli.options import data_root_of

    show_dataset(name, data_root_of(data))


@data_app.command("fetch")
def data_fetch(name: NameArgument, data: DataOption = None) -> None:
    """Fetch, check and unpack the published archives. Run it again after an interruption and it goes on."""
    from robustbench_safety.cli.datasets import fetch
    from robustbench_safety.cli.options import data_root_of

    raise typer.Exit(fetch(name, data_root_of(data, must_exist=False)))


@data_app.command("verify")
def data_verify(
    name: NameArgument,
    data: DataOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Names, classes and counts alone: no picture is decoded.")
    ] = False,
    archive: Annotated[
        list[Path] | None, typer.Option("--archive", help="Archive that lies elsewhere; may be given again.")
    ] = None,
    digests: Annotated[
        Path | None, typer.Option("--digests", help="Compare every file with this file of sha256 sums.")
    ] = None,
    write_digests: Annotated[
        Path | None, typer.Option("--write-digests", help="Write such a file, as sha256sum does.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode pictures.")] = None,
) -> None:
    """Check archives and the unpacked tree; exit code 1 when something is wrong."""
    from robustbench_safety.cli.datasets import verify
    from robustbench_safety.cli.options import data_root_of

    code = verify(
        name, data_root_of(data), quick=quick, archives=archive or [], digests=digests,
        write_digests_to=write_digests, workers=workers)  # fmt: skip
    raise typer.Exit(code)


@data_app.command("new")
def data_new(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of pictures, tar shards or Parquet files, .npy file, .txt list, or hf:owner/name.",
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the new dataset.")],
    role: Annotated[
        Literal["clean", "shift", "ood"], typer.Option(help="ood: images that belong to no class.")
    ] = "clean",
    label_space: Annotated[
        str | None, typer.Option(help="Label space that the classes belong to; a new one when left out.")
    ] = None,
    companion: Annotated[
        str | None, typer.Option(help="Dataset to compare with; for ood the in-distribution images.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder that the paths of a list start from; its own when left out.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of a Hugging Face dataset.")] = None,
    title: Annotated[str | None, typer.Option(help="Shown in lists.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the images.")] = None,
    citation: Annotated[str | None, typer.Option(help="Where the images come from.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the manifest.")] = Path(),
) -> None:
    """Write a manifest for images of your own, and say how to score on them."""
    from robustbench_safety.cli.datasets import new

    new(
        source, out, name=name, role=role, label_space=label_space, companion=companion, images=images,
        split=split, title=title, licence=licence, citation=citation)  # fmt: skip


@data_app.command("make")
def data_make(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="cifar10-c, cifar10-p, imagenet-c, ...: a generated dataset, or its manifest.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the files; the manifest goes beside it.")],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Folder of the clean images.")
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="CORRUPTION",
            help="Make this corruption or sequence alone, beside what was made before; may be given again.",
        ),
    ] = None,
    data: DataOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the corruptions.")] = 0,
    format: Annotated[  # noqa: A002  # the option's name
        Literal["npy", "jpeg", "mp4"] | None,
        typer.Option(help="Left out: as published, npy at 32 px, JPEG files and mp4 clips above."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core when left out.")] = None,
) -> None:
    """Write corruptions or sequences to disk, in the published layout. Run it again and it goes on.

    A shipped dataset wants all of its clean images. A few pictures of your own need a manifest
    (`rbs data new`), and beside it one whose layout is generated; docs/datasets.md shows both.
    """
    from robustbench_safety.cli.datasets import make
    from robustbench_safety.cli.options import data_root_of

    make(
        name, data_root_of(data), out, source=source, conditions=conditions or (), seed=seed, format=format,
        workers=workers)  # fmt: skip
