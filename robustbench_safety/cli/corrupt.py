"""What ``rbs corrupt`` does: a contact sheet of one photograph, as in the figure of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from robustbench_safety import corruptions
from robustbench_safety.cli.screen import messages, screen
from robustbench_safety.corruptions.checks import checked_name
from robustbench_safety.corruptions.severities import SIDES
from robustbench_safety.data import DataRoot, load_manifest
from robustbench_safety.data.pictures import decode_image
from robustbench_safety.data.source_sizes import sized
from robustbench_safety.errors import DataError, MissingDependencyError, UnknownNameError, UsageError
from robustbench_safety.files import atomic_path, read_bytes

__all__ = ["contact_sheet", "corrupt_image"]

_SEVERITIES = (1, 2, 3, 4, 5)
#: Pixels between pictures, and of the letters.
_GAP, _LETTERS = 6, 16
#: A small picture is enlarged to at least this side, by a whole factor and without smoothing.
_LEAST_SIDE = 96
_LARGEST_FILE = 64 * 2**20
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def corrupt_image(
    image: Path, out: Path, *, names: Sequence[str], variant: str, seed: int, data: DataRoot
) -> None:
    """Write the contact sheet: a row a corruption, the clean photograph and a column a severity."""
    if variant not in SIDES:
        raise UnknownNameError.among("corruption variant", variant, SIDES)
    if out.suffix.lower() not in _FORMATS:
        raise UsageError(f"--out {out}", expected=f"a name that ends in {', '.join(_FORMATS)}")
    if out.resolve() == image.resolve():
        raise UsageError(f"--out {out}", expected="another file than the photograph", found="the photograph")
    usual = corruptions.corruption_names(variant)
    known = (*usual, *corruptions.bar_names(variant))
    for name in names:
        checked_name("corruption", name, known)
    clean = sized(_decoded(image), variant)
    textures = data.folder(load_manifest("frost-textures"))
    rows: dict[str, list[NDArray[np.uint8]]] = {}
    for name in names or usual:
        try:
            rows[name] = [clean, *_corrupted(clean, name, variant, seed, textures)]
        except (DataError, MissingDependencyError) as error:
            # Asked for by name it must be there; a sheet of all goes without, and says what to do.
            if names:
                raise
            messages().print(f"left out: {name}: {error}", markup=False, soft_wrap=True)
    sheet = contact_sheet(rows, ["clean", *(f"severity {level}" for level in _SEVERITIES)])
    with atomic_path(out) as temporary:
        Image.fromarray(sheet).save(temporary, _FORMATS[out.suffix.lower()])
    rows_made = f"{len(rows)} corruption{'' if len(rows) == 1 else 's'}"
    screen().print(f"wrote {out}: {rows_made}, variant {variant}, seed {seed}", markup=False, soft_wrap=True)


def _decoded(image: Path) -> NDArray[np.uint8]:
    try:
        return decode_image(read_bytes(image, largest=_LARGEST_FILE), image)
    except DataError as error:
        # What is advised for a dataset, its archive, helps nobody with a photograph of their own.
        fix = "give a JPEG, PNG, BMP, WebP, PPM or TIFF file of 8 bits a channel"
        raise DataError(error.what, expected=error.expected, found=error.found, fix=fix) from error


def _corrupted(
    clean: NDArray[np.uint8], name: str, variant: str, seed: int, textures: Path
) -> list[NDArray[np.uint8]]:
    return [
        corruptions.corrupt(clean[None], name, level, seed=seed, variant=variant, textures=textures)[0]
        for level in _SEVERITIES
    ]


def contact_sheet(rows: dict[str, list[NDArray[np.uint8]]], heads: Sequence[str]) -> NDArray[np.uint8]:
    """Return pictures of one size in rows, black on white, with a label left of each and over each column.

    Args:
        rows: By label: pictures uint8 [S, S, 3], as many as ``heads``; pixels are shown as they are, small
            pictures enlarged by a whole factor.
        heads: Labels of the columns.

    Returns:
        uint8 [height, width, 3].
    """
    side = next(iter(rows.values()))[0].shape[0]
    factor = -(-_LEAST_SIDE // side)
    shown = side * factor
    font = ImageFont.load_default(size=_LETTERS)
    margin = 2 * _GAP + max(int(font.getlength(_words(name))) for name in rows)
    top = _LETTERS + 3 * _GAP
    step = shown + _GAP
    sheet = Image.new("RGB", (margin + len(heads) * step, top + len(rows) * step), "white")
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((margin + column * step + shown // 2, top // 2), head, "black", font, anchor="mm")
    for row, (name, pictures) in enumerate(rows.items()):
        y = top + row * step
        draw.text((margin - _GAP, y + shown // 2), _words(name), "black", font, anchor="rm")
        for column, picture in enumerate(pictures):
            enlarged = picture.repeat(factor, axis=0).repeat(factor, axis=1)
            sheet.paste(Image.fromarray(enlarged), (margin + column * step, y))
    return np.asarray(sheet)


def _words(name: str) -> str:
    return name.replace("_", " ")
