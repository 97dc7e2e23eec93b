"""Elastic transform: the picture is sheared as a whole, then every pixel is moved a little."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn.functional import grid_sample

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.pixels import to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["elastic_transform"]

#: OpenCV before version 5 knows a place to 10 bits and interpolates with 5 of them.
_PLACE, _FRACTION = 1024, 32
#: The smoothing kernel reaches this many sigmas.
_TRUNCATE = 3


def elastic_transform(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Shear at random, then move by smoothed noise; ``parameters`` is (alpha, sigma, jitter) in pixels.

    Three corners are moved by U(-jitter, jitter) and the picture with them; then every pixel is taken from
    alpha times U(-1, 1), blurred by sigma, away. In float32, as the authors' code is.
    """
    alpha, sigma, jitter = parameters
    n, height, width, _ = images.shape
    uniform = draws.random((6 + 2 * height * width,)).mul_(2).sub_(1)
    channels_first = to_unit(images, torch.float32).permute(0, 3, 1, 2)
    places = _sheared(uniform[:, :6].reshape(n, 3, 2) * jitter, height, width)
    # OpenCV's reflect-101 mirrors about the middle of the outermost pixel, SciPy's reflect about its edge.
    sheared = _sample(channels_first, places, pixel_repeated=False)
    if alpha == 0:
        # The first severity of small images. SciPy interpolates at whole places, which changes nothing.
        return to_bytes(sheared.permute(0, 2, 3, 1))
    fields = uniform[:, 6:].reshape(n, 2, height, width)
    across, down = _smooth(fields, sigma).mul_(alpha).unbind(1)
    rows = torch.arange(height, dtype=torch.float32, device=images.device).view(-1, 1)
    columns = torch.arange(width, dtype=torch.float32, device=images.device)
    moved = _sample(sheared, torch.stack((across + columns, down + rows), dim=-1), pixel_repeated=True)
    return to_bytes(moved.permute(0, 2, 3, 1).contiguous())


def _sheared(jitter: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return where each pixel (x, y) of the sheared pictures comes from: float32 [N, H, W, 2].

    Args:
        jitter: float64 [N, 3, 2]; how far (x, y) of each corner moves.
        height: In pixels.
        width: In pixels.

    The inverse of OpenCV's ``getAffineTransform``, and ``warpAffine`` as it was up to version 4: the places
    are rounded to a 32nd of a pixel. Version 5 does not, which moves 4 % of the values of a photograph of 224
    pixels by more than one grey level; the published files are older.
    """
    device = jitter.device
    # As the authors write it, (height, width) stands where OpenCV reads (x, y); pictures are square.
    down, right, reach = height // 2, width // 2, min(height, width) // 3
    corners = torch.tensor(
        [[down + reach, right + reach], [down + reach, right - reach], [down - reach, right - reach]],
        dtype=torch.float64,
        device=device,
    )
    # The authors' corners and jitter are float32.
    moved = (corners.float() + jitter.float()).double()
    first, second = moved[:, 0] - moved[:, 1], moved[:, 1] - moved[:, 2]
    determinant = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    # The map takes ``first`` back to (0, 2 * reach) and ``second`` to (2 * reach, 0).
    scale = 2 * reach / determinant
    to_x = torch.stack((-first[:, 1], first[:, 0]), dim=1) * scale[:, None]
    to_y = torch.stack((second[:, 1], -second[:, 0]), dim=1) * scale[:, None]
    linear = torch.stack((to_x, to_y), dim=1)  # [N, (x, y) of the source, (x, y) of the result]
    offset = corners[1] - (linear * moved[:, 1, None]).sum(-1)
    x = torch.arange(width, dtype=torch.float64, device=device) * _PLACE
    y = torch.arange(height, dtype=torch.float64, device=device)
    along = torch.round(linear[:, :, 0, None] * x)
    start = torch.round((linear[:, :, 1, None] * y + offset[:, :, None]) * _PLACE)
    places = start[:, :, :, None] + along[:, :, None, :] + _PLACE // _FRACTION // 2
    thirty_seconds = places.mul_(_FRACTION / _PLACE).floor_()
    return thirty_seconds.div_(_FRACTION).permute(0, 2, 3, 1).float()


def _smooth(fields: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return float32 ``fields`` [N, 2, H, W] blurred as by SciPy's ``gaussian_filter``, mode reflect.

    By matrices that hold the reflections: the kernel of severity 1 is four times as wide as the picture.
    """
    down, across = (_blur_matrix(side, sigma, fields.device) for side in fields.shape[2:])
    smooth = torch.empty(fields.shape, dtype=torch.float32, device=fields.device)
    # One picture at a time: a product of a whole batch adds in an order that depends on its size.
    for field, result in zip(fields.float().flatten(0, 1), smooth.flatten(0, 1), strict=True):
        torch.mm(torch.mm(down, field), across.T, out=result)
    return smooth


@lru_cache(maxsize=8)
def _blur_matrix(side: int, sigma: float, device: torch.device) -> torch.Tensor:
    """Return float32 [side, side]; row i holds the weights of the pixels that make pixel i."""
    reach = int(_TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    taps = torch.exp(offsets**2 * (-0.5 / (sigma * sigma)))
    taps /= taps.sum()
    here = torch.arange(side).view(-1, 1)
    source = torch.remainder(here + offsets.long(), 2 * side)
    source = torch.where(source < side, source, 2 * side - 1 - source)
    matrix = torch.zeros((side, side), dtype=torch.float64)
    matrix.scatter_add_(1, source, taps.expand(side, -1))
    return matrix.float().to(device)


def _sample(pictures: torch.Tensor, places: torch.Tensor, *, pixel_repeated: bool) -> torch.Tensor:
    """Interpolate ``pictures``, float32 [N, C, H, W], at ``places``, float32 [N, H, W, (x, y)] in pixels.

    Beyond the border the picture is mirrored, with or without its outermost pixel said twice.
    """
    height, width = pictures.shape[2:]
    # grid_sample counts from -1 to 1, over the edges of the outermost pixels or over their middles.
    size = torch.tensor([width, height], dtype=torch.float32, device=pictures.device)
    grid = (2 * places + 1) / size - 1 if pixel_repeated else 2 * places / (size - 1) - 1
    return grid_sample(
        pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=not pixel_repeated
    )
