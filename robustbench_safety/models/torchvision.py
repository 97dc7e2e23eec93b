"""The ``torchvision`` family: classifiers of torchvision.models: ``resnet18``, ``resnet50/IMAGENET1K_V2``.

torchvision downloads its own weights. Where an architecture has several, one must be named: their accuracies
differ by points, and so may their preprocessing. torchvision never opens a file that somebody hands in: the
network is built without weights, and ours reads the tensors and loads them strictly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

from torch import nn
from torchvision import models
from torchvision.models import Weights, WeightsEnum
from torchvision.models._meta import _IMAGENET_CATEGORIES
from torchvision.transforms._presets import ImageClassification

from robustbench_safety.errors import CheckpointError, ModelError, UnknownNameError, UsageError
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.models.head import head_size
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.models.weights.checkpoints import read_checkpoint
from robustbench_safety.models.weights.strict import load_strictly
from robustbench_safety.records import CheckpointInfo, Preprocessing
from robustbench_safety.records.model import Interpolation

__all__ = ["architectures", "build"]

_IMAGENET = "imagenet-1k"
#: Heads that are used in training alone, of the two networks that have them.
_AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


def architectures() -> list[str]:
    """Return torchvision's names of classifiers, sorted; each may carry an entry, ``name/ENTRY``."""
    return sorted(cast(list[str], models.list_models(module=models)))


def build(asked: Asked) -> Built:
    """Build a network with torchvision's own weights, or without any where a checkpoint was handed in.

    The architecture is ``name`` or ``name/ENTRY``, an entry of torchvision's weights enum. It gives weights,
    preprocessing and label space; with a checkpoint, preprocessing and label space.

    Raises:
        UnknownNameError: torchvision has no such architecture or entry.
        UsageError: Several entries differ in what they would decide, and none is named.
        CheckpointError: The weights cannot be fetched, or do not fit.
        ModelError: The label space is not known, or the preprocessing cannot be written out.
    """
    architecture, _, entry_name = asked.architecture.partition("/")
    if architecture not in architectures():
        raise UnknownNameError.among(
            "torchvision architecture", architecture, architectures(), fix="`rbs models list` shows all"
        )
    name = f"torchvision:{asked.architecture}"
    entries = _entries(architecture, entry_name)
    if asked.pretrained:
        return _with_own_weights(name, architecture, entries, asked)
    preprocessing = asked.file.preprocessing or _common_preprocessing(name, architecture, entries)
    space = asked.label_space or (_IMAGENET if asked.file.head_classes else _label_space(name, entries))
    network = _without_weights(name, architecture, asked, named=bool(entry_name), space=space)
    loaded = _load(network, _AUXILIARY[architecture], asked) if architecture in _AUXILIARY else None
    if architecture == "googlenet":
        _remove(network, _AUXILIARY[architecture])  # as torchvision does with its own weights
    return Built(network=network, preprocessing=preprocessing, label_space=space, loaded=loaded)


def _with_own_weights(name: str, architecture: str, entries: Sequence[WeightsEnum], asked: Asked) -> Built:
    classifiers = [entry for entry in entries if entry.meta["categories"]]
    if len(classifiers) > 1:
        raise UsageError(
            f"{name} has several weights",
            expected="one of them by name",
            found=", ".join(entry.name for entry in classifiers),
            fix=f"name one, e.g. torchvision:{architecture}/{classifiers[0].name}",
        )
    if not classifiers:
        raise CheckpointError(
            f"{name}: these weights are of no classifier: their last layers were never trained",
            fix="name other weights, or give a checkpoint with --checkpoint FILE",
        )
    entry = classifiers[0]
    with foreign_code(
        f"{name}: its weights could not be fetched",
        raising=CheckpointError,
        expected="access to the network, or the weights in torchvision's cache",
        fix="try again, or give a local file with --checkpoint FILE",
    ):
        network: nn.Module = models.get_model(architecture, weights=entry, progress=False)
    preprocessing = _preprocessing(name, entry)
    published = entry.meta["_metrics"].get("ImageNet-1K", {}).get("acc@1")
    comparable = published is not None and asked.file.preprocessing in (None, preprocessing)
    return Built(
        network=network,
        preprocessing=preprocessing,
        label_space=asked.label_space or _label_space(name, entries),
        training_data=entry.name,
        trained_on=(_IMAGENET,),
        published_accuracy={_IMAGENET: published / 100} if comparable else {},
    )


def _entries(architecture: str, name: str) -> list[WeightsEnum]:
    """Return the entry of that name, or all; DEFAULT is none, since it moves from version to version."""
    entries: list[WeightsEnum] = list(models.get_model_weights(architecture))
    if not name:
        return entries
    found = [entry for entry in entries if entry.name == name]
    if not found:
        names = [entry.name for entry in entries]
        raise UnknownNameError.among(f"weights of torchvision:{architecture}", name, names)
    return found


def _label_space(name: str, entries: Sequence[WeightsEnum]) -> str:
    """Return imagenet-1k where the entries list its categories, and refuse the rest."""
    lists = [entry.meta["categories"] for entry in entries if entry.meta["categories"]]
    if lists and all(categories == _IMAGENET_CATEGORIES for categories in lists):
        return _IMAGENET
    raise ModelError(
        f"{name}: its label space is not known",
        expected="weights that list the categories of ImageNet-1k",
        found=f"lists of {sorted({len(one) for one in lists})} categories" if lists else "no categories",
        fix="give a model file that declares label_space",
    )


def _common_preprocessing(name: str, architecture: str, entries: Sequence[WeightsEnum]) -> Preprocessing:
    """Return the preprocessing that all entries share, for weights that came from somewhere else."""
    every = {entry.name: _preprocessing(name, entry) for entry in entries}
    first = next(iter(every.values()))
    if any(one != first for one in every.values()):
        raise UsageError(
            f"{name}: its preprocessing is not known: that of torchvision's weights differs",
            expected="the entry whose preprocessing holds for the checkpoint",
            found=", ".join(f"{key} ({_in_short(one)})" for key, one in every.items()),
            fix=f"name one, e.g. torchvision:{architecture}/{next(iter(every))}, or declare preprocessing in "
            "a model file",
        )
    return first


def _in_short(preprocessing: Preprocessing) -> str:
    kept = preprocessing.model_dump(include={"resize", "input_size", "interpolation", "mean"}).values()
    return ", ".join(str(value) for value in kept)


def _preprocessing(name: str, entry: WeightsEnum) -> Preprocessing:
    """Write an entry's transform out: shorter side, centre crop, mean and std."""
    preset: object = cast(Weights, entry.value).transforms()
    interpolation = str(getattr(getattr(preset, "interpolation", None), "value", None))
    if not isinstance(preset, ImageClassification) or interpolation not in get_args(Interpolation):
        raise ModelError(
            f"{name}: torchvision's preprocessing of {entry.name} cannot be written out",
            expected="resize, centre crop and a named interpolation",
            found=f"{type(preset).__name__}, interpolation {interpolation}",
            fix="declare preprocessing in a model file",
        )
    (side,), (resize,) = preset.crop_size, preset.resize_size
    red, green, blue = preset.mean
    std_red, std_green, std_blue = preset.std
    return Preprocessing(
        input_size=(side, side),
        resize=resize,
        crop="center",
        interpolation=cast(Interpolation, interpolation),
        mean=(red, green, blue),
        std=(std_red, std_green, std_blue),
    )


def _without_weights(name: str, architecture: str, asked: Asked, *, named: bool, space: str) -> nn.Module:
    n_outputs = head_size(asked, space)
    options: dict[str, bool] = {}
    if architecture in _AUXILIARY:
        # With its own weights, torchvision rescales the input inside these two; without, it does not. The
        # tensors do not tell which of the two they were trained with.
        if not named and asked.file.preprocessing is None:
            raise UsageError(
                f"{name}: whether its input is rescaled is not known",
                expected="the entry whose transform_input holds for the checkpoint, or none and a declared "
                "preprocessing, with which nothing is rescaled",
                fix=f"name torchvision:{architecture}/IMAGENET1K_V1, or declare preprocessing in a model "
                "file",
            )
        options = {"transform_input": named, "aux_logits": True, "init_weights": False}
    with foreign_code(f"{name} cannot be built with {n_outputs} classes"):
        network: nn.Module = models.get_model(architecture, weights=None, num_classes=n_outputs, **options)
    return network


def _load(network: nn.Module, heads: Sequence[str], asked: Asked) -> CheckpointInfo:
    """Load a checkpoint that may have the heads of training or not: no forward pass of ours reads them."""
    assert asked.checkpoint is not None  # noqa: S101  # build comes here with a checkpoint alone
    values, info = read_checkpoint(
        asked.checkpoint, names=network.state_dict().keys(), trust_pickle=asked.trust.pickle
    )
    if not any(key.partition(".")[0] in heads for key in values):
        _remove(network, heads)
    rules = load_strictly(network, values, source=f"checkpoint {asked.checkpoint}", model=asked.file.model)
    return info.model_copy(update={"unwrapped": (*info.unwrapped, *rules)})


def _remove(network: nn.Module, heads: Sequence[str]) -> None:
    """Take the heads of training off, as torchvision's own builders do."""
    network.__dict__["aux_logits"] = False
    for head in heads:
        setattr(network, head, None)
