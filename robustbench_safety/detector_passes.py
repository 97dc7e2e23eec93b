"""Pixels that a detector shows the network instead of the image's own: ODIN's step towards a surer answer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from robustbench_safety.errors import ModelError
from robustbench_safety.records import DetectorPass, pixel_fraction

__all__ = ["PASSES_PER_IMAGE", "shown_pixels"]

#: The gradient's pass, and the prediction.
PASSES_PER_IMAGE = 2


def shown_pixels(network: nn.Module, images: torch.Tensor, settings: DetectorPass) -> torch.Tensor:
    """Return images moved by one step that makes the predicted class likelier.

    ``x - eps sign(grad CE(logits / T, predicted))``: in-distribution images gain more confidence than others.

    Args:
        network: Takes pixels in [0, 1], returns logits [N, K]; in evaluation mode.
        images: float32 [N, 3, H, W] in [0, 1].
        settings: Temperature and length of the step.

    Returns:
        float32 [N, 3, H, W], within ``eps`` of ``images``; like the authors', not clamped to [0, 1].

    Raises:
        ModelError: A gradient is not finite.

    Conventions:
        The step is a share of the pixel range. The authors divide the sign by the standard deviation of the
        normalisation, as they add it to normalised images: the same step in pixels.

    Source:
        Liang, Li and Srikant, Enhancing the Reliability of Out-of-distribution Image Detection in Neural
        Networks, 2018, equation 2.
    """
    moved = images.detach().clone().requires_grad_(True)  # noqa: FBT003  # torch's own signature
    with torch.enable_grad():
        logits = network(moved).float() / settings.temperature
        loss = functional.cross_entropy(logits, logits.argmax(dim=1), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
    if not torch.isfinite(gradient).all():
        raise ModelError(
            f"{settings.name} met a gradient that is not finite", fix="check the network's weights"
        )
    return moved.detach() - pixel_fraction(settings.eps) * gradient.sign()
