"""Adversarial conditions, in pixel space: the network normalises inside itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from robustbench_safety.errors import ModelError
from robustbench_safety.records import Attack, pixel_fraction
from robustbench_safety.streams import random_stream

__all__ = ["attack_batch", "passes_per_image"]

#: Room for float32 rounding when the perturbation is checked after the attack.
_ROUNDING = 1e-6


def passes_per_image(attack: Attack) -> int:
    """Return how often an image goes through the network: each step, and the prediction at the end."""
    return attack.steps + 1


def attack_batch(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    *,
    sample_ids: Sequence[str],
    seed: int,
) -> torch.Tensor:
    """Return adversarial images.

    Args:
        network: Takes pixels in [0, 1], returns logits [N, K]; in eval mode.
        images: float32 [N, 3, H, W] in [0, 1].
        labels: True classes int64 [N].
        attack: Settings.
        sample_ids: N; the random start of an image depends on its id and the seed alone.
        seed: Of the suite.

    Returns:
        float32 [N, 3, H, W] in [0, 1], within ``eps`` of ``images``.

    Raises:
        ModelError: The network gives no usable gradient.
    """
    start = _uniform_start(images, attack, sample_ids, seed)
    adversarial = _pgd(network, images, labels, attack, start)
    _check(images, adversarial, pixel_fraction(attack.eps))
    return adversarial


def _uniform_start(
    images: torch.Tensor, attack: Attack, sample_ids: Sequence[str], seed: int
) -> torch.Tensor:
    eps, shape = pixel_fraction(attack.eps), tuple(images.shape[1:])
    name = attack.condition_name(seed)
    draws = [random_stream(seed, "attack", name, key).uniform(-eps, eps, size=shape) for key in sample_ids]
    return torch.from_numpy(np.stack(draws).astype(np.float32)).to(images)


def _pgd(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, attack: Attack, start: torch.Tensor
) -> torch.Tensor:
    """Projected gradient descent in the L-inf ball (Madry et al., 2018), with PixMix's conventions.

    The loss is the sum of cross entropies and the start is not clamped, as in PixMix's code; but the ball is
    centred on the true image, where that code centres it on the noised one and so reaches up to 2 eps.
    """
    eps, step = pixel_fraction(attack.eps), pixel_fraction(attack.step)
    low, high = (images - eps).clamp_(0, 1), (images + eps).clamp_(0, 1)
    # Another memory format would change the rounding of every layer.
    adversarial = (images + start).contiguous(memory_format=torch.channels_last)
    for _ in range(attack.steps):
        adversarial.requires_grad_(True)  # noqa: FBT003  # torch's own signature
        with torch.enable_grad():
            loss = functional.cross_entropy(network(adversarial).float(), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, adversarial)
        if not torch.isfinite(gradient).all():
            raise ModelError(
                "the attack met a gradient that is not finite", fix="check the network's weights"
            )
        adversarial = adversarial.detach() + step * gradient.sign()
        adversarial = torch.minimum(torch.maximum(adversarial, low), high)
    return adversarial.detach()


def _check(images: torch.Tensor, adversarial: torch.Tensor, eps: float) -> None:
    """Refuse, on every image, a perturbation that is too large or leaves the pixel range."""
    largest = float((adversarial - images).abs().max())
    inside = float(adversarial.min()) >= 0 and float(adversarial.max()) <= 1
    if not (largest <= eps + _ROUNDING and inside):  # so that NaN is refused too
        raise ModelError(
            "the attack left its bounds",
            expected=f"at most {eps:.6f} from the image, within [0, 1]",
            found=f"{largest:.6f}, [{float(adversarial.min()):.6f}, {float(adversarial.max()):.6f}]",
        )
