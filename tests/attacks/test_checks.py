"""What leaves the bounds of an attack is refused, on whatever image it is."""

from __future__ import annotations

import pytest
import torch

from robustbench_safety.attacks.checks import check_bounds
from robustbench_safety.errors import ModelError
from robustbench_safety.records import Attack

PGD = {"name": "pgd", "norm": "linf", "eps": "0.1", "steps": 1, "step": "0.1"}


def attack(**change: object) -> Attack:
    return Attack.model_validate({**PGD, **change})


def grey(n: int = 3) -> torch.Tensor:
    return torch.full((n, 3, 2, 2), 0.5)


def moved(by: float) -> torch.Tensor:
    """The last image of three moved in one value."""
    images = grey()
    images[2, 1, 0, 1] += by
    return images


@pytest.mark.parametrize(
    ("made", "settings", "found"),
    [
        (moved(0.11), attack(), "0.11"),
        (moved(-0.11), attack(), "0.11"),
        (moved(0.21), attack(paper_faithful=True), "0.21"),
        (moved(float("nan")), attack(), "nan"),
        (moved(float("inf")), attack(eps="1"), "inf"),
        (moved(0.6), attack(eps="1"), "1.1"),
        (moved(-0.6), attack(eps="1"), r"\[-0.1"),
        # 12 values moved by 0.03 are sqrt(12) 0.03 = 0.1039 away.
        (grey() + 0.03, attack(norm="l2"), "0.1039"),
    ],
)
def test_an_image_out_of_bounds_is_refused(made: torch.Tensor, settings: Attack, found: str) -> None:
    with pytest.raises(ModelError, match=f"the attack left its bounds; expected at most .*found .*{found}"):
        check_bounds(grey(), made, settings)


@pytest.mark.parametrize(
    ("made", "settings"),
    [
        (grey(), attack()),
        (moved(0.1), attack()),
        (moved(0.1 + 5e-7), attack()),
        (moved(0.2), attack(paper_faithful=True)),
        (moved(0.5), attack(eps="1")),
        (grey() + 0.028, attack(norm="l2")),
        (moved(0.4), attack(norm="l2", eps="3")),
    ],
)
def test_an_image_within_bounds_is_taken(made: torch.Tensor, settings: Attack) -> None:
    check_bounds(grey(), made, settings)
