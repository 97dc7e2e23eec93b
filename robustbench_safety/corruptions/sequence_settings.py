"""The numbers behind every perturbation sequence: data only, one table.

Source: Hendrycks and Dietterich (ICLR 2019), the authors' ``make_imagenet_p.py`` (imagenet),
``make_imagenet_p_inception.py`` (inception), ``make_tinyimagenet_p.py`` and ``make_imagenet_64_p.py``, whose
numbers are the same (tiny), and ``make_cifar_p.py`` (cifar).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from robustbench_safety.corruptions.severities import SIDES, Parameters

__all__ = ["PUBLISHED_SEQUENCES", "SEQUENCE_SETTINGS", "SequenceSettings"]

#: The sequences of ImageNet-P and CIFAR-P, in the order of the paper; the last four are for validation.
PUBLISHED_SEQUENCES = (
    "gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness", "translate", "rotate",
    "tilt", "scale", "speckle_noise", "gaussian_blur", "spatter", "shear",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SequenceSettings:
    """How one perturbation sequence of one variant is made."""

    n_frames: int
    """Number of frames, a clean first frame included."""
    difficulties: tuple[Parameters, ...]
    """Parameters of difficulty 1, 2, ...; sequences that have no harder kind hold one entry."""
    whole: bool = False
    """The whole picture is moved and each frame cut to the variant's size after; else it is cut first."""


def _settings(
    *,
    imagenet: Parameters,
    inception: Parameters,
    tiny: Parameters,
    cifar: Parameters,
    whole: Collection[str] = (),
    frames: Mapping[str, int] | None = None,
) -> Mapping[str, SequenceSettings]:
    """Return the settings of a sequence of one difficulty; 31 frames where ``frames`` says nothing else."""
    rows = {"imagenet": imagenet, "inception": inception, "tiny": tiny, "cifar": cifar}
    return {
        variant: SequenceSettings(
            n_frames=(frames or {}).get(variant, 31),
            difficulties=(rows[variant],),
            whole=variant in whole,
        )
        for variant in SIDES
    }


def _noise(**levels: tuple[float, float, float]) -> Mapping[str, SequenceSettings]:
    """Return the settings of a noise: one number a difficulty, 31 frames."""
    return {
        variant: SequenceSettings(n_frames=31, difficulties=tuple((level,) for level in levels[variant]))
        for variant in SIDES
    }


#: Where the whole picture is moved.
_LARGE = ("imagenet", "inception")

#: sequence -> variant -> settings.
SEQUENCE_SETTINGS: Mapping[str, Mapping[str, SequenceSettings]] = {
    # standard deviation
    "gaussian_noise": _noise(
        imagenet=(0.03, 0.05, 0.08),
        inception=(0.035, 0.055, 0.085),
        tiny=(0.025, 0.05, 0.075),
        cifar=(0.02, 0.04, 0.06),
    ),
    # photons that white stands for
    "shot_noise": _noise(
        imagenet=(300, 120, 60), inception=(250, 100, 50), tiny=(500, 250, 125), cifar=(700, 400, 200)
    ),
    # radius and sigma in pixels, frame of angle 0, degrees from frame to frame
    "motion_blur": _settings(
        imagenet=(10, 3, 30, 4), inception=(13, 3, 30, 4), tiny=(14, 3, 30, 5), cifar=(6, 1.8, 20, 9),
        whole=("tiny",), frames={"cifar": 21},
    ),
    # growth from frame to frame
    "zoom_blur": _settings(
        imagenet=(0.004,), inception=(0.004,), tiny=(0.004,), cifar=(0.004,), whole=("imagenet",)
    ),
    # mean, deviation, zoom and threshold of the flakes, radius and sigma of their blur, share of the image
    "snow": _settings(
        imagenet=(0.05, 0.3, 3, 0.5, 14, 4, 0.85),
        inception=(0.05, 0.3, 3, 0.5, 14, 4, 0.85),
        tiny=(0.05, 0.28, 2, 0.5, 10, 2.5, 0.85),
        cifar=(0.05, 0.3, 2, 0.5, 10, 2, 0.85),
    ),
    # frame in the middle, percent added to V of HSV from frame to frame
    "brightness": _settings(imagenet=(15, 2), inception=(15, 2), tiny=(15, 2), cifar=(15, 1.5)),
    # frame in the middle; one pixel from frame to frame
    "translate": _settings(
        imagenet=(20,), inception=(20,), tiny=(15,), cifar=(7,), whole=_LARGE,
        frames={"imagenet": 41, "inception": 41, "cifar": 16},
    ),
    # frame in the middle; one degree from frame to frame
    "rotate": _settings(imagenet=(15,), inception=(15,), tiny=(15,), cifar=(15,), whole=_LARGE),
    # frame in the middle, degrees from frame to frame
    "tilt": _settings(imagenet=(15, 1), inception=(15, 1), tiny=(15, 1), cifar=(15, 0.75), whole=_LARGE),
    # percent of frame 0, percent added from frame to frame
    "scale": _settings(
        imagenet=(40, 2.5), inception=(40, 2.5), tiny=(40, 2.5), cifar=(70, 2), whole=("imagenet",)
    ),
    # standard deviation as a share of the value
    "speckle_noise": _noise(
        imagenet=(0.05, 0.1, 0.15),
        inception=(0.06, 0.11, 0.16),
        tiny=(0.05, 0.1, 0.15),
        cifar=(0.05, 0.07, 0.1),
    ),
    # sigma of frame 0, sigma added from frame to frame, sigmas after which the kernel is cut
    "gaussian_blur": _settings(
        imagenet=(0.25, 0.035, 6), inception=(0.35, 0.035, 6), tiny=(0.35, 0.014, 7), cifar=(0.3, 0.015, 7)
    ),
    # mean, deviation, blur and threshold of the liquid, intensity, then the filter that lets it run down
    "spatter": _settings(
        imagenet=(0.65, 0.27, 3.7, 0.69, 0.6, 0.05, 0.1, 0.15, 0.7),
        inception=(0.65, 0.3, 4, 0.69, 0.6, 0.05, 0.1, 0.15, 0.7),
        tiny=(0.6, 0.25, 1.75, 0.7, 0.6, 0.2, 0.8),
        cifar=(0.6, 0.265, 1.75, 0.7, 0.6, 0.2, 0.8),
    ),
    # frame in the middle; one degree from frame to frame
    "shear": _settings(imagenet=(15,), inception=(15,), tiny=(15,), cifar=(15,), whole=_LARGE),
}  # fmt: skip
