"""C-bar's corruptions against one-image transcriptions, pixel by pixel, that are fed the same draws."""

from __future__ import annotations

from collections.abc import Callable
from math import atan2, ceil, cos, floor, pi, sin, sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.corruptions import CORRUPTIONS_BAR, bar_names, corrupt, corruption_names
from robustbench_safety.corruptions.severities_bar import SEVERITIES_BAR
from robustbench_safety.errors import UnknownNameError
from robustbench_safety.streams import random_stream
from tests.corruptions.reference_bar import WARPS

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
SIDES = {"imagenet": 224, "cifar": 32}


def bytes_of(values: NDArray[np.floating | np.uint8]) -> Image:
    found: Image = np.clip(values, 0, 255).astype(np.uint8)
    return found


def coloured(power: Floats, rng: np.random.Generator) -> Floats:
    side = len(power)
    phases = rng.random((side, side // 2)) * 2 * pi
    phases = np.concatenate((phases, phases[::-1, ::-1]), axis=1)
    spectrum = np.roll(power * np.exp(1j * phases), (side // 2, side // 2), axis=(0, 1))
    noise = np.real(np.fft.ifft2(spectrum))
    found: Floats = noise / np.std(noise)
    return found


def distances(side: int) -> Floats:
    y, x = np.mgrid[:side, :side] - side / 2
    found: Floats = np.hypot(x, y)
    return found


def blue(image: Image, level: float, rng: np.random.Generator) -> Image:
    return bytes_of(image * (coloured(distances(len(image)), rng) > level * 3.0 / 10 - 2.5)[..., None])


def brown(image: Image, level: float, rng: np.random.Generator) -> Image:
    power = 1 / (distances(len(image)) ** 2 + 1)
    noise = np.stack([coloured(power, rng) for _ in range(3)], axis=2)
    return bytes_of(image + level * 64 / 10 * noise)


def cutout(image: Image, level: float, rng: np.random.Generator) -> Image:
    side, out = len(image), image.copy()
    angle = rng.random() * 2 * pi
    scale = max((0.1 + 0.15 * rng.random()) * side, 1)
    count = int(4 * side // scale)
    grid = rng.random((40, 40))[:count, :count] < level / 10
    for y, x in np.ndindex(side, side):
        nx = (cos(angle) * y + sin(angle) * x) / scale
        ny = (-sin(angle) * y + cos(angle) * x) / scale
        if int(nx % 2) == int(ny % 2) and grid[int(nx), int(ny)]:
            out[y, x] = 128
    return out


def wave(image: Image, level: float, rng: np.random.Generator) -> Image:
    first, second, phase, order = rng.random(4)
    magnitude = -pi + 2 * pi * first
    other = -abs(magnitude) + 2 * abs(magnitude) * second
    along, down = (other, magnitude) if order < 0.5 else (magnitude, other)
    y, x = np.mgrid[: len(image), : len(image)]
    noise = np.sin(x * along + y * down + phase * 2 * pi)
    return bytes_of(image + level * 196 / 10 * noise[..., None])


def rings(image: Image, level: float, rng: np.random.Generator) -> Image:
    side = len(image)
    x0, y0, frequency, amplitude, width = rng.random(5) * [side, side, 10, side / 10, side / 10]
    noise = np.zeros((side, side, 1))
    for y, x in np.ndindex(side, side):
        angle = atan2(x - x0, y - y0) * frequency
        noise[y, x] = (sqrt((x - x0) ** 2 + (y - y0) ** 2) + sin(angle) * amplitude) % width / width - 0.5
    return bytes_of(image + level * 128 / 10 * noise)


def plasma(image: Image, level: float, rng: np.random.Generator) -> Image:
    side = len(image)
    time, sharp, scale = rng.random(3) * [6 * pi, 0.5, 0.125 * side] + [0, 0.5, 0.075 * side]
    passes = int(rng.integers(4, 7))
    y, x = np.mgrid[:side, :side] / scale
    i = np.array([1.0, 1.0, 1.0, 0.0])
    for _ in range(passes):
        r = np.stack([np.cos(y * i[0] - i[3] + time / i[1]), np.sin(x * i[0] - i[3] + time / i[1])]) / i[2]
        r = r + np.stack([-r[1], r[0]]) * 0.3
        x, y = x + r[0], y + r[1]
        i = i * np.array([1.93, 1.15, 2.25 - sharp, time * i[1]])
    noise = np.stack([np.sin(x - time), np.sin((x + y + sin(time)) * 0.5), np.sin(y + time)], axis=-1)
    strength = level * 64 / 10
    return bytes_of((1 - strength / 255) * image + strength * noise)


def starlight(side: int, centre: Floats, lengths: Floats, amount: float) -> Floats:
    light = np.zeros((side, side, 1))
    rays = len(lengths)
    for y, x in np.ndindex(side, side):
        down, across = y - centre[0], x - centre[1]
        d = (atan2(across, down) + pi) / (2 * pi) * rays
        i = floor(d)
        f = d - i
        length = lengths[i % rays] + f * (lengths[(i + 1) % rays] - lengths[i % rays])
        g = (length**2 / (down**2 + across**2 + 1e-4)) ** ((100 - amount) / 50)
        light[y, x] = min(max((1 - (f - 0.5) ** 2) * g, 0), 1)
    return light


def stars(image: Image, level: float, rng: np.random.Generator) -> Image:
    side = len(image)
    centres, counts = rng.random((5, 2)) * side, rng.integers(50, 200, 5)
    normal, radius = rng.normal(size=(5, 200)), level * 0.1 / 10 * side
    out = image.astype(np.float64)
    for centre, count, row in zip(centres, counts, normal, strict=True):
        lengths = np.maximum(1, radius + 25 / 100 * radius * row[:count])
        out = out + starlight(side, centre, lengths, 50) * (255 - out)
    return bytes_of(out)


def inverse(image: Image, level: float, rng: np.random.Generator) -> Image:
    side = len(image)
    centre = (0.25 + 0.5 * rng.random(2)) * side
    count = int(rng.integers(50, 200, 1)[0])
    radius = 0.25 * side
    lengths = radius + 25 / 100 * radius * rng.normal(size=200)[:count]
    light = starlight(side, centre, lengths, 100 - level * 65 / 10)
    return bytes_of(255 + light * (image.astype(np.float64) - 255))


TRANSCRIPTIONS: dict[str, Callable[[Image, float, np.random.Generator], Image]] = {
    "blue_noise_sample": blue,
    "brownish_noise": brown,
    "checkerboard_cutout": cutout,
    "cocentric_sine_waves": rings,
    "inverse_sparkles": inverse,
    "plasma_noise": plasma,
    "single_frequency_greyscale": wave,
    "sparkles": stars,
    **WARPS,
}
CELLS = [(name, variant, s) for name, rows in SEVERITIES_BAR.items() for variant in rows for s in (1, 3, 5)]


@pytest.mark.parametrize(("name", "variant", "severity"), CELLS)
def test_it_equals_the_one_image_transcription_on_the_same_draws(
    photos_of: Callable[[int, int], Image], name: str, variant: str, severity: int
) -> None:
    photos = photos_of(SIDES[variant], ceil(64 / SIDES[variant]))
    found = corrupt(photos, name, severity, seed=5, variant=variant)
    (level,) = SEVERITIES_BAR[name][variant][severity - 1]
    for index, image in enumerate(photos):
        stream = random_stream(5, "corruption", name, severity, f"{index:05d}")
        difference = np.abs(found[index].astype(int) - TRANSCRIPTIONS[name](image, level, stream))
        # The last bit of a sine decides here and there on which side of an edge a pixel lies.
        assert (difference > 1).mean() < 0.001


@pytest.mark.parametrize("name", CORRUPTIONS_BAR)
def test_batch_size_and_order_do_not_matter(photos: Image, name: str) -> None:
    variant = "cifar" if name in bar_names("cifar") else "imagenet"
    images = photos if variant == "cifar" else np.tile(photos[:2], (1, 7, 7, 1))
    ids = [f"{index}" for index in range(len(images))]
    whole = corrupt(images, name, 3, variant=variant, sample_ids=ids)
    backwards = corrupt(images[::-1], name, 3, variant=variant, sample_ids=ids[::-1])[::-1]
    np.testing.assert_array_equal(backwards, whole)
    alone = corrupt(images[1:2], name, 3, variant=variant, sample_ids=ids[1:2])
    np.testing.assert_array_equal(alone[0], whole[1])
    assert (whole != images).any(axis=(1, 2, 3)).all()


def test_they_are_none_of_the_nineteen_and_exist_where_the_authors_chose_levels(photos: Image) -> None:
    assert SEVERITIES_BAR.keys() == CORRUPTIONS_BAR.keys()
    assert not set(bar_names("cifar")) & set(corruption_names("cifar"))
    assert len(corruption_names("cifar")) == 19
    assert "plasma_noise" in bar_names("imagenet")
    assert "plasma_noise" not in bar_names("cifar")
    assert bar_names("tiny") == ()
    with pytest.raises(UnknownNameError, match="plasma_nois"):
        corrupt(photos, "plasma_noise", 1)


def test_a_higher_severity_of_the_cutout_covers_more(photos: Image) -> None:
    shares = [(corrupt(photos, "checkerboard_cutout", s) == 128).mean() for s in range(1, 6)]
    # Half the squares are of one colour, of which the level covers a tenth to a half.
    assert shares == sorted(shares)
    assert shares[4] == pytest.approx(0.25, abs=0.08)
