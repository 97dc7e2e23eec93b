"""Asks a network whether its gradients mean anything: at a large eps nothing may be left of it."""

from __future__ import annotations

import torch
from torch import nn

from robustbench_safety.attacks.pgd import Descent, descend
from robustbench_safety.records import pixel_fraction

__all__ = ["LARGE_EPS", "LARGE_EPS_IMAGES", "LARGE_EPS_STEPS", "right_at_large_eps"]

#: Half the pixel range: from every image there is a way to plain grey, which shows nothing of its class.
LARGE_EPS = "0.5"
#: Few steps and few images: an honest network loses them all. On CIFAR-10 the check adds 704 passes to the
#: 210,000 of PGD-20.
LARGE_EPS_STEPS, LARGE_EPS_IMAGES = 10, 64
_STEP = 0.1


def right_at_large_eps(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> int:
    """Return how many images are still right after PGD in an L-inf ball of half the pixel range.

    It starts at the images themselves: random noise of that size would break many by itself, and so hide
    that the steps lead nowhere.

    Args:
        network: In evaluation mode; takes pixels in [0, 1].
        images: float32 [N, 3, H, W] in [0, 1].
        labels: True classes int64 [N].

    Source:
        Athalye et al., Obfuscated Gradients Give a False Sense of Security, section 3.1, 2018; Carlini et
        al., On Evaluating Adversarial Robustness, 2019.
    """
    eps = pixel_fraction(LARGE_EPS)
    descent = Descent(norm="linf", eps=eps, step=_STEP, steps=LARGE_EPS_STEPS)
    found, _ = descend(network, images.clone(), labels, centre=images, descent=descent)
    with torch.no_grad():
        return int((network(found).argmax(dim=1) == labels).sum())
