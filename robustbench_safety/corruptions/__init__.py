"""Common corruptions (ImageNet-C, CIFAR-C) and perturbation sequences (ImageNet-P, CIFAR-P), generated."""

from robustbench_safety.corruptions.generate import (
    CORRUPTIONS,
    GENERATOR,
    GENERATOR_VERSION,
    SEQUENCES,
    compare_rule,
    corrupt,
    corruption_names,
    n_frames,
    sequence,
    sequence_names,
)

__all__ = [
    "CORRUPTIONS",
    "GENERATOR",
    "GENERATOR_VERSION",
    "SEQUENCES",
    "compare_rule",
    "corrupt",
    "corruption_names",
    "n_frames",
    "sequence",
    "sequence_names",
]
