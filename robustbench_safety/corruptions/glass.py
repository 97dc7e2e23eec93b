"""Glass blur: pixels trade places with near neighbours, between two Gaussian blurs."""

from __future__ import annotations

import torch

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.gaussian import gaussian_filter
from robustbench_safety.corruptions.pixels import to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters

__all__ = ["glass_blur"]


def glass_blur(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Blur, replace pixels by near ones, blur; ``parameters`` is (sigma, furthest exchange, passes).

    Slips of the authors that are kept, because the published files hold them:

    - The exchange is written with views of one array, so a pixel takes its neighbour's value and the
      neighbour keeps it: a copy and no swap.
    - The offsets go from -distance to distance - 1, so the picture moves down and to the right.
    - The first distance + 1 and the last distance - 1 rows and columns are never replaced.
    """
    sigma, distance, passes = parameters[0], int(parameters[1]), int(parameters[2])
    blurred = to_bytes(gaussian_filter(to_unit(images), sigma))
    n, side, _, channels = images.shape
    n_moved = side - 2 * distance
    # In the authors' order: passes, rows from below, columns from the right, then dx before dy.
    offsets = draws.integers(-distance, distance, (passes, n_moved, n_moved, 2)).flip(2, 3)
    source = torch.arange(side * side, device=images.device).expand(n, -1)
    for moved in offsets.unbind(1):
        source = source.gather(1, _one_pass(moved, side=side, distance=distance))
    pixels = blurred.view(n, side * side, channels)
    taken = pixels.gather(1, source.unsqueeze(2).expand(-1, -1, channels)).view(images.shape)
    return to_bytes(gaussian_filter(to_unit(taken), sigma))


def _one_pass(offsets: torch.Tensor, *, side: int, distance: int) -> torch.Tensor:
    """Return where the pixels of one pass come from, as indices into the image before it: [N, side * side].

    The pass goes through the pixels backwards and copies. So a pixel takes what stands now at its neighbour:
    if that comes later in the image and was replaced, what the neighbour has taken, else what stood there
    before. All pixels follow such a chain at once, and as every step halves the way, a few do.

    Args:
        offsets: [N, rows, columns, (dx, dy)], rows and columns forwards.
        side: Of the image.
        distance: The rows and columns that are replaced are distance + 1, ..., side - distance.
    """
    n = len(offsets)
    device = offsets.device
    replaced = slice(distance + 1, side - distance + 1)
    places = torch.arange(side * side, device=device).view(side, side)
    inside = torch.zeros((side, side), dtype=torch.bool, device=device)
    inside[replaced, replaced] = True
    neighbour = places.expand(n, side, side).clone()
    neighbour[:, replaced, replaced] += offsets[..., 1] * side + offsets[..., 0]
    neighbour = neighbour.view(n, -1)
    came_before = (neighbour > places.view(-1)) & inside.view(-1)[neighbour]
    # Node p is the pixel p after the pass, node p + side^2 the one before it, where every chain ends.
    ends = (places.view(-1) + side * side).expand(n, -1)
    link = torch.cat([torch.where(came_before, neighbour, neighbour + side * side), ends], dim=1)
    while True:
        further = link.gather(1, link)
        if torch.equal(further, link):
            return link[:, : side * side] - side * side
        link = further
