"""What ``rbs models show`` and ``rbs models new`` do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer

from robustbench_safety.cli.screen import screen
from robustbench_safety.files import read_yaml
from robustbench_safety.files.yaml_text import dump_yaml
from robustbench_safety.models.loading import ask, load_asked
from robustbench_safety.models.model import Asked, Model, Trust
from robustbench_safety.models.model_files import complete, path_from, write_model_file
from robustbench_safety.records import CheckpointInfo, ModelSpec, Preprocessing

__all__ = ["new_model_file", "show_model"]


def show_model(
    model: str, *, checkpoint: Path | None, label_space: str | None, trust_pickle: bool, trust_code: bool
) -> None:
    """Load a model and print a model file that loads it again, with what else is known of it as comments."""
    trust = Trust(pickle=trust_pickle, code=trust_code)
    family, asked = ask(model, checkpoint=checkpoint, label_space=label_space, trust=trust)
    loaded = load_asked(family, asked)
    written = asked.file.checkpoint
    if checkpoint is not None:
        written = path_from(asked.folder, checkpoint)
    file = complete(loaded, asked, checkpoint=written)
    # What has its default is written as well: nothing that is used is hidden.
    fields = file.model_dump(mode="json", exclude_defaults=True)
    fields |= {"outputs": file.outputs, "precision": file.precision or "float32"}
    # By echo, not by the console: that takes :smile: for a picture and breaks lines.
    typer.echo(dump_yaml({key: fields[key] for key in type(file).model_fields if key in fields}), nl=False)
    for line in _facts(loaded, asked):
        typer.echo(f"# {printable(line)}")


def printable(text: str) -> str:
    """Return ``text`` in one line, with what would steer a terminal written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _facts(model: Model, asked: Asked) -> Iterator[str]:
    spec = model.spec
    yield f"paths are relative to {asked.folder.absolute()}"
    yield f"classes            {model.n_classes}"
    yield from _of_spec(spec)
    for i, member in enumerate(spec.members):
        yield f"member {i + 1}           {member.name}, label space {member.label_space}"
        yield f"  preprocessing    {member.preprocessing.model_dump(mode='json')}"
        yield from (f"  {line}" for line in _of_spec(member))


def _of_spec(spec: ModelSpec) -> Iterator[str]:
    yield f"weights            sha256 {spec.weights_digest} over the tensors"
    yield from _of_file("checkpoint", spec.checkpoint)
    if spec.probe is not None:
        yield from _of_file("probe", spec.probe)
    if spec.code_digest is not None:
        yield f"code               sha256 {spec.code_digest}"
    yield f"parameters         {spec.parameters:,}"
    yield f"FLOPs              {f'{spec.flops:,} for one image' if spec.flops is not None else 'not known'}"
    yield f"features           {f'{spec.features} before the last layer' if spec.features else 'none'}"
    yield f"gradients          {'yes' if spec.gradients else 'no: cells that attack are null'}"
    yield f"trusted            {', '.join(spec.trusted) or 'nothing'}"
    if spec.head_classes is not None:
        head = spec.head_classes
        yield f"head               {head.outputs} outputs, list {head.source}, sha256 {head.digest}"
    if spec.zero_shot is not None:
        text = spec.zero_shot
        yield f"templates          {text.templates}, sha256 {text.templates_digest}"
        yield f"class names        {text.names}, sha256 {text.names_digest}"
        yield f"logit scale        {text.logit_scale!r}, bias {text.logit_bias!r}"


def _of_file(what: str, info: CheckpointInfo | None) -> Iterator[str]:
    if info is None:
        yield f"{what:<18} none was handed in"
        return
    yield f"{what:<18} {info.file}, {info.format}, sha256 {info.sha256}"
    yield f"{what + ' rules':<18} {', '.join(info.unwrapped) or 'none were needed'}"


def new_model_file(
    checkpoint: Path,
    *,
    model: str | None,
    label_space: str | None,
    preprocessing: Path | None,
    out: Path | None,
    name: str | None,
    trust_pickle: bool,
    trust_code: bool,
) -> None:
    """Write a model file for a checkpoint, and say how to score with it."""
    out = out or Path(f"{checkpoint.resolve().stem}.yaml")
    trust = Trust(pickle=trust_pickle, code=trust_code)
    loaded = write_model_file(
        checkpoint,
        out,
        model=model,
        label_space=label_space,
        preprocessing=read_yaml(preprocessing, Preprocessing) if preprocessing is not None else None,
        name=name,
        trust=trust,
    )
    trusted = "".join(f" --trust-{kind}" for kind in loaded.spec.trusted)
    show = screen()
    show.print(str(out), markup=False, emoji=False, soft_wrap=True)
    show.print(
        f"look through it, then: rbs score {out} --suite SUITE{trusted}",
        markup=False,
        emoji=False,
        soft_wrap=True,
    )
