"""The levels of ImageNet-C-bar and CIFAR-10-C-bar, of 0 to 10: data only.

Source: the tables ``imagenet_c_bar.csv`` and ``cifar10_c_bar.csv`` of the authors' code (Mintun, Kirillov and
Xie, NeurIPS 2021). Of their fifteen corruptions these eight are made here.
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
    "checkerboard_cutout": {"imagenet": _each(2, 3, 4, 5, 6), "cifar": _each(1, 2, 3, 4, 5)},
    "cocentric_sine_waves": {"imagenet": _each(3, 5, 8, 9, 10)},
    "inverse_sparkles": {"imagenet": _each(1, 2, 4, 9, 10), "cifar": _each(1, 1.5, 2.5, 4.5, 5)},
    "plasma_noise": {"imagenet": _each(4.75, 7, 8.5, 9.25, 10)},
    "single_frequency_greyscale": {"imagenet": _each(1, 1.5, 2, 4.5, 5)},
    "sparkles": {"imagenet": _each(1, 2, 3, 5, 6), "cifar": _each(0.7, 3.5, 5.6, 6.3, 7)},
}
