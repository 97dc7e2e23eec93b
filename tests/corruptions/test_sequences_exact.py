"""Every sequence of every variant against the authors' way, one image at a time, in other libraries.

The numbers are written down here again, from protocols 2.6 and the authors' scripts. Pictures are moved by
Pillow with the matrix of torchvision 0.2 and framed by Pillow and torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.ndimage
import skimage.color
import skimage.filters
import torch
import torchvision.transforms.functional
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from robustbench_safety.corruptions import sequence
from robustbench_safety.streams import random_stream
from tests.corruptions.reference import Inverted

Pixels = NDArray[np.uint8]
#: scikit-image's functions have no types.
gaussian: Callable[..., NDArray[np.float64]] = skimage.filters.gaussian
#: Nor have torchvision's.
resize: Callable[[Image.Image, int], Image.Image] = torchvision.transforms.functional.resize
center_crop: Callable[[Image.Image, int], Image.Image] = torchvision.transforms.functional.center_crop
to_tensor: Callable[[Any], torch.Tensor] = torchvision.transforms.functional.to_tensor

SIDE = {"imagenet": 224, "inception": 299, "tiny": 64, "cifar": 32}
every_variant = pytest.mark.parametrize("variant", SIDE)
#: 299 pixels go the way of 224 here; their numbers are in test_sequence_settings.py.
three_variants = pytest.mark.parametrize("variant", ["imagenet", "tiny", "cifar"])
every_noise = pytest.mark.parametrize(
    ("variant", "difficulty"),
    [("imagenet", 1), ("tiny", 1), ("tiny", 2), ("tiny", 3), ("cifar", 1), ("cifar", 2), ("cifar", 3)],
)


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Two photographs of 640 by 427 pixels."""
    return [Image.fromarray(image) for image in load_sample_images().images]


def start(photograph: Image.Image, variant: str, *, whole: bool) -> Image.Image:
    """The picture that a sequence begins with, not yet cut where the whole of it is moved."""
    if variant == "imagenet":
        return resize(photograph, 256) if whole else center_crop(resize(photograph, 256), 224)
    if variant == "inception":
        small = photograph.resize((320, 280))
        return small if whole else resized_center_crop(small)
    square = center_crop(photograph, 400)
    if variant == "tiny":
        return square.resize((150, 150)) if whole else square.resize((64, 64), Image.Resampling.BILINEAR)
    return square.resize((32, 32), Image.Resampling.BILINEAR)


def resized_center_crop(picture: Image.Image) -> Image.Image:
    """The cut of the 299 pixel images: seven eighths of each side, then squeezed to a square."""
    width, height = picture.size
    w, h = int(width * 0.875), int(height * 0.875)
    left, top = round((width - w) / 2.0), round((height - h) / 2.0)
    cut = picture.crop((left, top, left + w, top + h))
    return cut.resize((299, 299), Image.Resampling.BILINEAR)


def cut(picture: Image.Image, variant: str) -> Pixels:
    if variant == "inception" and picture.size != (299, 299):
        return np.asarray(resized_center_crop(picture))
    if variant == "tiny" and picture.size != (64, 64):
        return np.asarray(resize(picture, 64))
    return np.asarray(center_crop(picture, SIDE[variant]))


def moved(
    picture: Image.Image,
    *,
    angle: float = 0.0,
    right: float = 0.0,
    scale: float = 1.0,
    shear: float = 0.0,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> Image.Image:
    """``affine`` of torchvision 0.2: centre half a pixel off, shear that shortens."""
    cx, cy = picture.size[0] * 0.5 + 0.5, picture.size[1] * 0.5 + 0.5
    a, s = math.radians(angle), math.radians(shear)
    d = math.cos(a + s) * math.cos(a) + math.sin(a + s) * math.sin(a)
    m = [math.cos(a + s), math.sin(a + s), 0.0, -math.sin(a), math.cos(a), 0.0]
    m = [1.0 / scale / d * entry for entry in m]
    m[2] += m[0] * (-cx - right) + m[1] * -cy + cx
    m[5] += m[3] * (-cx - right) + m[4] * -cy + cy
    return picture.transform(picture.size, Image.Transform.AFFINE, m, resample)


def to_uint8(values: NDArray[Any]) -> Pixels:
    """Truncated, as NumPy's conversion does."""
    return np.asarray(np.clip(values, 0, 1) * 255).astype(np.uint8)


def clip_of(name: str, picture: Image.Image, variant: str, difficulty: int = 1) -> Pixels:
    """The engine's frames of one picture."""
    images: Pixels = np.asarray(picture, dtype=np.uint8)[None]
    made: Pixels = sequence(images, name, variant=variant, difficulty=difficulty, seed=4, sample_ids=["a/b"])
    return np.asarray(made[0])


def stream(name: str, difficulty: int = 1) -> np.random.Generator:
    return random_stream(4, "sequence", name, difficulty, "a/b")


def assert_close(found: Pixels, expected: list[Pixels], *, exact: float = 0.0) -> None:
    """Within one level on 99.9 % of the values of every frame, the same on the share ``exact`` of all."""
    assert len(found) == len(expected)
    differences = [np.abs(f.astype(int) - e) for f, e in zip(found, expected, strict=True)]
    for index, difference in enumerate(differences):
        assert (difference <= 1).mean() >= 0.999, f"frame {index}"
    assert np.mean([(difference == 0).mean() for difference in differences]) >= exact


@every_noise
def test_gaussian_noise_is_added_to_the_clean_image(
    photographs: list[Image.Image], variant: str, difficulty: int
) -> None:
    sigma = {
        "imagenet": (0.03, 0.05, 0.08), "tiny": (0.025, 0.05, 0.075),
        "cifar": (0.02, 0.04, 0.06),
    }[variant][difficulty - 1]  # fmt: skip
    picture = start(photographs[0], variant, whole=False)
    clean, rng = to_tensor(picture).permute(1, 2, 0), Inverted(stream("gaussian_noise", difficulty))
    expected = [np.asarray(picture)]
    for _ in range(30):
        # In float32, as the authors' torch code is.
        noise = torch.from_numpy(rng.normal(size=tuple(clean.shape), scale=1.0)).float()
        expected.append(torch.clamp(clean + sigma * noise, 0, 1).mul(255).byte().numpy())
    assert_close(clip_of("gaussian_noise", picture, variant, difficulty), expected, exact=0.9999)


@every_noise
def test_shot_noise_counts_photons(photographs: list[Image.Image], variant: str, difficulty: int) -> None:
    rate = {
        "imagenet": (300, 120, 60), "tiny": (500, 250, 125),
        "cifar": (700, 400, 200),
    }[variant][difficulty - 1]  # fmt: skip
    picture = start(photographs[0], variant, whole=False)
    clean, rng = np.asarray(picture), Inverted(stream("shot_noise", difficulty))
    expected = [clean] + [to_uint8(rng.poisson(clean / 255.0 * rate) / rate) for _ in range(30)]
    assert_close(clip_of("shot_noise", picture, variant, difficulty), expected, exact=1)


@every_noise
def test_speckle_noise_grows_with_the_value(
    photographs: list[Image.Image], variant: str, difficulty: int
) -> None:
    sigma = {
        "imagenet": (0.05, 0.1, 0.15), "tiny": (0.05, 0.1, 0.15),
        "cifar": (0.05, 0.07, 0.1),
    }[variant][difficulty - 1]  # fmt: skip
    picture = start(photographs[0], variant, whole=False)
    clean, rng = np.asarray(picture) / 255.0, Inverted(stream("speckle_noise", difficulty))
    frames = [to_uint8(clean + clean * rng.normal(size=clean.shape, scale=sigma)) for _ in range(30)]
    expected = [np.asarray(picture), *frames]
    assert_close(clip_of("speckle_noise", picture, variant, difficulty), expected, exact=0.99)


@three_variants
def test_brightness_adds_to_the_value_of_scikit_image(photographs: list[Image.Image], variant: str) -> None:
    percent = 1.5 if variant == "cifar" else 2
    picture = start(photographs[1], variant, whole=False)
    expected = []
    for i in range(31):
        hsv = skimage.color.rgb2hsv(np.asarray(picture) / 255.0)
        hsv[:, :, 2] = np.clip(hsv[:, :, 2] + (i - 15) * percent / 100.0, 0, 1)
        expected.append(to_uint8(skimage.color.hsv2rgb(hsv)))
    assert_close(clip_of("brightness", picture, variant), expected, exact=0.99)


@every_variant
def test_translate_shifts_the_whole_picture_and_cuts_then(
    photographs: list[Image.Image], variant: str
) -> None:
    frames, middle = {"imagenet": (41, 20), "inception": (41, 20), "tiny": (31, 15), "cifar": (16, 7)}[
        variant
    ]
    picture = start(photographs[1], variant, whole=on_whole("translate", variant))
    expected = [
        cut(moved(picture, right=i - middle, resample=Image.Resampling.NEAREST), variant)
        for i in range(frames)
    ]
    assert_close(clip_of("translate", picture, variant), expected, exact=1)


MOVES: dict[str, Callable[[Image.Image, int, str], Image.Image]] = {
    "rotate": lambda picture, i, variant: moved(picture, angle=i - 15),
    "scale": lambda picture, i, variant: moved(
        picture, scale=(i * 2 + 70) / 100 if variant == "cifar" else (i * 2.5 + 40) / 100
    ),
    "shear": lambda picture, i, variant: moved(picture, shear=i - 15),
}


def on_whole(name: str, variant: str) -> bool:
    return variant == "imagenet" or (variant == "inception" and name not in {"zoom_blur", "scale"})


@pytest.mark.parametrize(
    ("name", "variant"),
    [("rotate", variant) for variant in SIDE]
    + [(name, variant) for name in ("scale", "shear") for variant in ("inception", "tiny", "cifar")],
)
def test_moved_pictures_are_those_of_pillow(photographs: list[Image.Image], name: str, variant: str) -> None:
    picture = start(photographs[0], variant, whole=on_whole(name, variant))
    expected = [cut(MOVES[name](picture, i, variant), variant) for i in range(31)]
    assert_close(clip_of(name, picture, variant), expected, exact=0.9999)


@three_variants
def test_zoom_blur_is_the_running_mean_of_pillows_zooms(photographs: list[Image.Image], variant: str) -> None:
    picture = start(photographs[1], variant, whole=variant == "imagenet")
    mean = to_tensor(cut(picture, variant).copy())
    expected = [cut(picture, variant)]
    for i in range(1, 31):
        mean += to_tensor(cut(moved(picture, scale=1 + 0.004 * i), variant).copy())
        expected.append((mean / (i + 1)).mul(255).byte().permute(1, 2, 0).numpy())
    assert_close(clip_of("zoom_blur", picture, variant), expected, exact=0.9999)


@three_variants
def test_gaussian_blur_is_that_of_scikit_image(photographs: list[Image.Image], variant: str) -> None:
    first, more, truncate = {
        "imagenet": (0.25, 0.035, 6), "tiny": (0.35, 0.014, 7),
        "cifar": (0.3, 0.015, 7),
    }[variant]  # fmt: skip
    picture = start(photographs[0], variant, whole=False)
    expected = [
        to_uint8(
            gaussian(np.asarray(picture) / 255.0, sigma=first + more * i, truncate=truncate, channel_axis=-1)
        )
        for i in range(31)
    ]
    assert_close(clip_of("gaussian_blur", picture, variant), expected, exact=0.99)


def tilted(x: Pixels, angle: float) -> tuple[NDArray[np.float64], Pixels]:
    """The authors' perspective, and the picture by the fixed-point tables of OpenCV 3."""
    h, w = x.shape[:2]
    f, c, s = np.sqrt(w**2 + h**2), np.cos(angle), np.sin(angle)
    p1 = np.array([[1, 0, -w / 2], [0, 1, -h / 2], [0, 0, 1], [0, 0, 1]])
    rx = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
    ry = np.array([[c, 0, -s, 0], [0, 1, 0, 0], [s, 0, c, 0], [0, 0, 0, 1]])
    t = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, f], [0, 0, 0, 1]])
    p2 = np.array([[f, 0, w / 2, 0], [0, f, h / 2, 0], [0, 0, 1, 0]])
    matrix = p2 @ t @ rx @ ry @ p1
    _, inverse = cv2.invert(matrix)
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h)), axis=-1).astype(np.float64)
    places = cv2.perspectiveTransform(grid, inverse)
    fixed = np.rint(places * 32).astype(int)
    whole = (fixed >> 5).astype(np.int16)
    part = ((fixed[..., 1] & 31) * 32 + (fixed[..., 0] & 31)).astype(np.uint16)
    old = cv2.remap(x, whole, part, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return matrix, np.asarray(old, dtype=np.uint8)


@three_variants
def test_tilt_is_the_perspective_of_opencv(photographs: list[Image.Image], variant: str) -> None:
    degrees = 0.75 if variant == "cifar" else 1
    picture = start(photographs[0], variant, whole=on_whole("tilt", variant))
    found = clip_of("tilt", picture, variant)
    expected, installed = [], []
    for i in range(31):
        matrix, old = tilted(np.asarray(picture), np.deg2rad(degrees * (i - 15)))
        expected.append(cut(Image.fromarray(old), variant))
        new = cv2.warpPerspective(np.asarray(picture), matrix, picture.size)
        installed.append(cut(Image.fromarray(new), variant))
    assert_close(found, expected, exact=0.9999)
    # OpenCV 5 no longer rounds positions to 1/32 of a pixel: the same picture, other last levels.
    difference = np.abs(found.astype(int) - np.stack(installed))
    assert difference.mean() < 0.5
    assert difference.max() <= 8


def blurred_along(x: NDArray[np.float64], radius: float, sigma: float, angle: float) -> Pixels:
    """ImageMagick's motion blur of one picture, term by term: see ``MotionBlurImage``."""
    width = 2 * math.ceil(radius) + 1
    kernel = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    down, right = width * math.sin(math.radians(angle)), width * math.cos(math.radians(angle))
    rows, columns = np.mgrid[: x.shape[0], : x.shape[1]]
    total = np.zeros(x.shape)
    for i, weight in enumerate(kernel):
        dy = math.ceil(i * down / math.hypot(down, right) - 0.5)
        dx = math.ceil(i * right / math.hypot(down, right) - 0.5)
        total += weight * x[(rows + dy).clip(0, x.shape[0] - 1), (columns + dx).clip(0, x.shape[1] - 1)]
    # Rounded to 16 bits, of which the PNG keeps the upper 8.
    return (np.floor(total * 257 + 0.5) // 257).astype(np.uint8)


@three_variants
def test_motion_blur_is_that_of_imagemagick_along_a_turning_line(
    photographs: list[Image.Image], variant: str
) -> None:
    radius, sigma, frames, degrees = {
        "imagenet": (10, 3, 31, 4), "tiny": (14, 3, 31, 5), "cifar": (6, 1.8, 21, 9),
    }[variant]  # fmt: skip
    picture = start(photographs[0], variant, whole=variant == "tiny")
    found = clip_of("motion_blur", picture, variant)
    x = np.asarray(picture).astype(np.float64)
    angles = [(i - (frames - 1)) * degrees for i in range(frames)]
    expected = [cut(Image.fromarray(blurred_along(x, radius, sigma, a)), variant) for a in angles]
    assert_close(found, expected, exact=0.99)


@three_variants
def test_snow_is_one_layer_whose_trails_turn(photographs: list[Image.Image], variant: str) -> None:
    deviation, zoom, radius, sigma = {
        "imagenet": (0.3, 3, 14, 4), "tiny": (0.28, 2, 10, 2.5), "cifar": (0.3, 2, 10, 2),
    }[variant]  # fmt: skip
    picture = start(photographs[0], variant, whole=False)
    x, side = np.asarray(picture) / 255.0, SIDE[variant]
    layer = stream("snow").normal(size=(side, side), loc=0.05, scale=deviation)
    crop = math.ceil(side / zoom)
    top = (side - crop) // 2
    layer = scipy.ndimage.zoom(layer[top : top + crop, top : top + crop], zoom, order=1)
    trim = (len(layer) - side) // 2
    layer = layer[trim : trim + side, trim : trim + side].copy()
    layer[layer < 0.5] = 0
    flakes = (np.clip(layer, 0, 1) * 255).astype(np.uint8)
    grey = cv2.cvtColor(x.astype(np.float32), cv2.COLOR_RGB2GRAY)[..., None]
    expected = []
    for i in range(31):
        trails = blurred_along(flakes.astype(np.float64), radius, sigma, i * 4 - 150)[..., None] / 255.0
        z = 0.85 * x + (1 - 0.85) * np.maximum(x, grey * 1.5 + 0.5)
        expected.append(to_uint8(z + trails + np.rot90(trails, k=2)))
    assert_close(clip_of("snow", picture, variant), expected, exact=0.99)


@three_variants
def test_spatter_is_water_that_runs_down(photographs: list[Image.Image], variant: str) -> None:
    mean, deviation, sigma, threshold, taps = {
        "imagenet": (0.65, 0.27, 3.7, 0.69, [0.05, 0.1, 0.15, 0.7]),
        "tiny": (0.6, 0.25, 1.75, 0.7, [0.2, 0.8]),
        "cifar": (0.6, 0.265, 1.75, 0.7, [0.2, 0.8]),
    }[variant]
    picture = start(photographs[0], variant, whole=False)
    x = np.asarray(picture, dtype=np.float32) / np.float32(255)
    liquid = stream("spatter").normal(size=x.shape[:2], loc=mean, scale=deviation)
    liquid = gaussian(liquid, sigma=sigma)
    liquid[liquid < threshold] = 0
    expected = []
    for _ in range(31):
        levels = (liquid * 255).astype(np.uint8)
        dist = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
        _, dist = cv2.threshold(dist, 20, 20, cv2.THRESH_TRUNC)
        dist = cv2.equalizeHist(cv2.blur(dist, (3, 3)).astype(np.uint8))
        dist = cv2.filter2D(dist, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
        drops = levels * cv2.blur(dist, (3, 3)).astype(np.float32)
        drops = drops / drops.max() * np.float32(0.6)
        colour = np.array([175, 238, 238], dtype=np.float32) / np.float32(255)
        expected.append(to_uint8(x + drops[..., None] * colour))
        liquid = np.stack([np.convolve(column, taps, mode="same") for column in liquid.T], axis=1)
    assert_close(clip_of("spatter", picture, variant), expected, exact=0.99)
