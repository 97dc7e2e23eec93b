"""Projected gradient descent in the ball around an image, L-inf and L2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from robustbench_safety.errors import ModelError
from robustbench_safety.records import Attack, Norm, pixel_fraction
from robustbench_safety.streams import random_stream

__all__ = ["Descent", "descend", "descent_of", "random_starts"]

#: Network with its normalisation: pixels [N, 3, H, W] in [0, 1] to logits [N, K].
Network = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Settings of one descent; lengths are of the pixel range [0, 1]."""

    norm: Norm
    eps: float
    step: float
    steps: int


def descent_of(attack: Attack) -> Descent:
    """Return the settings of an attack that is PGD."""
    assert attack.step is not None  # noqa: S101  # Attack has checked it
    assert attack.steps is not None  # noqa: S101
    return Descent(
        norm=attack.norm,
        eps=pixel_fraction(attack.eps),
        step=pixel_fraction(attack.step),
        steps=attack.steps,
    )


def random_starts(
    shape: tuple[int, ...], attack: Attack, sample_ids: Sequence[str], seed: int
) -> NDArray[np.float32]:
    """Return where each image is moved before the first step: float32 [N, 3, H, W], uniform in the ball.

    Args:
        shape: Of one image [3, H, W].
        attack: Its norm and eps.
        sample_ids: N; the start of an image depends on its id, the attack and the seed alone.
        seed: Of the suite.

    Conventions:
        Uniform in L2 means a direction without preference and a radius eps u^(1/D), so that in D = 3,072
        values nearly all starts lie at the surface. A radius eps u would start most images further inside.
    """
    eps, name = pixel_fraction(attack.eps), attack.condition_name(seed)

    def drawn(key: str) -> NDArray[np.float64]:
        stream = random_stream(seed, "attack", name, key)
        if attack.norm == "linf":
            return stream.uniform(-eps, eps, size=shape)
        direction = stream.standard_normal(size=shape)
        radius = eps * stream.uniform() ** (1 / direction.size)
        return np.asarray(direction * (radius / np.linalg.norm(direction)))

    return np.stack([drawn(key) for key in sample_ids]).astype(np.float32)


def descend(
    network: Network,
    start: torch.Tensor,
    labels: torch.Tensor,
    *,
    centre: torch.Tensor,
    descent: Descent,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return adversarial images, and the logits of the start.

    Args:
        network: In evaluation mode.
        start: float32 [N, 3, H, W]; need not lie in [0, 1].
        labels: True classes int64 [N].
        centre: Of each image's ball, float32 [N, 3, H, W].
        descent: Settings.

    Returns:
        Images float32 [N, 3, H, W] in [0, 1] within ``eps`` of ``centre`` where that lies in [0, 1];
        logits float32 [N, K] of ``start``.

    Raises:
        ModelError: A gradient is not finite.

    Conventions:
        The loss is the sum of cross entropies and the start is not clamped, as in PixMix's code. An L-inf
        step goes along the sign of the gradient, an L2 step along the gradient made unit length.

    Source:
        Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, section 2, 2018.
    """
    move, project = _linf(centre, descent) if descent.norm == "linf" else _l2(centre, descent)
    # Another memory format would change the rounding of every layer.
    adversarial = start.contiguous(memory_format=torch.channels_last).detach()
    of_start: torch.Tensor | None = None
    for _ in range(descent.steps):
        adversarial.requires_grad_(True)  # noqa: FBT003  # torch's own signature
        with torch.enable_grad():
            logits = network(adversarial).float()
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, adversarial)
        if not torch.isfinite(gradient).all():
            raise ModelError(
                "the attack met a gradient that is not finite", fix="check the network's weights"
            )
        of_start = logits.detach() if of_start is None else of_start
        adversarial = project(adversarial.detach() + move(gradient))
    assert of_start is not None  # noqa: S101  # there is one step or more
    return adversarial.detach(), of_start


Step = Callable[[torch.Tensor], torch.Tensor]


def _linf(centre: torch.Tensor, descent: Descent) -> tuple[Step, Step]:
    eps, step = descent.eps, descent.step
    low, high = (centre - eps).clamp_(0, 1), (centre + eps).clamp_(0, 1)
    return (
        lambda gradient: step * gradient.sign(),
        lambda moved: torch.minimum(torch.maximum(moved, low), high),
    )


def _l2(centre: torch.Tensor, descent: Descent) -> tuple[Step, Step]:
    eps, step = descent.eps, descent.step

    def move(gradient: torch.Tensor) -> torch.Tensor:
        # Divided by the largest value first: the squares of a confident network's gradient would be 0.
        largest = gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
        scaled = gradient / largest.clamp_min(torch.finfo(gradient.dtype).tiny)
        return step * scaled / _length(scaled).clamp_min(1)

    def project(moved: torch.Tensor) -> torch.Tensor:
        delta = moved - centre
        inside = centre + delta * (eps / _length(delta)).clamp_max(1)
        # The centre lies in [0, 1], so no value moves away from it here.
        return inside.clamp_(0, 1)

    return move, project


def _length(images: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean length of each image: [N, 1, 1, 1]."""
    return images.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
