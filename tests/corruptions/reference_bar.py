"""One-image transcriptions of the corruptions of C-bar that warp, overlay or blur, by SciPy and scikit-image.

Each takes an image [S, S, 3], the level and the image's own stream, and draws in the order of the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, floor, hypot, pi, sin

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, rotate, zoom
from skimage.draw import line_aa

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]


def between(image: NDArray[np.floating | np.uint8], y: float, x: float) -> Floats:
    """Return the value between pixels; 0 outside. Added in the authors' order, as the last bit counts."""
    top, left = floor(y), floor(x)

    def row(at: int) -> Floats:
        pair = (
            image[at, col] if 0 <= at < len(image) and 0 <= col < len(image) else 0
            for col in (left, left + 1)
        )
        first, second = (np.broadcast_to(value, 3).astype(np.float64) for value in pair)
        found: Floats = first * (1.0 - x + left) + second * (1.0 - (left + 1) + x)
        return found

    return row(top) * (1.0 - y + top) + row(top + 1) * (1.0 - (top + 1) + y)


def ripple(image: Image, level: float, rng: np.random.Generator) -> Image:
    side, uniform = len(image), rng.random(4)
    lengths, phases = (0.1 + 0.2 * uniform[:2]) * side, uniform[2:] * 2 * pi
    out = np.empty(image.shape)
    for point in np.ndindex(side, side):
        at = np.array(point)
        y, x = at + level * 0.025 / 10 * side * np.sin(2 * pi * at / lengths + phases)
        out[point] = between(image, y, x)
    return np.clip(out, 0, 255).astype(np.uint8)


def pinch_and_twirl(image: Image, level: float, rng: np.random.Generator) -> Image:
    side = len(image)
    count = 5 if side == 224 else 3
    angles = (1 - 2 * rng.integers(0, 2, (count, count))) * level * (pi / 2) / 10
    amount, size = level * 0.4 / 10 + 0.1, side // count
    radius, out = size / 2, image.astype(np.float32)
    for i, j in np.ndindex(count, count):
        centre_y, centre_x = j * size + radius, i * size + radius
        square = np.empty((size, size, 3))
        for y, x in np.ndindex(size, size):
            at_y, at_x = y + j * size, x + i * size
            dy, dx = at_y - centre_y, at_x - centre_x
            distance = hypot(dy, dx)
            if not (distance > radius or round(distance, 3) == 0):
                d = distance / radius
                t = sin(pi / 2 * d) ** -amount
                a = angles[i, j] * (1 - d) ** 2
                at_y = centre_y + dy * t * cos(a) - dx * t * sin(a)
                at_x = centre_x + dy * t * sin(a) + dx * t * cos(a)
            square[y, x] = between(out, at_y, at_x)
        out[j * size : (j + 1) * size, i * size : (i + 1) * size] = square
    return np.clip(out, 0, 255).astype(np.uint8)


def lines(image: Image, level: float, rng: np.random.Generator) -> Image:
    side, out = len(image), image.copy()
    count = int(level / 10 * side)
    angle, variation, *rest = rng.random(2 + 3 * count)
    variation = 0.1 + 0.9 * variation
    for x, y, turn in np.reshape(rest, (count, 3)):
        a = angle * 2 * pi + 2 * pi * variation * (turn - 0.5)
        s, c = sin(a) * side, cos(a) * side
        x, y = x * side, y * side
        ends = int(x - c), int(y - s), int(x + c), int(y + s)
        found = zip(*line_aa(*ends), strict=True)  # type: ignore[no-untyped-call]
        kept = [(r, q, v) for r, q, v in found if 0 <= r < side and 0 <= q < side]
        if kept:
            rows, columns, value = (np.array(part) for part in zip(*kept, strict=True))
            share = value[:, None]
            # NumPy keeps the last of equal places.
            out[rows, columns] = ((1.0 - share) * out[rows, columns] + share * 128).astype(np.uint8)
    return out


def turned(image: Image, level: float, rng: np.random.Generator) -> Image:
    scaled, out, total = image.astype(np.float32) / 255, np.zeros(image.shape, dtype=np.float32), 0.0
    for i in range(21):
        place = 2 * i / 20 - 1
        factor = np.exp(-2 * place**2)
        out += (factor * rotate(scaled, place * level * 15 / 10, reshape=False)).astype(np.float32)
        total += factor
    found: Image = np.clip(out / total * 255, 0, 255).astype(np.uint8)
    return found


def coloured_zoom(image: Image, level: float, rng: np.random.Generator) -> Image:
    side, out, largest = len(image), image.copy(), level * 0.5 / 10
    scales = np.array([1.0, 1.0 + largest / 2, 1.0 + largest])[np.argsort(rng.random(3))]
    for channel, scale in enumerate(scales):
        zoomed = zoom(image[..., channel], scale, prefilter=False)
        edge = (len(zoomed) - side) // 2
        out[..., channel] = zoomed[edge : edge + side, edge : edge + side]
    return out


def perlin(image: Image, level: float, rng: np.random.Generator) -> Image:
    side = len(image)
    gradients = (rng.integers(0, 512, (256, 2)) - 256) / 256
    gradients = np.array([g / np.linalg.norm(g) if g.any() else g for g in gradients])
    gradients = np.concatenate((gradients, gradients))
    partners, p = rng.integers(0, 256, 256), np.arange(256)
    for entry, partner in zip(range(255, -1, -1), partners, strict=True):
        p[entry], p[partner] = p[partner], p[entry]
    p = np.concatenate((p, p))

    def noise(x: Floats, y: Floats) -> Floats:
        bx, by, rx, ry = x.astype(int) % 256, y.astype(int) % 256, x % 1, y % 1
        sx, sy = rx**2 * (3 - 2 * rx), ry**2 * (3 - 2 * ry)

        def dot(right: int, below: int) -> Floats:
            g = gradients[p[p[(bx + right) % 256] + (by + below) % 256]]
            found: Floats = (rx - right) * g[..., 0] + (ry - below) * g[..., 1]
            return found

        a = dot(0, 0) + sx * (dot(1, 0) - dot(0, 0))
        b = dot(0, 1) + sx * (dot(1, 1) - dot(0, 1))
        found: Floats = 1.5 * (a + sy * (b - a))
        return found

    x, y = np.mgrid[:side, :side] / (32 * side / 224)
    total = sum(np.abs(noise(f * x + 4096, f * y + 4096)) / f for f in (1, 2, 4, 8, 16))
    alpha = level * 0.5 / 10
    marble = np.clip(0.5 * np.asarray(total) + 0.5, 0, 1)[..., None]
    return np.clip((1 - alpha) * image.astype(np.float32) + 255 * alpha * marble, 0, 255).astype(np.uint8)


def caustic(image: Image, level: float, rng: np.random.Generator) -> Image:
    side, uniform = len(image), rng.random(2)
    time, size = 0.5 + 1.5 * uniform[0], (0.75 + 0.5 * uniform[1]) * side
    p = (np.mgrid[:side, :side] / size % 1) * 6.28318530718 - 250
    i, c, inten = p.copy(), np.ones((side, side)), 0.005
    for n in range(5):
        t = time * (1.0 - (3.5 / (n + 1)))
        i = p + np.stack((np.cos(t - i[0]) + np.sin(t + i[1]), np.sin(t - i[1]) + np.cos(t + i[0])))
        c += 1 / np.sqrt((p[0] / (np.sin(i[0] + t) / inten)) ** 2 + (p[1] / (np.cos(i[1] + t) / inten)) ** 2)
    light = gaussian_filter(np.clip(np.abs(1.17 - (c / 5) ** 1.4) ** 8.0, 0, 1), sigma=1)
    framed, scaled = np.pad(light, 1), image.astype(np.float32) / 255
    incident, out = np.array([0.0, 0.0, 1.0]), np.empty(image.shape)
    for y, x in np.ndindex(side, side):
        north, south, west, east = (
            framed[y + 1 + dy, x + 1 + dx] for dy, dx in ((0, -1), (0, 1), (-1, 0), (1, 0))
        )
        normal = np.array([east - west, south - north, 1.0])
        normal = normal / np.linalg.norm(normal)
        ray = incident
        if abs(normal[2]) < 1.0 - 1e-3:
            refracted = np.arcsin(np.sin(np.arccos(normal[2])) / 4.0)
            spectator = np.cross(incident, normal)
            spectator /= np.linalg.norm(spectator)
            axes = np.stack((normal, np.cross(normal, spectator), spectator))
            ray = np.linalg.inv(axes) @ np.array([np.cos(refracted), np.sin(refracted), 0.0])
        shift = np.round(ray * level * 0.5 * side / 10, 3)
        lit = (north - south + east - west) * level * 2 / 10
        out[y, x] = np.clip(between(scaled, y + shift[0], x + shift[1]) + lit, 0, 1)
    return (out * 255).astype(np.uint8)


WARPS: dict[str, Callable[[Image, float, np.random.Generator], Image]] = {
    "caustic_refraction": caustic,
    "circular_motion_blur": turned,
    "lines": lines,
    "perlin_noise": perlin,
    "pinch_and_twirl": pinch_and_twirl,
    "ripple": ripple,
    "transverse_chromatic_abberation": coloured_zoom,
}
