"""Adversarial conditions, in pixel space: the network normalises inside itself.

One file an attack: ``pgd.py`` and ``auto.py``. What every attack must keep is in ``checks.py``;
``masking.py`` asks whether the network's gradients can be trusted at all.
"""

from __future__ import annotations

from robustbench_safety.attacks.auto import autoattack_library, autoattack_version, check_classes
from robustbench_safety.attacks.drawing import drawn_images
from robustbench_safety.attacks.masking import (
    LARGE_EPS,
    LARGE_EPS_IMAGES,
    LARGE_EPS_STEPS,
    right_at_large_eps,
)
from robustbench_safety.attacks.running import Attacked, attack_batch
from robustbench_safety.records import Attack

__all__ = [
    "LARGE_EPS",
    "LARGE_EPS_IMAGES",
    "LARGE_EPS_STEPS",
    "Attacked",
    "attack_batch",
    "check_attack",
    "drawn_images",
    "library_of",
    "right_at_large_eps",
]


def check_attack(attack: Attack, *, n_classes: int) -> None:
    """Refuse an attack that cannot be run here, before the first image.

    Raises:
        MissingDependencyError: A library is not installed.
        ModelError: The model has too few classes.
    """
    if attack.name == "autoattack":
        autoattack_library()
        check_classes(n_classes)


def library_of(attack: Attack) -> str | None:
    """Return name and version of the library that makes the attack; None where it is this package."""
    return autoattack_version() if attack.name == "autoattack" else None
