"""The ``timm`` family: networks of the timm library, by its names: ``resnet50`` or ``resnet50.a1_in1k``.

timm's own weights are downloaded by timm. A file that somebody hands in is never opened by timm's loaders:
the network is built without weights, and ours reads the tensors and loads them strictly. What timm would
convert on the way is therefore refused, with the names that differ: checkpoints of other code bases (DeiT,
Swin or ConvNeXt as their authors published them), those of timm versions that named tensors otherwise, and
position embeddings of another image size, which timm would interpolate, and so change the score. Load such a
file with timm once and save ``network.state_dict()``.

Preprocessing is that of timm's ``resolve_model_data_config`` at its defaults: the size and crop that the
weights were trained with, not ``test_input_size`` and ``test_crop_pct``, at which some of timm's published
accuracies are measured (``use_test_size``). A model file may declare those.
"""

from __future__ import annotations

import math
import re
from typing import cast, get_args

import timm
from timm.data.config import resolve_model_data_config
from torch import nn

from robustbench_safety.errors import CheckpointError, ModelError, UnknownNameError
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.models.head import head_size
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.models.published import published_accuracy
from robustbench_safety.records import Preprocessing
from robustbench_safety.records.model import Interpolation

__all__ = ["architectures", "build"]

_IMAGENET = "imagenet-1k"


def architectures() -> list[str]:
    """Return timm's names of architectures, sorted; each may carry one of its weight tags, ``name.tag``."""
    return sorted(timm.list_models())


def build(asked: Asked) -> Built:
    """Build a network with timm's own weights, or without any where a checkpoint was handed in.

    The architecture is ``name`` or ``name.tag``; timm's default tag where there is none. A model file's
    ``head_classes`` says what the outputs of a larger head are.

    Raises:
        UnknownNameError: timm has no such architecture or tag.
        CheckpointError: timm has no weights of that name, or they cannot be fetched.
        ModelError: Its label space is not known, or its preprocessing cannot be written out.
    """
    architecture = asked.architecture
    config = _config(architecture)
    name = f"timm:{architecture}"
    declared = asked.file.head_classes is not None
    space = asked.label_space or (_IMAGENET if declared else _label_space(name, config))
    if asked.pretrained:
        network = _download(name, architecture, config)
    else:
        n_outputs = head_size(asked, space)
        with foreign_code(f"{name} cannot be built with {n_outputs} classes"):
            network = timm.create_model(architecture, pretrained=False, num_classes=n_outputs)
    with foreign_code(f"{name}: timm has no preprocessing for it"):
        data = resolve_model_data_config(network)  # type: ignore[no-untyped-call]  # timm leaves it untyped
    preprocessing = _preprocessing(name, data)
    if not asked.pretrained:
        return Built(network=network, preprocessing=preprocessing, label_space=space)
    return Built(
        network=network,
        preprocessing=preprocessing,
        label_space=space,
        training_data=config.tag or None,
        trained_on=_trained_on(config),
        published_accuracy=_published_accuracy(config, preprocessing, asked.file.preprocessing),
    )


def _published_accuracy(
    config: timm.models.PretrainedCfg, own: Preprocessing, declared: Preprocessing | None
) -> dict[str, float]:
    """Return timm's figure where the preprocessing in use is the one that timm measured with."""
    used = declared or own
    same = {"mean", "std", "crop"}  # timm's table states the others
    if used.model_dump(include=same) != own.model_dump(include=same) or type(used.resize) is not type(
        own.resize
    ):
        return {}
    name = f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)
    return published_accuracy("timm", name, used)


def _trained_on(config: timm.models.PretrainedCfg) -> tuple[str, ...]:
    return tuple(f"imagenet-{size}" for size in _data_sets(config))


def _data_sets(config: timm.models.PretrainedCfg) -> list[str]:
    """Return the sizes of the ImageNets that a tag names, in the order of training: 12k, 1k."""
    return re.findall(r"(?:^|_)inw?(\d+k)(?=_|$)", config.tag or "")


def _config(architecture: str) -> timm.models.PretrainedCfg:
    base, _, tag = architecture.partition(".")
    names = timm.list_models()
    if base not in names:
        raise UnknownNameError.among("timm architecture", base, names, fix="`rbs models list` shows all")
    try:
        config = timm.models.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{base}.*")]
        raise UnknownNameError.among(f"weights of timm:{base}", tag, tags) from error
    # Without any configuration timm's own default holds: a head for the 1,000 classes of ImageNet.
    return timm.models.PretrainedCfg() if config is None else config


def _label_space(name: str, config: timm.models.PretrainedCfg) -> str:
    """Return imagenet-1k where timm's tag says that the weights were last trained on it, and refuse the rest.

    The last data set of a tag is the one that the head belongs to: ``sw_in12k_ft_in1k`` ends on ImageNet-1k,
    ``in1k_ft_in22k`` on ImageNet-22k. Where an architecture has no published weights, timm's default head is
    declared to be for ImageNet-1k.
    """
    data_sets = _data_sets(config)
    for_imagenet = data_sets[-1:] == ["1k"] or not (data_sets or config.has_weights)
    if for_imagenet and config.num_classes == 1000 and not config.label_offset:
        return _IMAGENET
    raise ModelError(
        f"{name}: its label space is not known",
        expected="weights whose tag ends on in1k, with a head of 1000 classes",
        found=f"tag {config.tag!r} with {config.num_classes} classes",
        fix="name another tag, or give a model file that declares label_space, and head_classes for a larger "
        "head",
    )


def _download(name: str, architecture: str, config: timm.models.PretrainedCfg) -> nn.Module:
    if not config.has_weights:
        raise CheckpointError(
            f"{name}: timm has no weights for it", fix="give a checkpoint with --checkpoint FILE"
        )
    with foreign_code(
        f"{name}: its weights could not be fetched",
        raising=CheckpointError,
        expected="access to the network, or the weights in timm's cache",
        fix="try again, or give a local file with --checkpoint FILE",
    ):
        return timm.create_model(architecture, pretrained=True)


def _preprocessing(name: str, data: dict[str, object]) -> Preprocessing:
    """Write timm's data configuration out, as its own evaluation transform reads it.

    Args:
        name: The model's name, for errors.
        data: ``input_size`` (3, H, W), ``crop_pct``, ``crop_mode``, ``interpolation``, ``mean``, ``std``.
    """
    channels, height, width = cast(tuple[int, int, int], data["input_size"])
    crop_mode, interpolation = data["crop_mode"], data["interpolation"]
    crop_fraction = cast(float, data["crop_pct"])
    resized = (math.floor(height / crop_fraction), math.floor(width / crop_fraction))
    # Mode center scales the shorter side and keeps the aspect ratio; squash scales each side by itself;
    # border keeps the ratio and fits the image into both. Where the input is not square, timm rounds mode
    # center in another way, which no published tag uses.
    resize: int | tuple[int, int] = resized[0] if crop_mode == "center" else resized
    if (
        channels != 3
        or crop_mode not in ("center", "squash", "border")
        or (crop_mode == "center" and resized[0] != resized[1])
        or interpolation not in get_args(Interpolation)
    ):
        raise ModelError(
            f"{name}: timm's preprocessing cannot be written out",
            expected="3 channels, crop mode center (square), squash or border, and a named interpolation",
            found=f"input {channels}x{height}x{width}, crop mode {crop_mode}, interpolation {interpolation}",
        )
    return Preprocessing(
        input_size=(height, width),
        resize=resize,
        crop="border" if crop_mode == "border" else "center",
        interpolation=cast(Interpolation, interpolation),
        mean=_per_channel(data["mean"]),
        std=_per_channel(data["std"]),
    )


def _per_channel(values: object) -> tuple[float, float, float]:
    red, green, blue = cast(tuple[float, float, float], values)
    return float(red), float(green), float(blue)
