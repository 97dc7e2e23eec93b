"""Training augmentations, and the corruptions that each has in itself: a row trained so is marked."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from robustbench_safety.errors import UnknownNameError

__all__ = ["AUGMENTATIONS", "check_augmentations", "overlapping"]

#: What the enhancing operations of Pillow do to an image, which ImageNet-C and CIFAR-10-C do too.
_ENHANCING = ("brightness", "contrast", "saturate")
_CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
    "speckle_noise", "gaussian_blur", "spatter", "saturate",
)  # fmt: skip

#: By name as a model file writes it: the corruptions that the training images had. Of methods their published
#: operations: AugMix leaves the enhancing ones out of its default list for this reason (Hendrycks et al.,
#: 2020), PixMix's recipe takes all of them (Hendrycks et al., 2022); AutoAugment (Cubuk et al., 2019),
#: RandAugment (2020) and TrivialAugment (Mueller and Hutter, 2021) have brightness, contrast and colour among
#: theirs; Patch Gaussian (Lopes et al., 2019) adds Gaussian noise to a part of the image. The name of a
#: corruption stands for training on it, at any severity.
AUGMENTATIONS: dict[str, tuple[str, ...]] = {
    "augmix": (),
    "augmix-all-ops": _ENHANCING,
    "autoaugment": _ENHANCING,
    "color-jitter": _ENHANCING,
    "cutmix": (),
    "cutout": (),
    "ipmix": (),
    "ipmix-all-ops": _ENHANCING,
    "mixup": (),
    "patch-gaussian": ("gaussian_noise",),
    "pixmix": _ENHANCING,
    "randaugment": _ENHANCING,
    "trivialaugment": _ENHANCING,
    **{name: (name,) for name in _CORRUPTIONS},
}


def check_augmentations(names: Sequence[str], *, fix: str = "") -> None:
    """Refuse a name that is none of :data:`AUGMENTATIONS`: a misspelt one would mark no row.

    Raises:
        UnknownNameError: Near names are shown.
    """
    for name in names:
        if name not in AUGMENTATIONS:
            raise UnknownNameError.among("augmentation", name, AUGMENTATIONS, fix=fix)


def overlapping(names: Sequence[str], tested: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the augmentations that hold tested corruptions, and which, in the order given.

    Args:
        names: What a model was trained with; names that are not known here hold none.
        tested: Corruptions.

    Example:
        >>> overlapping(["augmix", "pixmix"], ["contrast", "fog"])
        {'pixmix': ('contrast',)}
    """
    found = {name: tuple(one for one in AUGMENTATIONS.get(name, ()) if one in tested) for name in names}
    return {name: held for name, held in found.items() if held}
