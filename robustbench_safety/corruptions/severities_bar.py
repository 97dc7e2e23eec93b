"""The levels of ImageNet-C-bar and CIFAR-10-C-bar, of 0 to 10: data only.

Source: the tables ``imagenet_c_bar.csv`` and ``cifar10_c_bar.csv`` of the authors' code (Mintun, Kirillov and
Xie, NeurIPS 2021). Each of the two sets has ten corruptions, five of them in common.
"""

from __future__ import annotations

from collections.abc import Mapping

from robustbench_safety.corruptions.severities import Parameters

__all__ = ["SEVERITIES_BAR"]

Rows = tuple[Parameters, ...]


def _each(*levels: float) -> Rows:
    return tuple((level,) for level in levels)


#: corruption -> variant -> level of severities 1 to 5.
SEVERITIES_BAR: Mapping[str, Mapping[str, Rows]] = {
    "blue_noise_sample": {"imagenet": _each(0.8, 1.6, 2.4, 4, 5.6), "cifar": _each(0.7, 1.4, 2.1, 3.5, 4.2)},
    "brownish_noise": {"imagenet": _each(1, 2, 3, 4, 5), "cifar": _each(2.5, 4, 5.5, 6.5, 7)},
    "caustic_refraction": {"imagenet": _each(2.35, 3.2, 4.9, 6.6, 9.15)},
    "checkerboard_cutout": {"imagenet": _each(2, 3, 4, 5, 6), "cifar": _each(1, 2, 3, 4, 5)},
    "circular_motion_blur": {"cifar": _each(2.8, 3.6, 4.4, 5.2, 6)},
    "cocentric_sine_waves": {"imagenet": _each(3, 5, 8, 9, 10)},
    "inverse_sparkles": {"imagenet": _each(1, 2, 4, 9, 10), "cifar": _each(1, 1.5, 2.5, 4.5, 5)},
    "lines": {"cifar": _each(0.5, 1, 1.5, 2, 2.5)},
    "perlin_noise": {"imagenet": _each(4.6, 5.2, 5.8, 7.6, 8.8)},
    "pinch_and_twirl": {"cifar": _each(5.5, 6, 6.5, 8.5, 10)},
    "plasma_noise": {"imagenet": _each(4.75, 7, 8.5, 9.25, 10)},
    "ripple": {"cifar": _each(5.5, 6, 6.5, 7.5, 8)},
    "single_frequency_greyscale": {"imagenet": _each(1, 1.5, 2, 4.5, 5)},
    "sparkles": {"imagenet": _each(1, 2, 3, 5, 6), "cifar": _each(0.7, 3.5, 5.6, 6.3, 7)},
    "transverse_chromatic_abberation": {"cifar": _each(1, 2, 5, 9, 10)},
}
