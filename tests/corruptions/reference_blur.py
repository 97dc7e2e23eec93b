"""The five blurs as the authors wrote them: one image at a time, with scikit-image, SciPy and OpenCV.

Independent of the code under test. Images are uint8 [S, S, 3]; ``rng`` stands for NumPy's global state.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import filters

Image = NDArray[np.uint8]
Parameters = tuple[float, ...]

#: scikit-image has no types.
gaussian: Any = filters.gaussian


def _bytes(x: NDArray[Any]) -> Image:
    clipped: Image = (np.clip(x, 0, 1) * 255).astype(np.uint8)
    return clipped


def gaussian_blur(image: Image, parameters: Parameters, _rng: np.random.Generator) -> Image:
    x = gaussian(image / 255.0, sigma=parameters[0], channel_axis=-1)
    return _bytes(x)


def defocus_blur(image: Image, parameters: Parameters, _rng: np.random.Generator) -> Image:
    kernel = disk(*parameters)
    x = image / 255.0
    channels = [cv2.filter2D(x[:, :, channel], -1, kernel) for channel in range(3)]
    return _bytes(np.stack(channels, axis=-1))


def disk(radius: float, alias_blur: float) -> NDArray[np.float32]:
    reach, size = (8, 3) if radius <= 8 else (int(radius), 5)
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    aliased = ((x**2 + y**2) <= radius**2).astype(np.float32)
    aliased /= aliased.sum()
    blurred: Any = cv2.GaussianBlur(aliased, ksize=(size, size), sigmaX=alias_blur)
    return np.asarray(blurred, dtype=np.float32)


def glass_blur(image: Image, parameters: Parameters, rng: np.random.Generator) -> Image:
    sigma, distance, passes = parameters[0], int(parameters[1]), int(parameters[2])
    x = (gaussian(image / 255.0, sigma=sigma, channel_axis=-1) * 255).astype(np.uint8)
    side = len(x)
    for _ in range(passes):
        for h in range(side - distance, distance, -1):
            for w in range(side - distance, distance, -1):
                dx, dy = rng.integers(-distance, distance, size=(2,))
                # Views of one array: the first assignment is seen by the second.
                x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]
    return _bytes(gaussian(x / 255.0, sigma=sigma, channel_axis=-1))


def zoom_blur(image: Image, parameters: Parameters, _rng: np.random.Generator) -> Image:
    factors = np.arange(1, *parameters)
    x = (image / 255.0).astype(np.float32)
    total = np.zeros_like(x)
    for factor in factors:
        total += clipped_zoom(x, float(factor))
    return _bytes((x + total) / (len(factors) + 1))


def clipped_zoom(x: NDArray[Any], factor: float) -> NDArray[Any]:
    side = x.shape[0]
    crop = int(np.ceil(side / factor))
    top = (side - crop) // 2
    zoomed = ndimage.zoom(x[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
    trim = (zoomed.shape[0] - side) // 2
    middle: NDArray[Any] = zoomed[trim : trim + side, trim : trim + side]
    return middle


def motion_blur(image: Image, parameters: Parameters, rng: np.random.Generator) -> Image:
    return along_line(image, *parameters, angle=rng.uniform(-45, 45))


def along_line(image: Image, radius: float, sigma: float, *, angle: float) -> Image:
    """ImageMagick's MotionBlurImageChannel in 16 bits, then SetImageDepth(8) of its PNG writer."""
    height, width = image.shape[:2]
    n_taps = 2 * math.ceil(radius) + 1
    kernel = [
        math.exp(-(i * i) / (2 * sigma * sigma)) / (math.sqrt(2 * math.pi) * sigma) for i in range(n_taps)
    ]
    total = sum(kernel)
    x, y = n_taps * math.sin(math.radians(angle)), n_taps * math.cos(math.radians(angle))
    quanta = image.astype(np.float64) * 257
    summed = np.zeros_like(quanta)
    for i in range(n_taps):
        right, down = math.ceil(i * y / math.hypot(x, y) - 0.5), math.ceil(i * x / math.hypot(x, y) - 0.5)
        rows = np.clip(np.arange(height) + down, 0, height - 1)
        columns = np.clip(np.arange(width) + right, 0, width - 1)
        summed += kernel[i] / total * quanta[rows][:, columns]
    blurred: Image = ((summed + 0.5).astype(np.uint16) // 257).astype(np.uint8)
    return blurred
