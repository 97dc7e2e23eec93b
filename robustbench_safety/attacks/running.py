"""Runs an attack on one batch, counts what it costs, and checks what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from robustbench_safety.attacks.auto import auto_attack
from robustbench_safety.attacks.checks import check_bounds
from robustbench_safety.attacks.pgd import descend, descent_of, random_starts
from robustbench_safety.errors import ModelError
from robustbench_safety.records import Attack

__all__ = ["Attacked", "attack_batch"]


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """What an attack made of a batch."""

    images: torch.Tensor
    """float32 [N, 3, H, W] in [0, 1]."""
    passes: int
    """Images that went through the network, each as often as it did."""
    start_logits: torch.Tensor | None = None
    """PGD: float32 [N, K] at the random start."""
    broken: dict[str, int] = field(default_factory=dict)
    """AutoAttack: images that each of its attacks broke, of those that the ones before it had left."""


class _Counted:
    """A network that counts the images it is shown, and refuses logits that are not finite."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.passes = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        # About three times as fast on a CPU, and the rounding is that of the predictions.
        shown = images.contiguous(memory_format=torch.channels_last)
        logits: torch.Tensor = self._network(shown).float()
        self.passes += len(images)
        if not torch.isfinite(logits).all():
            raise ModelError(
                "the network gives logits that are not finite under attack",
                expected="finite logits on all pixels in [0, 1]",
                fix="check the weights",
            )
        return logits


def attack_batch(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    *,
    sample_ids: Sequence[str],
    seed: int,
) -> Attacked:
    """Return adversarial images.

    Args:
        network: Takes pixels in [0, 1], returns logits [N, K]; in eval mode, and run in float32.
        images: float32 [N, 3, H, W] in [0, 1].
        labels: True classes int64 [N].
        attack: Settings.
        sample_ids: N. PGD's random start of an image depends on its id and the seed alone; what AutoAttack
            draws depends on the ids of the batch and the seed.
        seed: Of the suite.

    Returns:
        Images within ``attack.reach`` of ``images`` and within [0, 1], with what was seen on the way.

    Raises:
        ModelError: The network gives no usable gradient, or logits that are not finite; or the attack left
            its bounds.
        MissingDependencyError: The attack's library is not installed.
    """
    counted = _Counted(network)
    with torch.autocast(images.device.type, enabled=False):
        if attack.name == "autoattack":
            adversarial, broken = auto_attack(
                counted, images, labels, attack, sample_ids=sample_ids, seed=seed
            )
            found = Attacked(images=adversarial, passes=counted.passes, broken=broken)
        else:
            noise = random_starts(tuple(images.shape[1:]), attack, sample_ids, seed)
            start = images + torch.from_numpy(noise).to(images)
            # The code of PixMix centres the ball on the noised image, and so reaches up to 2 eps.
            centre = start if attack.paper_faithful else images
            adversarial, of_start = descend(counted, start, labels, centre=centre, descent=descent_of(attack))
            found = Attacked(images=adversarial, passes=counted.passes, start_logits=of_start)
    check_bounds(images, found.images, attack)
    return found
