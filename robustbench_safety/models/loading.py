"""Load a model: from its name or model file to a network that is ready to be scored."""

from __future__ import annotations

from pathlib import Path

from robustbench_safety.augmentations import check_augmentations
from robustbench_safety.errors import CheckpointError, ModelError, UsageError
from robustbench_safety.files import file_digest, read_yaml
from robustbench_safety.labels import load_label_space
from robustbench_safety.models.classifier import Classifier
from robustbench_safety.models.families import family_names, load_family
from robustbench_safety.models.features import find_last_layer
from robustbench_safety.models.head import select_head
from robustbench_safety.models.model import Asked, Built, Model, Trust
from robustbench_safety.models.probe import examine, noise_image
from robustbench_safety.models.weights.checkpoints import TRUSTED_PICKLE, require_checkpoint_file
from robustbench_safety.models.weights.strict import load_checkpoint, weights_digest
from robustbench_safety.records import CheckpointInfo, ModelFile, ModelSpec, Trusted

__all__ = ["MODEL_FILE_ENDINGS", "ask", "load_asked", "load_model", "names_a_model_file"]

MODEL_FILE_ENDINGS = (".yaml", ".yml")
#: Model files within each other: an ensemble's, and its members'.
_DEEPEST = 8
#: Fields of a model file that one family alone understands.
_OF_ONE_FAMILY = {"zero_shot": "clip", "probe": "clip", "members": "ensemble", "combine": "ensemble"}


def load_model(
    model: str | Path,
    *,
    checkpoint: str | Path | None = None,
    label_space: str | None = None,
    trust_pickle: bool = False,
    trust_code: bool = False,
) -> Model:
    """Build a network, read its weights without running code, and check that it does what it says.

    Args:
        model: ``family:architecture``, or the path of a model file in YAML.
        checkpoint: Weights; goes before the one that a model file names. Without any, timm, torchvision, clip
            and hf fetch their own, a ``python`` network keeps those it was built with, and the other families
            refuse.
        label_space: What the suite speaks. Used only where neither model file nor family declares a label
            space; one they declare is kept even where it differs, and it is the caller who compares.
        trust_pickle: Whether a checkpoint that needs code to be run is unpickled.
        trust_code: Whether a program that was handed in is run: .pt2, TorchScript, or a ``python`` network
            that a model file names.

    Returns:
        The model on the CPU, in evaluation mode, its parameters frozen.

    Raises:
        UsageError: ``model`` is malformed, needs to be trusted, or speaks no label space.
        UnknownNameError: No such family, architecture or label space; near names are shown.
        MissingDependencyError: The family's library is not installed; the command that installs it is named.
        FileFormatError: The model file does not hold what it should.
        CheckpointError: The weights cannot be read safely, or do not fit.
        ModelError: The network fails, or has another class count than its label space.
    """
    trust = Trust(pickle=trust_pickle, code=trust_code)
    return load_asked(*ask(model, checkpoint=checkpoint, label_space=label_space, trust=trust))


def load_asked(family: str, asked: Asked) -> Model:
    """Load what :func:`ask` returned; raises what :func:`load_model` does."""
    _require_stated_file(family, asked)
    built = load_family(family).build(asked)
    info = built.loaded
    if info is None and asked.checkpoint is not None:
        info = load_checkpoint(built.network, asked, aliases=built.key_aliases)
    _require_stated_digest(asked, info)
    return _ready(built, asked, info)


def ask(
    model: str | Path,
    *,
    checkpoint: str | Path | None,
    label_space: str | None,
    trust: Trust,
    inside: Asked | None = None,
) -> tuple[str, Asked]:
    """Return the family, and what is asked of it.

    Args:
        model: As :func:`load_model` takes it; so are the next two.
        checkpoint: Weights.
        label_space: What the suite speaks.
        trust: What the user lets run.
        inside: The ensemble that names it, None for none: what a file names is as foreign as the file.

    Raises:
        UsageError: ``model`` is malformed, needs to be trusted or names itself, or a field is for another
            family.
        FileFormatError: The model file does not hold what it should.
        CheckpointError: There is no such checkpoint.
    """
    path = Path(model)
    is_file = names_a_model_file(model)
    file = read_yaml(path, ModelFile) if is_file else ModelFile(model=str(model))
    check_augmentations(file.augmentations, fix=f"correct augmentations in {path}")
    trail = _trail(path if is_file else None, inside)
    family, _, architecture = file.model.partition(":")
    where = f"{path}: model" if is_file else "model"
    if not family or not architecture:
        raise UsageError(
            f"{where} {file.model!r} is malformed",
            expected="family:architecture, e.g. timm:resnet50, or the path of a model file ending in .yaml",
        )
    for field, only in _OF_ONE_FAMILY.items():
        if family != only and getattr(file, field):
            raise UsageError(
                f"{path}: {field} is for the family {only}",
                found=f"model {file.model}",
                fix="leave the field out",
            )
    from_file = is_file or (inside is not None and inside.from_file)
    if from_file and family == "python" and not trust.code:
        raise UsageError(
            f"{where} {file.model!r} runs code of its own", fix="read that code, then give --trust-code"
        )
    weights = Path(checkpoint) if checkpoint is not None else None
    if weights is None and file.checkpoint is not None:
        weights = path.parent / file.checkpoint
    if weights is not None and family not in _READS_FOLDERS:
        require_checkpoint_file(weights)  # before a family is imported, which can take seconds
    return family, Asked(
        architecture=architecture,
        file=file,
        folder=path.parent if is_file else inside.folder if inside is not None else Path(),
        checkpoint=weights,
        suite_label_space=label_space,
        trust=trust,
        from_file=from_file,
        trail=trail,
    )


def _trail(file: Path | None, inside: Asked | None) -> tuple[Path, ...]:
    """Return the model files that lead to a model; refuses one that comes back to itself."""
    trail = inside.trail if inside is not None else ()
    if file is None:
        return trail
    if file.resolve() in trail:
        raise UsageError(
            f"{file} is a member of itself", expected="members that are other models", fix="take it out"
        )
    if len(trail) == _DEEPEST:
        raise UsageError(f"{file}: ensembles lie more than {_DEEPEST} deep", fix="list the members in one")
    return (*trail, file.resolve())


def names_a_model_file(model: str | Path) -> bool:
    """Tell whether ``model`` is the path of a model file, and not ``family:architecture``."""
    if isinstance(model, Path):
        return True
    # ensemble:first.yaml,second.yaml ends as a model file does, and is none.
    return model.endswith(MODEL_FILE_ENDINGS) and model.partition(":")[0] not in family_names()


#: Families whose checkpoint may be a folder.
_READS_FOLDERS = ("hf",)


def _require_stated_digest(asked: Asked, info: CheckpointInfo | None) -> None:
    stated = asked.file.sha256
    if stated is None or (info is not None and info.sha256 == stated):
        return
    raise _not_the_stated(asked, info.sha256 if info is not None else "no checkpoint")


def _not_the_stated(asked: Asked, found: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint of {asked.file.model} is not the one that the model file states",
        expected=f"sha256 {asked.file.sha256}",
        found=found,
        fix="fetch it again, or correct the digest if the file was changed on purpose",
    )


def _require_stated_file(family: str, asked: Asked) -> None:
    """Refuse another file than the one that was stated before it is run: trust was meant for that one."""
    stated = asked.file.sha256
    path = asked.folder / asked.architecture if family == "export" else asked.checkpoint
    may_run = asked.trust.code if family == "export" else asked.trust.pickle
    # The digest of a checkpoint in several files is not that of its index: it is compared when all are read.
    if stated is None or path is None or not may_run or not path.is_file() or path.suffix == ".json":
        return
    if (found := file_digest(path)) != stated:
        raise _not_the_stated(asked, found)


def _ready(built: Built, asked: Asked, info: CheckpointInfo | None) -> Model:
    file = asked.file
    space_name = file.label_space or built.label_space or asked.suite_label_space
    if space_name is None:
        raise UsageError(
            f"{file.model} speaks no label space",
            expected="the name of one, e.g. cifar-10",
            fix="give the network an attribute label_space, or write it in a model file",
        )
    space = load_label_space(space_name)
    n_classes = len(space.classes)
    preprocessing = file.preprocessing or built.preprocessing
    seen = examine(
        Classifier(built.network, preprocessing).eval().requires_grad_(requires_grad=False),
        input_size=preprocessing.input_size,
        name=file.model,
    )
    head, columns = built.head_classes, built.columns
    if head is None and file.head_classes is not None:
        head, columns = select_head(file.head_classes, space, folder=asked.folder, outputs=seen.outputs)
    n_outputs = seen.outputs if columns is None else len(columns)
    if n_outputs != n_classes:
        raise ModelError(
            f"{file.model} has another number of outputs than label space {space_name} has classes",
            expected=str(n_classes),
            found=str(n_outputs),
            fix="declare the label space that the network was trained for, or the classes of its head",
        )
    network = Classifier(built.network, preprocessing, outputs=file.outputs, columns=columns)
    network.eval().requires_grad_(requires_grad=False)
    last_layer = find_last_layer(network, noise_image(seen.size)) if file.outputs == "logits" else None
    family, _, architecture = file.model.partition(":")
    own_parameters = sum(parameter.numel() for parameter in built.network.parameters())
    spec = ModelSpec(
        family=family,
        architecture=built.architecture or architecture,
        checkpoint=info,
        weights_digest=built.weights_digest
        or weights_digest(built.network.state_dict() if built.state is None else built.state),
        code_digest=built.code_digest,
        parameters=own_parameters if built.parameters is None else built.parameters,
        flops=seen.flops,
        features=last_layer.weight.shape[1] if last_layer is not None else None,
        gradients=built.gradients,
        label_space=space_name,
        head_classes=head,
        outputs=built.outputs or file.outputs,
        preprocessing=preprocessing,
        zero_shot=built.zero_shot,
        probe=built.probe,
        members=built.members,
        combine=built.combine,
        trusted=_trusted(built, info),
        training_data=file.training_data or built.training_data,
        trained_on=file.trained_on or built.trained_on,
        augmentations=file.augmentations or built.augmentations,
    )
    return Model(
        spec=spec,
        network=network,
        n_classes=n_classes,
        name=file.name or spec.name,
        last_layer=last_layer,
        precision=file.precision,
        published_accuracy=file.published_accuracy or built.published_accuracy,
    )


def _trusted(built: Built, info: CheckpointInfo | None) -> tuple[Trusted, ...]:
    rules = [rule for one in (info, built.probe) if one is not None for rule in one.unwrapped]
    needed: dict[Trusted, bool] = {
        "code": built.trusted_code or any("code" in member.trusted for member in built.members),
        "pickle": TRUSTED_PICKLE in rules or any("pickle" in member.trusted for member in built.members),
    }
    return tuple(kind for kind, was in needed.items() if was)
