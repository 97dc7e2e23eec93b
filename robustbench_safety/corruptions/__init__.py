"""Common corruptions (ImageNet-C, CIFAR-C) and perturbation sequences (ImageNet-P, CIFAR-P), generated."""

from robustbench_safety.corruptions.clips import (
    SEQUENCES,
    compare_rule,
    n_frames,
    sequence,
    sequence_names,
)
from robustbench_safety.corruptions.generate import (
    CORRUPTIONS,
    CORRUPTIONS_BAR,
    bar_names,
    corrupt,
    corruption_names,
)
from robustbench_safety.streams import GENERATOR, GENERATOR_VERSION

__all__ = [
    "CORRUPTIONS",
    "CORRUPTIONS_BAR",
    "GENERATOR",
    "GENERATOR_VERSION",
    "SEQUENCES",
    "bar_names",
    "compare_rule",
    "corrupt",
    "corruption_names",
    "n_frames",
    "sequence",
    "sequence_names",
]
