"""Snow, frost, fog and spatter of one image, in the words of the authors' code: what ours are held against.

Every function takes an image uint8 [H, W, 3], the parameters of a severity and a NumPy generator, draws in
the order of the authors' code, and returns uint8 of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import gaussian

from robustbench_safety.corruptions import corrupt
from robustbench_safety.corruptions.motion import motion_blur_layer
from robustbench_safety.corruptions.severities import SEVERITIES
from robustbench_safety.streams import random_stream

__all__ = [
    "CELLS",
    "Image",
    "differences",
    "fog",
    "frost",
    "mud",
    "plasma",
    "snow",
    "spatter",
    "trail",
    "water",
]

Image = NDArray[np.uint8]
Layer = NDArray[np.float64]
Picture = NDArray[np.float32]
Parameters = tuple[float, ...]

#: Variants and severities to compare at; the inception variant differs from imagenet in its numbers alone.
CELLS = [
    *((variant, severity) for variant in ("cifar", "tiny", "imagenet") for severity in range(1, 6)),
    ("inception", 2),
    ("inception", 5),
]

FROST = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg")


def differences(
    images: Image,
    name: str,
    severity: int,
    variant: str,
    made: Callable[[Image, Parameters, np.random.Generator], Image],
    **options: Any,
) -> NDArray[np.int64]:
    """Return how far ``corrupt`` is from images ``made`` one by one with the same draws: [N, H, W, 3]."""
    found = corrupt(images, name, severity, seed=7, variant=variant, **options)
    parameters = SEVERITIES[name][variant][severity - 1]
    streams = [random_stream(7, "corruption", name, severity, f"{index:05d}") for index in range(len(images))]
    expected = [made(image, parameters, rng) for image, rng in zip(images, streams, strict=True)]
    return np.abs(found.astype(np.int64) - np.stack(expected))


def plasma(side: int, decay: float, rng: np.random.Generator) -> Layer:
    """Point by point, indices taken round the border."""
    height: Layer = np.zeros((side, side))
    step, wibble = side, 100.0
    while step >= 2:
        half, n = step // 2, side // step

        def fill(
            dy: int,
            dx: int,
            around: tuple[tuple[int, int], ...],
            step: int = step,
            n: int = n,
            wibble: float = wibble,
        ) -> None:
            noise = wibble * rng.uniform(-wibble, wibble, (n, n))
            for i in range(n):
                for j in range(n):
                    y, x = i * step + dy, j * step + dx
                    four = [height[(y + a) % side, (x + b) % side] for a, b in around]
                    height[y, x] = sum(four) / 4 + noise[i, j]

        fill(half, half, ((-half, -half), (half, -half), (-half, half), (half, half)))
        fill(0, half, ((half, 0), (-half, 0), (0, -half), (0, half)))
        fill(half, 0, ((0, half), (0, -half), (-half, 0), (half, 0)))
        step, wibble = half, wibble / decay
    height -= height.min()
    return np.asarray(height / height.max())


def zoomed(layer: Layer, factor: float) -> Layer:
    side = len(layer)
    crop = int(np.ceil(side / factor))
    top = (side - crop) // 2
    enlarged = ndimage.zoom(layer[top : top + crop, top : top + crop], (factor, factor), order=1)
    trim = (len(enlarged) - side) // 2
    return np.asarray(enlarged[trim : trim + side, trim : trim + side])


def snow(
    image: Image,
    parameters: Parameters,
    rng: np.random.Generator,
    blurred: Callable[[Image, float, float, float], Image],
) -> Image:
    """The layer of grey levels goes through ``blurred`` with radius, sigma and angle: ImageMagick's part."""
    mean, deviation, zoom, threshold, radius, sigma, share = parameters
    x = np.array(image, dtype=np.float32) / np.float32(255)
    layer = zoomed(rng.normal(size=x.shape[:2], loc=mean, scale=deviation), zoom)
    layer[layer < threshold] = 0
    levels = (np.clip(layer, 0, 1) * 255).astype(np.uint8)
    flakes = blurred(levels, radius, sigma, rng.uniform(-135, -45))[..., np.newaxis] / 255.0
    light = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., np.newaxis] * 1.5 + 0.5
    x = share * x + (1 - share) * np.maximum(x, light)
    return np.asarray(np.clip(x + flakes + np.rot90(flakes, k=2), 0, 1) * 255).astype(np.uint8)


def trail(levels: Image, radius: float, sigma: float, angle: float) -> Image:
    """Our own trail, for where ImageMagick is missing: it has tests of its own."""
    layer = torch.from_numpy(levels[None].astype(np.float32))
    blurred = motion_blur_layer(layer, radius, sigma, torch.tensor([angle], dtype=torch.float64))
    return blurred[0].numpy().astype(np.uint8)


def fog(image: Image, parameters: Parameters, rng: np.random.Generator) -> Image:
    strength, decay, side = parameters
    x = image / 255.0
    brightest = x.max()
    h, w = x.shape[:2]
    x += strength * plasma(int(side), decay, rng)[:h, :w][..., np.newaxis]
    return np.asarray(np.clip(x * brightest / (brightest + strength), 0, 1) * 255).astype(np.uint8)


def frost(image: Image, parameters: Parameters, rng: np.random.Generator, folder: Path) -> Image:
    weight, ice_weight, scale = parameters
    # randint(n) of the authors is a uniform draw times n, without the fraction.
    ice = cv2.imread(str(folder / FROST[int(rng.random() * 5)]))
    assert ice is not None
    if scale != 1:
        ice = cv2.resize(ice, (0, 0), fx=scale, fy=scale)
    h, w = image.shape[:2]
    y, x = int(rng.random() * (ice.shape[0] - h)), int(rng.random() * (ice.shape[1] - w))
    ice = ice[y : y + h, x : x + w][..., [2, 1, 0]]
    return np.asarray(np.clip(weight * image + ice_weight * ice, 0, 255)).astype(np.uint8)


def spatter(image: Image, parameters: Parameters, rng: np.random.Generator) -> Image:
    mean, deviation, sigma, threshold, amount, kind = parameters
    liquid = rng.normal(size=image.shape[:2], loc=mean, scale=deviation)
    liquid = gaussian(liquid, sigma=sigma)  # type: ignore[no-untyped-call]
    liquid[liquid < threshold] = 0
    x = np.array(image, dtype=np.float32) / np.float32(255)
    return water(x, liquid, amount) if kind == 0 else mud(x, liquid, threshold, amount)


def water(x: Picture, liquid: Layer, intensity: float) -> Image:
    levels = (liquid * 255).astype(np.int64).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
    _, distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)
    light = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    light = cv2.filter2D(light, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    grey = levels * cv2.blur(light, (3, 3)).astype(np.float32)
    m: Picture = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGRA), dtype=np.float32)
    m /= np.max(m, axis=(0, 1))
    m *= np.float32(intensity)
    turquoise = [175 / 255.0 * np.ones_like(m[..., :1]), *2 * [238 / 255.0 * np.ones_like(m[..., :1])]]
    colour = cv2.cvtColor(np.concatenate(turquoise, axis=2), cv2.COLOR_BGR2BGRA)
    wet = np.clip(cv2.cvtColor(x, cv2.COLOR_BGR2BGRA) + m * colour, 0, 1)
    return np.asarray(cv2.cvtColor(wet, cv2.COLOR_BGRA2BGR) * 255).astype(np.uint8)


def mud(x: Picture, liquid: Layer, threshold: float, sigma: float) -> Image:
    spots = np.where(liquid > threshold, 1, 0).astype(np.float32)
    m: Picture = gaussian(spots, sigma=sigma)  # type: ignore[no-untyped-call]
    m[m < 0.8] = 0
    brown = np.concatenate([level / 255.0 * np.ones_like(x[..., :1]) for level in (63, 42, 20)], axis=2)
    brown *= m[..., np.newaxis]
    x = x * (1 - m[..., np.newaxis])
    return np.asarray(np.clip(x + brown, 0, 1) * 255).astype(np.uint8)
