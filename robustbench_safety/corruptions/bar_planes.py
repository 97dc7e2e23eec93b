"""What the corruptions of C-bar share: where pixels lie, what is between pixels, the way to 8 bits."""

from __future__ import annotations

import torch

__all__ = ["bilinear", "column", "places", "truncated"]


def places(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows [H, 1] and columns [W] of ``images`` [N, H, W, C] as float64."""
    rows, columns = (torch.arange(n, dtype=torch.float64, device=images.device) for n in images.shape[1:3])
    return rows[:, None], columns


def column(values: torch.Tensor) -> torch.Tensor:
    """Return one value an image as [N, 1, 1]."""
    return values.view(-1, 1, 1)


def truncated(values: torch.Tensor) -> torch.Tensor:
    """Return values of 0 to 255 as 8 bits, cut off on both sides and truncated as the authors do it."""
    return values.clamp(0, 255).to(torch.uint8)


def bilinear(images: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    """Return the pictures at positions between their pixels; outside all is 0.

    Args:
        images: [N, H, W, C].
        down: float64 [N, h, w]; rows.
        across: float64 [N, h, w]; columns.

    Returns:
        float64 [N, h, w, C].
    """
    n, height, width, channels = images.shape
    # A frame of zeros stands for everything outside.
    framed = torch.zeros((n, height + 2, width + 2, channels), dtype=torch.float64, device=images.device)
    framed[:, 1:-1, 1:-1] = images
    framed = framed.view(n, -1, channels)
    top, left = down.floor(), across.floor()

    def neighbour(row: torch.Tensor, col: torch.Tensor) -> torch.Tensor:
        index = row.clamp(-1, height).add(1).mul(width + 2) + col.clamp(-1, width).add(1)
        found = framed.gather(1, index.long().view(n, -1, 1).expand(-1, -1, channels))
        return found.view(*index.shape, channels)

    to_left, to_right = (1 - across + left).unsqueeze(-1), (1 - (left + 1) + across).unsqueeze(-1)
    upper = neighbour(top, left) * to_left + neighbour(top, left + 1) * to_right
    lower = neighbour(top + 1, left) * to_left + neighbour(top + 1, left + 1) * to_right
    return upper * (1 - down + top).unsqueeze(-1) + lower * (1 - (top + 1) + down).unsqueeze(-1)
