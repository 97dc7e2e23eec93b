"""The numbers behind every perturbation sequence: data only, one table.

Source: Hendrycks and Dietterich (ICLR 2019), the authors' ``make_imagenet_p.py``, ``make_imagenet_64_p.py``
and ``make_cifar_p.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from robustbench_safety.corruptions.severities import Parameters

__all__ = ["PUBLISHED_SEQUENCES", "SEQUENCE_SETTINGS", "SequenceSettings"]

#: The sequences of ImageNet-P and CIFAR-P, scored from files whether they can be made here or not;
#: the last four are for validation.
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
