"""One image at a time, in the words of the authors' code: what the batched functions are held against.

Every function takes an image uint8 [H, W, 3], the parameters of a severity and a NumPy generator, draws in
the order of the authors' code, and returns uint8 of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special, stats

__all__ = [
    "Image",
    "Inverted",
    "elastic",
    "gaussian",
    "impulse",
    "impulse_inverted",
    "shot",
    "speckle",
    "warp_as_installed",
]

Image = NDArray[np.uint8]
Floats = NDArray[Any]
Draws = Union[np.random.Generator, "Inverted"]


def _bytes(values: Floats) -> Image:
    found: Image = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    return found


class Inverted:
    """Draws that the authors' code asks NumPy for, made of uniform ones by the inverse of each law.

    Two 31-bit draws of every 64 bits, lower half first: the order that the engine draws in.
    """

    def __init__(self, stream: np.random.Generator) -> None:
        self._bits = stream.bit_generator

    def uniform(self, size: tuple[int, ...]) -> Floats:
        n = int(np.prod(size))
        halves = [half for raw in self._bits.random_raw((n + 1) // 2) for half in (raw % 2**32, raw >> 32)]
        whole = np.array(halves[:n], dtype=np.uint64) // 2
        return ((whole + 0.5) / 2.0**31).reshape(size)

    def normal(self, *, size: tuple[int, ...], scale: float) -> Floats:
        return scale * special.ndtri(self.uniform(size))

    def poisson(self, rate: Floats) -> Floats:
        return np.asarray(stats.poisson.ppf(self.uniform(rate.shape), rate))


def gaussian(image: Image, parameters: tuple[float, ...], rng: Draws) -> Image:
    (sigma,) = parameters
    return _bytes(image / 255.0 + rng.normal(size=image.shape, scale=sigma))


def shot(image: Image, parameters: tuple[float, ...], rng: Draws) -> Image:
    (photons,) = parameters
    return _bytes(rng.poisson(image / 255.0 * photons) / float(photons))


def impulse_inverted(image: Image, parameters: tuple[float, ...], rng: Inverted) -> Image:
    """Salt, pepper and what is left alone, in this order along the uniform draw."""
    (share,) = parameters
    drawn, out = rng.uniform(image.shape), image.copy()
    out[drawn < share] = 0
    out[drawn < share / 2] = 255
    return out


def impulse(image: Image, parameters: tuple[float, ...], rng: np.random.Generator) -> Image:
    """The "s&p" mode of scikit-image's ``random_noise``."""
    (share,) = parameters
    out = image / 255.0
    hit = rng.random(image.shape) <= share
    salt = rng.random(image.shape) <= 0.5
    out[hit & salt] = 1
    out[hit & ~salt] = 0
    return _bytes(out)


def speckle(image: Image, parameters: tuple[float, ...], rng: Draws) -> Image:
    (sigma,) = parameters
    x = image / 255.0
    return _bytes(x + x * rng.normal(size=x.shape, scale=sigma))


def warp(x: Floats, matrix: Floats) -> Floats:
    """``cv2.warpAffine`` as it was up to version 4, reflect-101: places in 32nds of a pixel.

    Equal to OpenCV 3.4.18 and 4.10.0 to 5e-5 grey levels on photographs of 224 pixels.
    """
    height, width = x.shape[:2]
    inverse = cv2.invertAffineTransform(matrix)
    along = np.rint(inverse[:, :1] * np.arange(width) * 1024)[:, None, :]
    start = np.rint((inverse[:, 1:2] * np.arange(height) + inverse[:, 2:]) * 1024)[:, :, None]
    column, row = np.floor((start + along + 16) / 32) / 32
    return np.stack(
        [ndimage.map_coordinates(x[..., c], [row, column], order=1, mode="mirror") for c in range(3)], axis=-1
    )


def warp_as_installed(x: Floats, matrix: Floats) -> Floats:
    return cv2.warpAffine(x, matrix, x.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)


def elastic(
    image: Image,
    parameters: tuple[float, ...],
    rng: np.random.Generator,
    warp: Callable[[Floats, Floats], Floats] = warp,
) -> Image:
    """An affine map, then SciPy's interpolation at places moved by smoothed noise."""
    alpha, sigma, jitter = parameters
    x = image.astype(np.float32) / np.float32(255)
    shape = np.array(x.shape[:2], dtype=np.float32)
    centre, reach = shape // 2, min(x.shape[:2]) // 3
    corners = np.array(
        [centre + reach, [centre[0] + reach, centre[1] - reach], centre - reach], dtype=np.float32
    )
    moved = corners + rng.uniform(-jitter, jitter, size=(3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(corners, moved)
    x = warp(x, matrix)
    fields = [
        ndimage.gaussian_filter(rng.uniform(-1, 1, size=x.shape[:2]), sigma, mode="reflect", truncate=3)
        * alpha
        for _ in range(2)
    ]
    across, down = (field.astype(np.float32)[..., None] for field in fields)
    columns, rows, channels = np.meshgrid(np.arange(x.shape[1]), np.arange(x.shape[0]), np.arange(3))
    places = np.stack([(rows + down).ravel(), (columns + across).ravel(), channels.ravel()])
    found = ndimage.map_coordinates(x, places, order=1, mode="reflect").reshape(x.shape)
    return _bytes(found)
