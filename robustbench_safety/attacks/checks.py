"""What holds of every image after an attack, whoever made it."""

from __future__ import annotations

import torch

from robustbench_safety.errors import ModelError
from robustbench_safety.records import Attack

__all__ = ["check_bounds", "lengths"]

#: Room for float32 rounding: of a value, and of a sum of squares over the values of an image.
_ROUNDING = {"linf": 1e-6, "l2": 1e-5}


def lengths(perturbation: torch.Tensor, norm: str) -> torch.Tensor:
    """Return how far each image was moved: float64 [N], of perturbations [N, 3, H, W].

    Example:
        >>> moved = torch.tensor([3.0, 4.0, 0.0]).view(1, 3, 1, 1)
        >>> lengths(moved, "linf").tolist(), lengths(moved, "l2").tolist()
        ([4.0], [5.0])
    """
    flat = perturbation.double().flatten(1)
    return flat.abs().amax(dim=1) if norm == "linf" else flat.square().sum(dim=1).sqrt()


def check_bounds(images: torch.Tensor, adversarial: torch.Tensor, attack: Attack) -> None:
    """Refuse, on every image, a perturbation that is too large or leaves the pixel range.

    Args:
        images: float32 [N, 3, H, W] in [0, 1].
        adversarial: What the attack made of them.
        attack: Its settings.

    Raises:
        ModelError: An image is further away than the attack may go, outside [0, 1], or not finite.
    """
    largest = float(lengths(adversarial - images, attack.norm).max())
    inside = float(adversarial.min()) >= 0 and float(adversarial.max()) <= 1
    most = attack.reach
    if not (largest <= most + _ROUNDING[attack.norm] * max(1.0, most) and inside):  # so that NaN is refused
        raise ModelError(
            "the attack left its bounds",
            expected=f"at most {most:.6f} from the image, within [0, 1]",
            found=f"{largest:.6f}, [{float(adversarial.min()):.6f}, {float(adversarial.max()):.6f}]",
        )
