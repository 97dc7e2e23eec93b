"""Small pictures cut from the two photographs that scikit-learn ships: the same on every machine."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

__all__ = ["LANDSCAPE", "corrupted", "encoded", "picture"]

Pixels = NDArray[np.uint8]

LANDSCAPE = (48, 64)
#: Pixels of a photograph that the shorter side of a picture shows; the photographs have 427 x 640.
_SHORTER = 120
#: Pixels kept free around the middles of pictures, so that half a longer side and every shift fit in.
_MARGIN = 104
#: The plastic number's low-discrepancy sequence: no two of 1,000 middles lie close together.
_STEPS = (0.7548776662466927, 0.5698402909980532)


@cache
def _photographs() -> tuple[Image.Image, ...]:
    return tuple(Image.fromarray(photograph) for photograph in load_sample_images().images)


def picture(
    index: int,
    *,
    shake: int = 0,
    seed: int = 0,
    offset: tuple[int, int] = (0, 0),
    size: tuple[int, int] = LANDSCAPE,
) -> Pixels:
    """Return the picture of class ``index``: uint8 [H, W, 3].

    Args:
        index: Tells which photograph, where in it, and whether it is mirrored.
        shake: Pixels of the photograph by which the place may be off, at most 24 with the offset.
        seed: Of the shake.
        offset: Further pixels down and right.
        size: Height and width.
    """
    photograph = _photographs()[index % 2]
    scale = _SHORTER / min(size)
    reach = np.random.default_rng([index, seed]).integers(-shake, shake + 1, size=2)
    middle = [
        _MARGIN + (_STEPS[axis] * index % 1) * (length - 2 * _MARGIN) + reach[axis] + offset[axis]
        for axis, length in enumerate((photograph.height, photograph.width))
    ]
    half = [scale * side / 2 for side in size]
    box = (middle[1] - half[1], middle[0] - half[0], middle[1] + half[1], middle[0] + half[0])
    pixels = np.asarray(photograph.resize((size[1], size[0]), Image.Resampling.BILINEAR, box))
    return pixels if index % 4 < 2 else np.ascontiguousarray(pixels[:, ::-1])


def corrupted(pixels: Pixels, name: str, level: int) -> Pixels:
    """Return the picture noisier or paler, the more so the higher the level; no two names or levels alike."""
    values = pixels.astype(np.float64)
    if "noise" in name:
        draws = np.random.default_rng([level, len(name)])
        values = values + draws.normal(0, 6 * level, size=pixels.shape)
    else:
        values = values + (255 - values) * 0.13 * level
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def encoded(pixels: Pixels, ending: str = "jpg") -> bytes:
    """Return a JPEG file of quality 85, or a PNG file where ``ending`` says so."""
    out = io.BytesIO()
    if ending == "png":
        Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    else:
        Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()
