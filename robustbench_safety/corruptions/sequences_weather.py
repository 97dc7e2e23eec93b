"""Sequences of weather: light that grows, snow that turns, rain that runs down the lens.

All functions take images uint8 [N, H, W, 3], the settings' parameters, the number of frames and draws,
and yield the frames, each uint8 [N, H, W, 3] on the same device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from robustbench_safety.corruptions.colour import rgb_to_hsv, shades
from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.gaussian import gaussian_filter
from robustbench_safety.corruptions.motion import motion_blur_layer
from robustbench_safety.corruptions.pixels import divide, to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters
from robustbench_safety.corruptions.snow import whitened
from robustbench_safety.corruptions.spatter import opencv_module, with_water
from robustbench_safety.corruptions.zoom import clipped_zoom

__all__ = ["brightness", "snow", "spatter"]


def brightness(
    images: torch.Tensor, parameters: Parameters, n_frames: int, _draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield brighter and brighter images; ``parameters`` is (middle frame, percent of value a frame).

    The middle frame is not quite the clean image: the way through HSV and back costs some values a level.
    """
    middle, percent = parameters
    hue, saturation, value = rgb_to_hsv(to_unit(images))
    share, value = shades(hue, saturation), value.unsqueeze(-1)
    for frame in range(n_frames):
        # The authors' order of operations: (frame - middle) * 0.015 differs in the last bit.
        added = (frame - middle) * percent / 100.0
        yield to_bytes(share * value.add(added).clamp_(0.0, 1.0))


def snow(images: torch.Tensor, parameters: Parameters, n_frames: int, draws: Draws) -> Iterator[torch.Tensor]:
    """Yield images with one layer of flakes, whose trails turn by four degrees a frame; none is clean.

    ``parameters`` is (mean, deviation, zoom and threshold of the flakes, radius and sigma of their trail in
    pixels, share of the image's own colours); H x W normal draws an image.
    """
    mean, deviation, zoom, threshold, radius, sigma, share = parameters
    flakes = clipped_zoom(draws.normal(images.shape[1:3]).mul_(deviation).add_(mean), zoom)
    # 8 bits, because the authors' trails are made of a PNG.
    levels = flakes.masked_fill_(flakes < threshold, 0.0).clamp_(0.0, 1.0).mul_(255.0).float().trunc_()
    pale = whitened(images, share).double()
    for frame in range(n_frames):
        angles = torch.full((len(images),), frame * 4.0 - 150.0, dtype=torch.float64)
        trails = divide(motion_blur_layer(levels, radius, sigma, angles).double(), 255.0)
        fallen = pale + trails.unsqueeze(-1)
        yield to_bytes(fallen.add_(trails.flip(1, 2).unsqueeze(-1)))


def spatter(
    images: torch.Tensor, parameters: Parameters, n_frames: int, draws: Draws
) -> Iterator[torch.Tensor]:
    """Yield images with water that runs down the lens; none is clean.

    Args:
        images: uint8 [N, H, W, 3].
        parameters: Mean, deviation, sigma of the blur in pixels and threshold of the liquid, intensity, then
            the filter that the liquid goes through along each column from frame to frame.
        n_frames: Of the clip.
        draws: H x W normal draws an image.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """
    mean, deviation, sigma, threshold, intensity, *taps = parameters
    opencv = opencv_module()
    liquid = gaussian_filter(draws.normal(images.shape[1:3]).mul_(deviation).add_(mean), sigma)
    liquid.masked_fill_(liquid < threshold, 0.0)
    for _ in range(n_frames):
        yield with_water(images, liquid.clone(), intensity, opencv)
        liquid = _run_down(liquid, taps)


def _run_down(liquid: torch.Tensor, taps: list[float]) -> torch.Tensor:
    """Convolve the columns of ``liquid`` [N, H, W] with ``taps`` as NumPy's mode "same"; nothing comes in."""
    height = liquid.shape[1]
    below = (len(taps) - 1) // 2
    padded = torch.nn.functional.pad(liquid, (0, 0, len(taps) - 1 - below, below))
    return sum(
        (padded[:, start : start + height] * tap for start, tap in enumerate(reversed(taps))),
        start=torch.zeros_like(liquid),
    )
