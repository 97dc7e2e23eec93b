"""Spatter: drops of water or splashes of mud on the lens."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.gaussian import gaussian_filter
from robustbench_safety.corruptions.pixels import divide, to_bytes, to_unit
from robustbench_safety.corruptions.severities import Parameters
from robustbench_safety.errors import MissingDependencyError

__all__ = ["opencv_module", "spatter", "with_water"]

#: RGB, the authors' pale turquoise and mud brown.
_WATER = (175, 238, 238)
_MUD = (63, 42, 20)
#: Makes the light seem to come from one side.
_RELIEF = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))
#: Mud that is thinner than this share is none.
_THINNEST = 0.8


def spatter(images: torch.Tensor, parameters: Parameters, draws: Draws) -> torch.Tensor:
    """Add drops of water, or cover parts with mud.

    Both are made of a field of normal draws, blurred and cut off below a threshold. In float32 from there on,
    as the authors' code is.

    Args:
        images: uint8 [N, H, W, 3].
        parameters: Mean and deviation of the field, sigma of its blur in pixels, threshold; intensity of the
            water, or sigma of the blur of the mud in pixels; 0 for water and 1 for mud.
        draws: H x W normal draws an image.

    Returns:
        Same shape and device.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """
    mean, deviation, sigma, threshold, amount, kind = parameters
    opencv = opencv_module()
    field = draws.normal(images.shape[1:3]).mul_(deviation).add_(mean)
    liquid = gaussian_filter(field, sigma)
    if kind == 0:
        return with_water(images, liquid.masked_fill_(liquid < threshold, 0.0), amount, opencv)
    return _with_mud(images, liquid > threshold, amount)


def with_water(
    images: torch.Tensor, liquid: torch.Tensor, intensity: float, opencv: ModuleType
) -> torch.Tensor:
    """Add water where ``liquid``, float64 [N, H, W], is not 0: uint8 [N, H, W, 3], as ``images``.

    How the drops shine is worked out on the CPU, an image at a time.
    """
    # A slip of the authors that is kept: the rare liquid of 256 levels and more begins again at 0.
    levels = liquid.mul(255.0).to(torch.int32).bitwise_and_(255).to(torch.uint8)
    light = np.stack([_light(one, opencv) for one in levels.cpu().numpy()])
    drops = levels.to(torch.float32).mul_(torch.from_numpy(light).to(levels.device))
    # Without any drop the authors' code divides 0 by 0: that image stays as it is.
    highest = drops.amax((1, 2), keepdim=True)
    drops = drops.div_(highest.masked_fill_(highest == 0, 1.0)).mul_(intensity)
    return to_bytes(to_unit(images, torch.float32).add_(_coloured(drops, _WATER)))


def _light(liquid: NDArray[np.uint8], opencv: ModuleType) -> NDArray[np.float32]:
    """Return how much light the liquid [H, W] throws back, by the distance from its edges: 0 to 255."""
    distance = opencv.distanceTransform(255 - opencv.Canny(liquid, 50, 150), opencv.DIST_L2, 5)
    near = opencv.blur(opencv.threshold(distance, 20, 20, opencv.THRESH_TRUNC)[1], (3, 3))
    even = opencv.equalizeHist(near.astype(np.uint8))
    relief = opencv.blur(opencv.filter2D(even, opencv.CV_8U, np.array(_RELIEF)), (3, 3))
    return np.asarray(relief, dtype=np.float32)


def _with_mud(images: torch.Tensor, liquid: torch.Tensor, sigma: float) -> torch.Tensor:
    """Cover with mud where ``liquid``, bool [N, H, W], is; its edges are blurred by ``sigma`` pixels."""
    mud = gaussian_filter(liquid.double(), sigma).float()
    mud.masked_fill_(mud < _THINNEST, 0.0)
    seen = to_unit(images, torch.float32).mul_((1 - mud).unsqueeze(-1))
    return to_bytes(seen.add_(_coloured(mud, _MUD)))


def _coloured(layer: torch.Tensor, colour: tuple[int, int, int]) -> torch.Tensor:
    """Return ``layer`` [N, H, W] in a colour: [N, H, W, 3]."""
    return layer.unsqueeze(-1) * divide(torch.tensor(colour, dtype=torch.float64), 255.0).to(layer)


def opencv_module() -> ModuleType:
    """Return OpenCV, or say how to install it."""
    # Its edges, distances and histograms are the specification.
    try:
        return importlib.import_module("cv2")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "corruption 'spatter' needs the extra 'corruptions'",
            expected="the package opencv-python-headless, which holds cv2",
            found="not installed",
            fix="uv pip install 'robustbench-safety[corruptions]'; in a checkout: "
            "uv pip install '.[corruptions]'",
        ) from error
