"""The ``cifar`` family: networks for 32x32 images, by the names ``resnet20`` or ``resnet20/cifar-100``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from robustbench_safety.errors import CheckpointError, UnknownNameError, UsageError
from robustbench_safety.labels import load_label_space
from robustbench_safety.models.cifar_nets.allconv import AllConvNet
from robustbench_safety.models.cifar_nets.resnet import CifarResNet
from robustbench_safety.models.cifar_nets.resnext import CifarResNeXt
from robustbench_safety.models.cifar_nets.wideresnet import WideResNet
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.records import Preprocessing

__all__ = ["architectures", "build"]

_DEFAULT_LABEL_SPACE = "cifar-10"

#: akamaster/pytorch_resnet_cifar10 normalises with ImageNet's mean and std.
_RESNET_PREPROCESSING = Preprocessing(
    input_size=(32, 32),
    resize=None,
    crop=None,
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
#: The AugMix and PixMix code bases map pixels to [-1, 1].
_AUGMIX_PREPROCESSING = Preprocessing(
    input_size=(32, 32),
    resize=None,
    crop=None,
    interpolation="bilinear",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)


@dataclass(frozen=True)
class _Architecture:
    make: Callable[[int], nn.Module]
    """Builds the network for a number of classes."""
    preprocessing: Preprocessing
    key_aliases: tuple[tuple[str, str], ...] = ()


def _resnet(depth: int) -> _Architecture:
    return _Architecture(lambda n: CifarResNet(depth=depth, n_classes=n), _RESNET_PREPROCESSING)


def _wide_resnet(depth: int, widen: int) -> _Architecture:
    return _Architecture(
        lambda n: WideResNet(depth=depth, widen=widen, n_classes=n),
        _AUGMIX_PREPROCESSING,
        (("convShortcut", "conv_shortcut"),),
    )


_ARCHITECTURES = {
    "resnet20": _resnet(20),
    "resnet32": _resnet(32),
    "resnet44": _resnet(44),
    "resnet56": _resnet(56),
    "resnet110": _resnet(110),
    "wrn_40_2": _wide_resnet(40, 2),
    "wrn_40_4": _wide_resnet(40, 4),
    "wrn_28_10": _wide_resnet(28, 10),
    "resnext29_32x4": _Architecture(
        lambda n: CifarResNeXt(depth=29, cardinality=4, base_width=32, n_classes=n), _AUGMIX_PREPROCESSING
    ),
    "allconv": _Architecture(lambda n: AllConvNet(n_classes=n), _AUGMIX_PREPROCESSING),
}


def architectures() -> list[str]:
    """Return the names that :func:`build` knows; each takes ``/cifar-100`` behind it."""
    return sorted(_ARCHITECTURES)


def build(asked: Asked) -> Built:
    """Build a network without weights, since the family has none of its own.

    The architecture is ``name`` or ``name/label-space``; CIFAR-10 where neither this nor the model file says.

    Raises:
        UnknownNameError: No such architecture or label space.
        UsageError: The name and ``label_space`` contradict each other.
        CheckpointError: There is no checkpoint.
    """
    architecture, label_space = asked.architecture, asked.label_space
    name, _, suffix = architecture.partition("/")
    if name not in _ARCHITECTURES:
        raise UnknownNameError.among(
            "cifar architecture", name, _ARCHITECTURES, fix="`rbs models list` shows all"
        )
    if suffix and label_space and suffix != label_space:
        raise UsageError(
            f"cifar:{architecture} contradicts the label space declared for it",
            expected=suffix,
            found=label_space,
            fix="leave one of the two out",
        )
    if asked.pretrained:
        raise CheckpointError(
            f"cifar:{architecture} needs a checkpoint", fix="give it with --checkpoint FILE"
        )
    space = load_label_space(suffix or label_space or _DEFAULT_LABEL_SPACE)
    found = _ARCHITECTURES[name]
    return Built(
        network=found.make(len(space.classes)),
        preprocessing=found.preprocessing,
        label_space=space.name,
        key_aliases=found.key_aliases,
    )
