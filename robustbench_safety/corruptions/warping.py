"""Where the pixels of a moved picture come from: bilinear as Pillow and as OpenCV do it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Affine", "affine", "perspective", "torchvision_affine"]


class Affine(NamedTuple):
    """Where a position x, y of the result comes from in the image: ax + by + c, dx + ey + f, in pixels."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float


def torchvision_affine(
    height: int, width: int, *, angle: float = 0.0, scale: float = 1.0, shear: float = 0.0
) -> Affine:
    """Return the movement of an image by the ``affine`` of torchvision 0.2, through which the authors went.

    Two slips of it that the published files hold: the fixed point lies half a pixel right of and below the
    middle, and a shear shortens the image by its cosine as well. Its order of operations is kept too: where a
    position falls on the border, the last bit decides whether a whole row of the result is black.

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        angle: Clockwise, in degrees.
        scale: Above 1 the image grows.
        shear: In degrees; positive moves the upper edge right against the lower.
    """
    turn, lean = math.radians(angle), math.radians(shear)
    centre_x, centre_y = width * 0.5 + 0.5, height * 0.5 + 0.5
    determinant = math.cos(turn + lean) * math.cos(turn) + math.sin(turn + lean) * math.sin(turn)
    factor = 1.0 / scale / determinant
    a, b = factor * math.cos(turn + lean), factor * math.sin(turn + lean)
    d, e = factor * -math.sin(turn), factor * math.cos(turn)
    return Affine(
        a, b, a * -centre_x + b * -centre_y + centre_x, d, e, d * -centre_x + e * -centre_y + centre_y
    )


def affine(images: torch.Tensor, inverse: Affine) -> torch.Tensor:
    """Return ``images``, uint8 [N, H, W, C], moved; bilinear and truncated, black coming in.

    As Pillow's affine transform.

    Args:
        images: [N, H, W, C].
        inverse: Where the pixels come from.
    """
    n, height, width, channels = images.shape
    pixels = images.reshape(n, height * width, channels).double()
    # Where each pixel of the result comes from; the middle of a pixel is at its index plus a half.
    index = torch.arange(height * width, device=images.device)
    x = (index % width).double() + 0.5
    y = (index // width).double() + 0.5
    source_x = x * inverse.a + y * inverse.b + inverse.c
    source_y = x * inverse.d + y * inverse.e + inverse.f
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    source_x, source_y = source_x - 0.5, source_y - 0.5
    left, top = source_x.floor(), source_y.floor()

    def between_columns(row: torch.Tensor) -> torch.Tensor:
        """Interpolate along ``row``; outside the image the value at its edge goes on."""
        first = row.clamp(0, height - 1) * width
        start = pixels.index_select(1, (first + left.clamp(0, width - 1)).long())
        end = pixels.index_select(1, (first + (left + 1).clamp(0, width - 1)).long())
        return end.sub_(start).mul_((source_x - left).unsqueeze(-1)).add_(start)

    upper, lower = between_columns(top), between_columns(top + 1)
    moved = lower.sub_(upper).mul_((source_y - top).unsqueeze(-1)).add_(upper)
    return moved.mul_(inside.unsqueeze(-1)).to(torch.uint8).view(images.shape)


def perspective(images: torch.Tensor, matrix: NDArray[np.float64]) -> torch.Tensor:
    """Return ``images``, uint8 [N, H, W, C], seen in perspective; bilinear and rounded, black around.

    In whole numbers, as OpenCV up to 4.10 does it: positions are rounded to 1/32 of a pixel and the four
    neighbours are weighed by products of 32nds. (OpenCV 5 interpolates at the unrounded position; 1 to 2 % of
    the values of a photograph are more than a level away, the authors used 3.4.)

    Args:
        images: [N, H, W, C].
        matrix: [3, 3], from a homogeneous position (column, row, 1) in the image to one in the result.
    """
    n, height, width, channels = images.shape
    inverse = np.linalg.inv(matrix)
    row, column = np.mgrid[:height, :width].astype(np.float64)
    x, y, depth = (line[0] * column + line[1] * row + line[2] for line in inverse)
    # On the CPU, so that every device rounds the same positions.
    at_x, at_y = (torch.from_numpy(np.rint(to * (32.0 / depth)).astype(np.int64)).flatten() for to in (x, y))
    left, top, across, down = at_x >> 5, at_y >> 5, at_x & 31, at_y & 31
    pixels = images.reshape(n, height * width, channels).int()
    total = torch.full_like(pixels, 512)
    for below, weight_y in ((0, 32 - down), (1, down)):
        for right, weight_x in ((0, 32 - across), (1, across)):
            from_x, from_y = left + right, top + below
            inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
            index = from_y.clamp(0, height - 1) * width + from_x.clamp(0, width - 1)
            weight = (weight_x * weight_y * inside).int().unsqueeze(-1).to(images.device)
            total += pixels.index_select(1, index.to(images.device)) * weight
    return (total >> 10).to(torch.uint8).view(images.shape)
