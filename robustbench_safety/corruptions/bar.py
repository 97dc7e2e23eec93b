"""Corruptions of ImageNet-C-bar and CIFAR-10-C-bar, chosen to be unlike those of ImageNet-C.

All functions take images uint8 [N, H, W, 3], the parameters of a severity and draws, and return uint8 of the
same shape on the same device. The authors' own settings are levels from 0 to 10, from which each function
works out what it needs, at any size. Values are truncated to 8 bits, from 0 to 255.

Source: Mintun, Kirillov and Xie, "On Interaction Between Augmentations and Corruptions in Natural Corruption
Robustness" (NeurIPS 2021), the authors' ``transforms.py``. Their random numbers come from a seed that is
itself drawn; here they come from the image's own stream.
"""

from __future__ import annotations

import math

import torch

from robustbench_safety.corruptions.bar_planes import column, places, truncated
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.severities import Parameters

__all__ = [
    "blue_noise_sample",
    "brownish_noise",
    "checkerboard_cutout",
    "cocentric_sine_waves",
    "inverse_sparkles",
    "plasma_noise",
    "single_frequency_greyscale",
    "sparkles",
]

#: A sparkle has at least 50 rays and fewer than this.
_MOST_RAYS = 200
#: Squares of the finest checkerboard: 4 sides of the picture in squares of a tenth of it.
_MOST_SQUARES = 40


def blue_noise_sample(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Blacken pixels that lie where noise of high frequencies is low; ``parameters`` is (level,)."""
    (level,) = parameters
    noise = _coloured_noise(_from_centre(images), draws, channels=1)
    return images * (noise > level * 0.3 - 2.5)


def brownish_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Add noise of low frequencies to each channel; ``parameters`` is (level,)."""
    (level,) = parameters
    noise = _coloured_noise(1 / (_from_centre(images) ** 2 + 1), draws, channels=3)
    return truncated(images + level * 6.4 * noise)


def checkerboard_cutout(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Cover a share of the squares of one colour of a turned checkerboard with grey; (level,)."""
    (level,) = parameters
    n, side = len(images), images.shape[1]
    uniform = draws.random((2 + _MOST_SQUARES**2,))
    angle = column(uniform[:, 0] * (2 * math.pi))
    square = column((0.1 + 0.15 * uniform[:, 1]) * side).clamp(min=1)
    rows, columns = places(images)
    down = (torch.cos(angle) * rows + torch.sin(angle) * columns) / square
    across = (torch.cos(angle) * columns - torch.sin(angle) * rows) / square
    one_colour = torch.remainder(down, 2).long() == torch.remainder(across, 2).long()
    # Squares on the other side of a corner of the picture are counted from the end of the board, as NumPy's
    # negative indices are; and the two at 0 from either side are one: int() truncates towards 0.
    count = torch.floor(4 * side / square).long()
    index = torch.remainder(down.long(), count) * _MOST_SQUARES + torch.remainder(across.long(), count)
    drawn = uniform[:, 2:].gather(1, index.view(n, -1)).view_as(index)
    covered = one_colour & (drawn < level / 10)
    return images.masked_fill(covered.unsqueeze(-1), 128)


def single_frequency_greyscale(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Add one plane wave, the same to every channel; ``parameters`` is (level,)."""
    (level,) = parameters
    first, second, phase, order = draws.random((4,)).unbind(1)
    first = (2 * first - 1) * math.pi
    second = (2 * second - 1) * first.abs()
    swapped = order < 0.5
    along = column(torch.where(swapped, second, first))
    down = column(torch.where(swapped, first, second))
    rows, columns = places(images)
    wave = torch.sin(columns * along + rows * down + column(phase * (2 * math.pi)))
    return truncated(images + level * 19.6 * wave.unsqueeze(-1))


def cocentric_sine_waves(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Add saw-toothed rings round a point, their outline wavy; ``parameters`` is (level,)."""
    (level,) = parameters
    side = images.shape[1]
    left, top, frequency, amplitude, width = map(column, draws.random((5,)).unbind(1))
    rows, columns = places(images)
    x, y = columns - left * side, rows - top * side
    radius = torch.sqrt(x**2 + y**2) + torch.sin(torch.atan2(x, y) * (10 * frequency)) * (
        amplitude * (side / 10)
    )
    ring = width * (side / 10)
    saw = torch.remainder(radius, ring) / ring - 0.5
    return truncated(images + level * 12.8 * saw.unsqueeze(-1))


def plasma_noise(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Blend with waves that are bent by waves; ``parameters`` is (level,).

    A slip of the authors: a shift of the bending waves starts at 0 and is only multiplied, so there is none.
    """
    (level,) = parameters
    uniform = draws.random((3,))
    passes = column(draws.integers(4, 7, (1,))[:, 0])
    time = column(uniform[:, 0] * (6 * math.pi))
    sharpness = column(0.5 + 0.5 * uniform[:, 1])
    scale = column((0.075 + 0.125 * uniform[:, 2]) * images.shape[1])
    rows, columns = places(images)
    x, y = columns / scale, rows / scale
    frequency, slowness, divisor = 1.0, 1.0, torch.ones_like(sharpness)
    for done in range(6):
        bent_x = torch.cos(y * frequency + time / slowness) / divisor
        bent_y = torch.sin(x * frequency + time / slowness) / divisor
        going = passes > done
        x = torch.where(going, x + bent_x - 0.3 * bent_y, x)
        y = torch.where(going, y + bent_y + 0.3 * bent_x, y)
        frequency, slowness, divisor = frequency * 1.93, slowness * 1.15, divisor * (2.25 - sharpness)
    waves = (torch.sin(x - time), torch.sin((x + y + torch.sin(time)) * 0.5), torch.sin(y + time))
    strength = level * 6.4
    return truncated((1 - strength / 255) * images + strength * torch.stack(waves, dim=-1))


def sparkles(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Put five white stars on the picture; ``parameters`` is (level,)."""
    (level,) = parameters
    side, count = images.shape[1], 5
    centres = draws.random((count, 2)) * side
    rays = draws.integers(50, _MOST_RAYS, (count,))
    radius = level * 0.01 * side
    lengths = (radius + 0.25 * radius * draws.normal((count, _MOST_RAYS))).clamp(min=1)
    values = images.double()
    for star in range(count):
        light = _star(images, centres[:, star], rays[:, star], lengths[:, star], power=1.0)
        values = values + light * (255 - values)
    return truncated(values)


def inverse_sparkles(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Show the picture through one star, all else white; ``parameters`` is (level,)."""
    (level,) = parameters
    side = images.shape[1]
    centre = (0.25 + 0.5 * draws.random((2,))) * side
    rays = draws.integers(50, _MOST_RAYS, (1,))[:, 0]
    lengths = 0.25 * side * (1 + 0.25 * draws.normal((_MOST_RAYS,)))
    light = _star(images, centre, rays, lengths, power=level * 6.5 / 50)
    return truncated(255 + light * (images - 255.0))


def _star(
    images: torch.Tensor, centre: torch.Tensor, rays: torch.Tensor, lengths: torch.Tensor, *, power: float
) -> torch.Tensor:
    """Return how much light of a star falls on each pixel, 0 to 1: float64 [N, H, W, 1].

    Args:
        images: Whose size it has.
        centre: [N, (row, column)].
        rays: int64 [N]; how many.
        lengths: [N, most rays], in pixels.
        power: How fast the light fades.
    """
    rows, columns = places(images)
    down, across = rows - column(centre[:, 0]), columns - column(centre[:, 1])
    turn = (torch.atan2(across, down) + math.pi) / (2 * math.pi) * column(rays)
    ray = turn.long()
    between = turn - ray

    def length(index: torch.Tensor) -> torch.Tensor:
        wanted = torch.remainder(index, column(rays)).flatten(1)
        return lengths.gather(1, wanted).view_as(index)

    reach = length(ray) + between * (length(ray + 1) - length(ray))
    faded = (reach**2 / (down**2 + across**2 + 1e-4)) ** power
    return ((1 - (between - 0.5) ** 2) * faded).clamp(0, 1).unsqueeze(-1)


def _coloured_noise(power: torch.Tensor, draws: Draws, *, channels: int) -> torch.Tensor:
    """Return noise of deviation 1 whose spectrum has the given ``power`` [S, S]: float64 [N, S, S, channels].

    Slips of the authors: phases are mirrored about a point half a step off the middle of the spectrum, and
    are equal where opposite frequencies want opposite ones. The real part is taken.
    """
    side = len(power)
    half = draws.random((channels, side, side // 2)).mul_(2 * math.pi)
    phases = torch.cat((half, half.flip(2, 3)), dim=3)
    spectrum = torch.polar(power.expand_as(phases).contiguous(), phases).roll((side // 2, side // 2), (2, 3))
    noise: torch.Tensor = torch.fft.ifft2(spectrum).real
    noise = noise / noise.std((2, 3), correction=0, keepdim=True)
    return noise.permute(0, 2, 3, 1)


def _from_centre(images: torch.Tensor) -> torch.Tensor:
    """Return each pixel's distance from the middle, float64 [S, S]."""
    offsets = torch.arange(images.shape[1], dtype=torch.float64, device=images.device) - images.shape[1] / 2
    return torch.sqrt(offsets[:, None] ** 2 + offsets[None] ** 2)
