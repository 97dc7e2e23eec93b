"""The numbers behind every severity and every frame: data only, one table a kind.

A variant is the image size that a set of parameters was chosen for; parameters of one size mean something
else at another, so a variant covers its own size and no other.

Source: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations" (ICLR 2019), the authors' ``make_cifar_c.py`` and ``make_cifar_p.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "PUBLISHED_SEQUENCES",
    "SEQUENCE_SETTINGS",
    "SEVERITIES",
    "SIDES",
    "Parameters",
    "SequenceSettings",
]

#: What one severity or one difficulty hands to the function that makes it.
Parameters = tuple[float, ...]

#: Height and width in pixels of the images that a variant covers.
SIDES: Mapping[str, int] = {"cifar": 32}

#: The sequences of ImageNet-P and CIFAR-P, scored from files whether they can be made here or not;
#: the last four are for validation.
PUBLISHED_SEQUENCES = (
    "gaussian_noise", "shot_noise", "motion_blur", "zoom_blur", "snow", "brightness", "translate", "rotate",
    "tilt", "scale", "speckle_noise", "gaussian_blur", "spatter", "shear",
)  # fmt: skip

#: corruption -> variant -> parameters of severities 1 to 5.
SEVERITIES: Mapping[str, Mapping[str, tuple[Parameters, ...]]] = {
    # standard deviation, on the scale of 0 to 1
    "gaussian_noise": {"cifar": ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,))},
    # photons that a white value stands for
    "shot_noise": {"cifar": ((500,), (250,), (100,), (75,), (50,))},
    # share of the values that become 0 or 255
    "impulse_noise": {"cifar": ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))},
    # radius of the disk in pixels, sigma of the blur of its edge
    "defocus_blur": {"cifar": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))},
    # added to V of HSV
    "brightness": {"cifar": ((0.05,), (0.10,), (0.15,), (0.20,), (0.30,))},
    # factor on the distance from the mean
    "contrast": {"cifar": ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,))},
    # side of the small picture, as a share of the side
    "pixelate": {"cifar": ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,))},
    # quality
    "jpeg_compression": {"cifar": ((80,), (65,), (58,), (50,), (40,))},
}


@dataclass(frozen=True, kw_only=True)
class SequenceSettings:
    """How one perturbation sequence of one variant is made."""

    n_frames: int
    """Number of frames, a clean first frame included."""
    difficulties: tuple[Parameters, ...]
    """Parameters of difficulty 1, 2, ...; sequences that have no harder kind hold one entry."""


#: sequence -> variant -> settings.
SEQUENCE_SETTINGS: Mapping[str, Mapping[str, SequenceSettings]] = {
    # standard deviation
    "gaussian_noise": {"cifar": SequenceSettings(n_frames=31, difficulties=((0.02,), (0.04,), (0.06,)))},
    # frame in the middle, percent added to V of HSV from frame to frame
    "brightness": {"cifar": SequenceSettings(n_frames=31, difficulties=((15, 1.5),))},
    # frame in the middle; one pixel from frame to frame
    "translate": {"cifar": SequenceSettings(n_frames=16, difficulties=((7,),))},
    # frame in the middle; one degree from frame to frame
    "rotate": {"cifar": SequenceSettings(n_frames=31, difficulties=((15,),))},
}
