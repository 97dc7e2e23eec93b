"""The command that remakes a row, as far as its record knows, and the model file that goes with it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from robustbench_safety.files.yaml_text import dump_yaml
from robustbench_safety.records import ModelFile, ModelSpec, ScoreRecord, Suite, ZeroShotFile

__all__ = ["ModelFileText", "Reproduction", "reproduction"]

#: The model file, and the members' of an ensemble, as the command calls them.
_MODEL_FILE, _MEMBER = "model.yaml", "member"
#: Families whose file or folder is the model: what the record calls a checkpoint is found by the name itself.
_IS_A_PATH = ("export", "hf", "onnx")
#: Families that say themselves what their own weights were trained on.
_SAYS_TRAINING = ("clip", "ensemble", "timm", "torchvision")
#: A model file tells such sets of templates by name; another is a text file.
_TEMPLATES = ("openai-80", "openai-7", "plain")


@dataclass(frozen=True, kw_only=True)
class ModelFileText:
    """A model file as it would be written."""

    name: str
    content: str


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """How a row is made again."""

    command: str | None
    """One line for a POSIX shell; None where ``why_not`` says why there is none."""
    why_not: str = ""
    needs_file: bool = False
    """Whether the command names the model file; else that pins what the name leaves to the family."""
    because: tuple[str, ...] = ()
    """What a name alone cannot say."""
    files: tuple[ModelFileText, ...] = ()
    needs: tuple[str, ...] = ()
    """What must be at hand."""


def reproduction(record: ScoreRecord, suite: Suite | None) -> Reproduction:
    """Return how a record's row is made again.

    Args:
        record: The record.
        suite: The shipped suite that it was scored on; None for any other.
    """
    spec = record.model
    because = tuple(_beyond_a_name(spec))
    files: tuple[ModelFileText, ...] = ()
    if because or spec.family != "predictions":
        name = record.display_name if record.display_name != spec.name else None
        files = tuple(_model_files(spec, _MODEL_FILE, name=name))
    model = files[0].name if because else spec.name
    arguments = _arguments(record, suite, model, by_name=not because)
    needs = tuple(_needs(record, suite))
    if any(not character.isprintable() for argument in arguments for character in argument):
        why = "A name in the record has characters that cannot be typed, so no command is shown."
        return Reproduction(command=None, why_not=why, because=because, files=files, needs=needs)
    return Reproduction(
        command=shlex.join(arguments), needs_file=bool(because), because=because, files=files, needs=needs
    )


def _arguments(record: ScoreRecord, suite: Suite | None, model: str, *, by_name: bool) -> list[str]:
    spec, environment = record.model, record.environment
    options: list[tuple[str, str | None]] = [("--suite", record.suite.name)]
    if by_name and spec.checkpoint is not None and spec.family not in _IS_A_PATH:
        options.append(("--checkpoint", spec.checkpoint.file))
    if record.display_name != spec.name:
        options.append(("--name", record.display_name))
    if suite is None or record.seed != suite.seed:
        options.append(("--seed", str(record.seed)))
    if record.limit is not None:
        options.append(("--limit", str(record.limit)))
    if environment.known:
        options += [
            ("--device", environment.device),
            ("--precision", environment.precision),
            ("--batch-size", str(environment.batch_size)),
        ]
        options += [("--tf32", None)] * environment.tf32 + [("--compile", None)] * environment.compiled
    if any(score.value is None for score in record.scores.values()) and _left_out(record):
        options.append(("--skip-missing", None))
    # What somebody types is theirs: a python: network needs to be trusted in a model file alone.
    options += [(f"--trust-{what}", None) for what in spec.trusted]
    written = [part for option in options for part in _option(*option)]
    if model.startswith("-"):
        return ["rbs", "score", *written, "--", model]  # behind "--" it is no option
    return ["rbs", "score", model, *written]


def _option(name: str, value: str | None) -> list[str]:
    if value is None:
        return [name]
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _left_out(record: ScoreRecord) -> bool:
    """Tell a row with cells that were left out from one that is partial for its limit or seed alone."""
    return any(not reason.startswith(("limit:", "seed:")) for reason in record.partial_because)


def _beyond_a_name(spec: ModelSpec) -> list[str]:
    """Return what ``family:architecture`` cannot say of a model."""
    found = []
    if spec.family == "ensemble":
        found.append("an ensemble's members stand in files of their own")
    elif spec.outputs == "probabilities" and spec.family != "predictions":
        found.append("the network returns probabilities")
    if spec.family == "python" and "code" in spec.trusted:
        found.append("its code was named by a model file")
    if spec.head_classes is not None and spec.family != "hf":
        found.append("the classes of the head")
    if spec.probe is not None:
        found.append("a linear classifier on the features")
    if spec.zero_shot is not None and spec.zero_shot.templates != _usual_templates(spec):
        found.append("the templates of the prompts")
    stated = spec.training_data is not None or bool(spec.trained_on)
    own_weights = spec.checkpoint is None or spec.family == "ensemble"
    if stated and not (spec.family in _SAYS_TRAINING and own_weights):
        found.append("what the model was trained on")
    if spec.augmentations and spec.family != "ensemble":
        found.append("the augmentations of its training")
    return found


def _usual_templates(spec: ModelSpec) -> str:
    return "openai-80" if spec.label_space == "imagenet-1k" else "plain"


def _model_files(spec: ModelSpec, file: str, *, name: str | None) -> Iterator[ModelFileText]:
    """Yield the model file, and for an ensemble its members' after it."""
    stem = _MEMBER if file == _MODEL_FILE else file.removesuffix(".yaml")
    members = tuple(f"{stem}-{i + 1}.yaml" for i in range(len(spec.members)))
    written = _model_file(spec, name=name, members=members).model_dump(mode="json", exclude_defaults=True)
    ordered = {key: written[key] for key in ModelFile.model_fields if key in written}
    yield ModelFileText(name=file, content=_visible(dump_yaml(ordered)))
    for member, inside in zip(spec.members, members, strict=True):
        yield from _model_files(member, inside, name=None)


def _visible(text: str) -> str:
    """Write out what cannot be seen: text that has such stands in double quotes, where YAML reads escapes."""
    return "".join(
        c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
        for c in text
    )


def _model_file(spec: ModelSpec, *, name: str | None, members: tuple[str, ...]) -> ModelFile:
    checkpoint, head, text = spec.checkpoint, spec.head_classes, spec.zero_shot
    # Of an ensemble's own pixels, outputs and training nothing is written: they are its members'.
    one = spec.family != "ensemble"
    return ModelFile(
        model=spec.name,
        checkpoint=checkpoint.file if checkpoint is not None and spec.family not in _IS_A_PATH else None,
        sha256=checkpoint.sha256 if checkpoint is not None else None,
        label_space=spec.label_space,
        head_classes=head.source if head is not None and spec.family != "hf" else None,
        outputs="probabilities" if one and spec.outputs == "probabilities" else "logits",
        preprocessing=spec.preprocessing if one and spec.network_known else None,
        zero_shot=ZeroShotFile(templates=text.templates) if text is not None else None,
        members=members,
        combine=spec.combine,
        training_data=spec.training_data if one else None,
        trained_on=spec.trained_on if one else (),
        augmentations=spec.augmentations if one else (),
        name=name,
    )


def _needs(record: ScoreRecord, suite: Suite | None) -> list[str]:
    """Return what must be at hand before the command makes the same row."""
    spec, said = record.model, []
    for one in (spec, *spec.members):
        if one.checkpoint is not None:
            said.append(f"the file {one.checkpoint.file}, sha256 {one.checkpoint.sha256}")
        if one.head_classes is not None and one.family != "hf":
            head = one.head_classes
            said.append(f"the list {head.source} of the head's classes, digest {head.digest}")
        if one.probe is not None:
            said.append(
                f"the linear classifier {one.probe.file}, sha256 {one.probe.sha256}: name it as `probe` in "
                "the model file, with whether the features are normalised"
            )
        if one.family == "python":
            digest = f", sha256 {one.code_digest}" if one.code_digest is not None else ""
            said.append(f"the code of {one.name}{digest}")
        if one.zero_shot is not None and one.zero_shot.templates not in _TEMPLATES:
            said.append(
                f"the text file {one.zero_shot.templates} of prompt templates, digest "
                f"{one.zero_shot.templates_digest}, with class names of {one.zero_shot.names}, digest "
                f"{one.zero_shot.names_digest}"
            )
    if spec.family == "predictions":
        said.append(f"the predictions {spec.architecture}, sha256 {spec.weights_digest}")
    if suite is None:
        said.append(
            f"the suite {record.suite.name}, version {record.suite.version}, digest {record.suite.digest}: "
            "it is not the one that this version ships, so name its own file with --suite, and its own "
            "baselines with --baseline"
        )
    if record.environment.known:
        device, threads = record.environment.device_name, record.environment.threads
        said.append(
            f"for the last bits {device}, {threads} thread{'s' if threads != 1 else ''}, the same libraries"
        )
    said.append("the data of the suite; with --data DIR where they lie elsewhere than by default")
    return said
