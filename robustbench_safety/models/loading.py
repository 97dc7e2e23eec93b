"""Load a model: from its name or model file to a network that is ready to be scored."""

from __future__ import annotations

from pathlib import Path

from robustbench_safety.errors import ModelError, UsageError
from robustbench_safety.files import read_yaml
from robustbench_safety.labels import load_label_space
from robustbench_safety.models.checkpoints import (
    load_strictly,
    read_checkpoint,
    require_checkpoint_file,
    weights_digest,
)
from robustbench_safety.models.families import load_family
from robustbench_safety.models.model import Built, Model, Normalised
from robustbench_safety.models.probe import count_outputs
from robustbench_safety.records import CheckpointInfo, ModelFile, ModelSpec

__all__ = ["load_model"]

_MODEL_FILE_ENDINGS = (".yaml", ".yml")


def load_model(
    model: str | Path,
    *,
    checkpoint: Path | None = None,
    label_space: str | None = None,
    trust_code: bool = False,
) -> Model:
    """Build a network, read its weights without running code, and check that it does what it says.

    Args:
        model: ``family:architecture``, or the path of a model file in YAML.
        checkpoint: Weights; goes before the one that a model file names. Without any, timm fetches its own, a
            ``python`` network keeps those it was built with, and the other families refuse.
        label_space: What the suite speaks. Used only where neither model file nor family declares a label
            space; one they declare is kept even where it differs, and it is the caller who compares.
        trust_code: Whether a model file may name a ``python`` network, whose code is then run.

    Returns:
        The model on the CPU, in evaluation mode, its parameters frozen.

    Raises:
        UsageError: ``model`` is malformed, needs ``trust_code``, or speaks no label space.
        UnknownNameError: No such family, architecture or label space; near names are shown.
        FileFormatError: The model file does not hold what it should.
        CheckpointError: The weights cannot be read safely, or do not fit.
        ModelError: The network fails, or has another class count than its label space.
    """
    path = Path(model)
    is_file = isinstance(model, Path) or path.suffix in _MODEL_FILE_ENDINGS
    asked = read_yaml(path, ModelFile) if is_file else ModelFile(model=str(model))
    family, _, architecture = asked.model.partition(":")
    where = f"{path}: model" if is_file else "model"
    if not family or not architecture:
        raise UsageError(
            f"{where} {asked.model!r} is malformed",
            expected="family:architecture, e.g. timm:resnet50, or the path of a model file ending in .yaml",
        )
    if is_file and family == "python" and not trust_code:
        raise UsageError(
            f"{where} {asked.model!r} runs code of its own", fix="read that code, then give --trust-code"
        )
    if checkpoint is None and asked.checkpoint is not None:
        checkpoint = path.parent / asked.checkpoint
    if checkpoint is not None:
        require_checkpoint_file(checkpoint)  # before a family is imported, which can take seconds
    built = load_family(family).build(
        architecture, label_space=asked.label_space, pretrained=checkpoint is None
    )
    info = _load_weights(built, checkpoint, model=asked.model) if checkpoint is not None else None
    return _ready(built, asked, info, suite_label_space=label_space)


def _load_weights(built: Built, checkpoint: Path, *, model: str) -> CheckpointInfo:
    names = built.network.state_dict().keys()
    values, info = read_checkpoint(checkpoint, names=names, aliases=built.key_aliases)
    rules = load_strictly(built.network, values, source=f"checkpoint {checkpoint}", model=model)
    return info.model_copy(update={"unwrapped": (*info.unwrapped, *rules)})


def _ready(
    built: Built, asked: ModelFile, info: CheckpointInfo | None, *, suite_label_space: str | None
) -> Model:
    space_name = asked.label_space or built.label_space or suite_label_space
    if space_name is None:
        raise UsageError(
            f"{asked.model} speaks no label space",
            expected="the name of one, e.g. cifar-10",
            fix="give the network an attribute label_space, or write it in a model file",
        )
    n_classes = len(load_label_space(space_name).classes)
    preprocessing = asked.preprocessing or built.preprocessing
    network = Normalised(built.network, preprocessing).eval().requires_grad_(requires_grad=False)
    n_outputs = count_outputs(network, input_size=preprocessing.input_size, name=asked.model)
    if n_outputs != n_classes:
        raise ModelError(
            f"{asked.model} has another number of outputs than label space {space_name} has classes",
            expected=str(n_classes),
            found=str(n_outputs),
            fix="declare the label space that the network was trained for",
        )
    family, _, architecture = asked.model.partition(":")
    spec = ModelSpec(
        family=family,
        architecture=architecture,
        checkpoint=info,
        weights_digest=weights_digest(built.network.state_dict()),
        code_digest=built.code_digest,
        parameters=sum(parameter.numel() for parameter in built.network.parameters()),
        label_space=space_name,
        preprocessing=preprocessing,
        training_data=asked.training_data or built.training_data,
    )
    return Model(spec=spec, network=network, n_classes=n_classes, name=asked.name or asked.model)
