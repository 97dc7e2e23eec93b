"""Encoded pictures to pixels, by Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from robustbench_safety.errors import DataError

__all__ = ["DECODER", "IMAGE_ENDINGS", "decode_image", "is_picture"]

#: Library and version that turn stored bytes into pixels: decoders differ by a level here and there.
DECODER = f"pillow {PIL.__version__}"

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"})

# Pillow knows many more, and hands one of them (EPS) to another program.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF")
# 8 bits a channel or less. Pillow would clip 16 bits to white, not scale them.
_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
#: No published set has a larger picture; a file that claims one is damaged or hostile. Pillow itself warns
#: from 89 million pixels on.
_LARGEST_PICTURE = 80_000_000


def is_picture(name: str) -> bool:
    """Tell a picture by its ending, in any case; ``._`` files that a Mac leaves behind are none."""
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_ENDINGS


def decode_image(stored: bytes | memoryview, path: Path) -> NDArray[np.uint8]:
    """Decode one picture: uint8 [H, W, 3].

    Grey is repeated, palettes are looked up, CMYK is converted and transparency dropped, as in torchvision.

    Args:
        stored: The encoded file.
        path: Where it lies; for the error.

    Raises:
        DataError: It is damaged, of another format, too large, or has more than 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(stored), formats=_FORMATS) as image:
            if image.width * image.height > _LARGEST_PICTURE:
                raise _refused(path, f"at most {_LARGEST_PICTURE:,} pixels", f"{image.width}x{image.height}")
            if image.mode not in _MODES:
                raise _refused(path, "8 bits a channel", f"mode {image.mode}")
            if image.mode == "P" and "transparency" in image.info:
                # The way Pillow asks for; the colours are the same.
                return np.asarray(image.convert("RGBA").convert("RGB"))
            return np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise _refused(path, f"at most {_LARGEST_PICTURE:,} pixels", str(error)) from error
    except UnidentifiedImageError as error:
        # Its text is the name of an object in memory.
        found = f"{len(stored):,} bytes of no format that is read ({', '.join(_FORMATS)})"
        raise _refused(path, "a whole picture", found) from error
    # Pillow's plugins raise all of these on damaged files.
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        EOFError,
        OverflowError,
    ) as error:
        raise _refused(path, "a whole picture", f"{len(stored)} bytes: {error}") from error


def _refused(path: Path, expected: str, found: str) -> DataError:
    return DataError(
        f"{path} cannot be decoded",
        expected=expected,
        found=found,
        fix="unpack it from the published archive again",
    )
