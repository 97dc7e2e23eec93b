"""Encoded pictures of every kind become RGB, or an error that names the file."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.data.pictures import decode_image
from robustbench_safety.errors import DataError

PATH = Path("folder/picture.jpg")
PIXELS = np.random.default_rng(0).integers(0, 256, size=(10, 14, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(stored: bytes) -> NDArray[np.uint8]:
    pixels = decode_image(stored, PATH)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    return pixels


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_a_lossless_picture_gives_its_pixels(kind: str) -> None:
    assert np.array_equal(decoded(encoded(Image.fromarray(PIXELS), kind)), PIXELS)
    assert np.array_equal(decode_image(memoryview(encoded(Image.fromarray(PIXELS), kind)), PATH), PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_lossy_picture_gives_what_pillow_gives(kind: str) -> None:
    stored = encoded(Image.fromarray(PIXELS), kind)
    assert np.array_equal(decoded(stored), np.asarray(Image.open(io.BytesIO(stored)).convert("RGB")))


def test_a_grey_picture_has_three_equal_channels() -> None:
    grey = PIXELS[:, :, 0]
    found = decoded(encoded(Image.fromarray(grey), "PNG"))
    assert np.array_equal(found, np.repeat(grey[:, :, None], 3, axis=2))


def test_black_and_white_becomes_0_and_255() -> None:
    found = decoded(encoded(Image.fromarray(PIXELS[:, :, 0] > 127), "PNG"))
    assert set(np.unique(found).tolist()) == {0, 255}


def test_transparency_is_dropped_and_not_blended() -> None:
    alpha = np.dstack([PIXELS, np.zeros(PIXELS.shape[:2], np.uint8)])
    assert np.array_equal(decoded(encoded(Image.fromarray(alpha), "PNG")), PIXELS)
    grey_alpha = np.ascontiguousarray(alpha[:, :, [0, 3]])
    assert np.array_equal(
        decoded(encoded(Image.fromarray(grey_alpha, "LA"), "PNG"))[:, :, 1], PIXELS[:, :, 0]
    )


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(16))])
def test_a_palette_is_looked_up_without_a_warning(transparency: int | bytes | None) -> None:
    colours = np.random.default_rng(1).integers(0, 256, size=(16, 3), dtype=np.uint8)
    indices = PIXELS[:, :, 0] % 16
    image = Image.fromarray(indices)
    image = image.convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(colours.ravel().tolist())
    options = {} if transparency is None else {"transparency": transparency}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(decoded(encoded(image, "PNG", **options)), colours[indices])


def test_cmyk_is_converted_to_rgb() -> None:
    stored = encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG", quality=100)
    np.testing.assert_allclose(decoded(stored)[0, 0], [255, 0, 0], atol=3)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_than_8_bits_a_channel_are_refused_and_not_clipped(mode: str) -> None:
    image = Image.new(mode, (4, 4), 1000)
    with pytest.raises(DataError, match="expected 8 bits a channel; found mode"):
        decoded(encoded(image, "TIFF"))


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"not a picture",
        b"\xff\xd8\xff",
        encoded(Image.fromarray(PIXELS), "JPEG")[:200],
        encoded(Image.fromarray(PIXELS), "PNG")[:200],
        encoded(Image.fromarray(PIXELS), "PNG").replace(b"IDAT", b"IDAX"),
        encoded(Image.fromarray(PIXELS), "BMP")[:60],
        encoded(Image.fromarray(PIXELS), "TIFF")[:100],
        encoded(Image.fromarray(PIXELS), "WEBP")[:60],
        encoded(Image.fromarray(PIXELS), "PPM")[:60],
    ],
)
def test_a_damaged_picture_is_named_with_its_size(stored: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of TIFF files first
        with pytest.raises(DataError) as raised:
            decoded(stored)
    message = str(raised.value)
    assert message.startswith("folder/picture.jpg cannot be decoded; expected a whole picture; found")
    assert f"{len(stored)} bytes" in message
    assert "object at 0x" not in message
    assert message.endswith("unpack it from the published archive again")


def test_a_jpeg_cut_short_is_refused_and_not_filled_with_grey() -> None:
    big = np.random.default_rng(0).integers(0, 256, size=(200, 200, 3), dtype=np.uint8)
    stored = encoded(Image.fromarray(big), "JPEG")
    with pytest.raises(DataError, match="truncated"):
        decoded(stored[: len(stored) // 2])


@pytest.mark.parametrize("place", range(8, 60))
def test_a_picture_with_any_damaged_byte_gives_pixels_or_our_error(place: int) -> None:
    for kind in ("PNG", "JPEG", "TIFF", "BMP"):
        stored = bytearray(encoded(Image.fromarray(PIXELS), kind))
        stored[place] ^= 0xFF
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what counts is how it ends
            try:
                decoded(bytes(stored))
            except DataError:
                continue


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT" + zlib.compress(b"")
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk
        + struct.pack(">I", len(data) - 4)
        + data
        + struct.pack(">I", zlib.crc32(data))
    )


@pytest.mark.parametrize("side", [9_000, 12_000, 100_000])
def test_a_file_that_claims_a_huge_picture_is_refused_before_memory_is_taken(side: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(DataError, match="expected at most 80,000,000 pixels"):
            decoded(png_header(side, side))


def test_a_picture_of_a_format_that_runs_another_program_is_not_opened() -> None:
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) print\n%%EOF\n"
    with pytest.raises(DataError, match=r"bytes of no format that is read \(JPEG, PNG"):
        decoded(eps)


@pytest.mark.realdata
def test_every_real_photograph_decodes_without_a_warning(real_data: Path) -> None:
    photographs = sorted((real_data / "imagenet-sample").rglob("*.JPEG"))[::20]
    assert len(photographs) == 20
    for path in photographs:
        found = decode_image(path.read_bytes(), path)
        with Image.open(path) as image:
            assert np.array_equal(found, np.asarray(image.convert("RGB")))
