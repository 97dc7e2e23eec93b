"""The arithmetic that all corruptions share, kept the same to the bit on every device and batch size.

Truncation to 8 bits turns a difference in the last bit of a float64 into a whole grey level. So a multiply
and an add stay two operations (fused, they round once, and not on every device), and a division divides.
"""

from __future__ import annotations

import torch

__all__ = ["divide", "to_bytes", "to_unit"]


def divide(values: torch.Tensor, divisor: float) -> torch.Tensor:
    """Return ``values / divisor``, correctly rounded.

    The divisor goes to the device first: for a Python number CUDA multiplies by the reciprocal, after which
    k / 255 * 255 can fall below k and lose a grey level.
    """
    return values / torch.tensor(divisor, dtype=values.dtype, device=values.device)


def to_unit(images: torch.Tensor, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return 8-bit ``images`` as a new tensor of floats in [0, 1]."""
    # In place: fresh memory for a second copy takes as long as the division.
    return images.to(dtype).div_(torch.tensor(255.0, dtype=dtype, device=images.device))


def to_bytes(values: torch.Tensor) -> torch.Tensor:
    """Clip ``values`` to [0, 1] and return them as 8 bits. Overwrites ``values``.

    Truncates where rounding would be right, as the authors' ``np.uint8`` does: it darkens every corrupted
    image by half a grey level, and the published files hold it.
    """
    return values.clamp_(0.0, 1.0).mul_(255.0).to(torch.uint8)
