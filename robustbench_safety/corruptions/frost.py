"""Frost: a picture of ice laid over the image.

The pictures are a dataset of their own, ``frost-textures``: they are fetched once and never shipped.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.corruptions.draws import Draws
from robustbench_safety.corruptions.severities import Parameters
from robustbench_safety.errors import DataError
from robustbench_safety.files import default_data_root, read_bytes

__all__ = ["DATASET", "TEXTURES", "frost", "load_texture", "scaled"]

#: Name of the manifest, and of the folder below the data root.
DATASET = "frost-textures"
#: sha256 of each picture, in the order of the authors' list: other pictures would make another corruption.
TEXTURES: Mapping[str, str] = {
    "frost1.png": "ff9f907860bd7a835d459e32f9d588062b7f61ee267343cc7222b56753a14755",
    "frost2.png": "fe211a89b336999c207a852ce05818d4545d0b57c5beadd824b4cc9d9a9b6137",
    "frost3.png": "2d0d50b4a9bb213f38b024ef7768731bb83cc08d2f26b5766bbc167cdfa0e504",
    "frost4.jpg": "3f8b91ca1a9fa7167b09e773da53f5ae60d0a1fd88f02a783f6e328a72887f6e",
    "frost5.jpg": "5fc6a19df4a429ba68abdcc8f8a4278d4c9f81c9ccafd2c92ab0c8cf8992ebd2",
    "frost6.jpg": "1f92b2f48408748085b68dd81d816ef239f42cef3029c25d041fcb6760fb4f25",
}
#: A slip of the authors that is kept, because the published files hold it: the index is drawn from five, so
#: that the sixth picture is never used.
_USED = tuple(TEXTURES)[:5]
#: The largest of them has 1.2 MB.
_LARGEST_FILE = 2**24
#: OpenCV's weights of a bilinear resize are whole 2048ths.
_ONE = 2048


class _Packed(NamedTuple):
    """The pictures one after another."""

    values: torch.Tensor
    """uint8 [V]: the values of all pictures, each in the order height, width, RGB."""
    starts: torch.Tensor
    """int64 [5]: where in ``values`` each begins."""
    heights: torch.Tensor
    """int64 [5], in pixels."""
    widths: torch.Tensor
    """int64 [5], in pixels."""


def frost(
    images: torch.Tensor, parameters: Parameters, draws: Draws, *, textures: Path | None = None
) -> torch.Tensor:
    """Add a crop of a picture of ice to the image.

    Args:
        images: uint8 [N, H, W, 3].
        parameters: Weight of the image, weight of the ice, scale of the picture of ice.
        draws: Three an image: picture, first row, first column.
        textures: Folder of the pictures; None for the one below the default data root.

    Returns:
        Same shape and device.

    Raises:
        DataError: The pictures are missing, or others; says what to fetch.
    """
    weight, ice_weight, scale = parameters
    folder = default_data_root() / DATASET if textures is None else textures
    packed = _packed(folder.absolute(), scale, images.device)
    ice = _crops(packed, images.shape[1], images.shape[2], draws)
    # In grey levels, as in the authors' code: no division by 255 comes before the truncation.
    mixed = images.double().mul_(weight).add_(ice.double().mul_(ice_weight))
    return mixed.clamp_(0.0, 255.0).to(torch.uint8)


def _crops(packed: _Packed, height: int, width: int, draws: Draws) -> torch.Tensor:
    """Return a random crop of a random picture for each image: uint8 [N, H, W, 3]."""
    share = draws.random((3,))
    picture = _below(share[:, 0], torch.full_like(share[:, 0], len(_USED)))
    widths = packed.widths[picture]
    # A slip of the authors that is kept: the last row and the last column of places are never drawn.
    top = _below(share[:, 1], packed.heights[picture] - height)
    left = _below(share[:, 2], widths - width)
    rows = top[:, None] + torch.arange(height, device=top.device)
    first = packed.starts[picture][:, None] + 3 * (rows * widths[:, None] + left[:, None])
    return packed.values.unfold(0, 3 * width, 1)[first].view(-1, height, width, 3)


def _below(share: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Turn draws from [0, 1) into whole numbers from 0 to ``limit`` - 1."""
    return (share * limit).long()


@functools.cache
def _packed(folder: Path, scale: float, device: torch.device) -> _Packed:
    pictures = [scaled(load_texture(folder, name), scale) for name in _USED]
    sizes = torch.tensor([picture.shape for picture in pictures], device=device)
    counts = sizes.prod(1)
    values = torch.from_numpy(np.concatenate([picture.ravel() for picture in pictures])).to(device)
    return _Packed(values, counts.cumsum(0) - counts, heights=sizes[:, 0], widths=sizes[:, 1])


def load_texture(folder: Path, name: str) -> NDArray[np.uint8]:
    """Read one of ``TEXTURES``: uint8 [H, W, 3], RGB.

    Raises:
        DataError: It is missing, or another picture.
    """
    path = folder / name
    expected, fix = f"sha256 {TEXTURES[name]}", f"get it with `rbs data fetch {DATASET}`"
    if not path.is_file():
        raise DataError(f"frost needs the picture {path}", expected=expected, found="no such file", fix=fix)
    content = read_bytes(path, largest=_LARGEST_FILE)
    found = hashlib.sha256(content).hexdigest()
    if found != TEXTURES[name]:
        raise DataError(
            f"{path} is not the picture that frost is made with", expected=expected, found=f"sha256 {found}",
            fix=f"remove it and {fix}")  # fmt: skip
    with Image.open(io.BytesIO(content)) as picture:
        # Transparency is dropped, not applied, as OpenCV does.
        return np.asarray(picture.convert("RGB"))


def scaled(picture: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Resize by ``scale`` as ``cv2.resize(picture, (0, 0), fx=scale, fy=scale)`` does, to the bit.

    Bilinear without a filter against aliasing, in OpenCV's whole numbers: weights in 2048ths, four bits of
    the sum along the row and then sixteen of each product dropped, two rounded.
    """
    if scale == 1:
        return picture
    left, right, left_weight, right_weight = _neighbours(picture.shape[1], scale)
    upper, lower, upper_weight, lower_weight = _neighbours(picture.shape[0], scale)
    levels = picture.astype(np.int64)
    along = (levels[:, left] * left_weight[:, None] + levels[:, right] * right_weight[:, None]) >> 4
    above = (along[upper] * upper_weight[:, None, None]) >> 16
    below = (along[lower] * lower_weight[:, None, None]) >> 16
    return ((above + below + 2) >> 2).astype(np.uint8)


def _neighbours(
    length: int, scale: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return for each place of the resized side its two sources and their weights in 2048ths."""
    places = (np.arange(round(length * scale)) + 0.5) / scale - 0.5
    first = np.floor(places).astype(np.int64)
    share = np.where((first < 0) | (first >= length - 1), 0.0, places - first)
    weights = [np.rint((weight * _ONE).astype(np.float32)).astype(np.int64) for weight in (1 - share, share)]
    first = first.clip(0, length - 1)
    return first, (first + 1).clip(max=length - 1), weights[0], weights[1]
