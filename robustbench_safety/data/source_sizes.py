"""Photographs brought to the size that a set of corruptions was chosen for, before anything else is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.data.base import ArrayReader, FileReader, Indices, Stored
from robustbench_safety.data.transforms import Transform
from robustbench_safety.errors import UsageError
from robustbench_safety.records import Preprocessing

__all__ = ["SizedReader", "sized", "start_of_sequence"]

#: Threads that decode and resize; Pillow works outside Python's lock, and a block has few images.
_THREADS = 4
#: Share of each side that the 299 px images keep.
_CENTRAL = 0.875
#: Shorter side of the photographs that ImageNet-C and ImageNet-P are cut from, in pixels.
_SHORTER = 256


def _to(side: int, *, resize: int | tuple[int, int]) -> Transform:
    return Transform(
        Preprocessing(
            input_size=(side, side),
            resize=resize,
            crop=None if isinstance(resize, tuple) else "center",
            interpolation="bilinear",
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
        ),
        pre_cropped=False,
    )


_TRANSFORMS: Mapping[str, Transform] = {
    "imagenet": _to(224, resize=_SHORTER),
    "inception": _to(299, resize=(299, 299)),
    "tiny": _to(64, resize=(64, 64)),
    "cifar": _to(32, resize=32),
}


def sized(image: NDArray[np.uint8], variant: str) -> NDArray[np.uint8]:
    """Return a picture at the size of ``variant``.

    Args:
        image: uint8 [H, W, 3].
        variant: "imagenet" (shorter side to 256, centre of 224), "inception" (the central 0.875 of each
            side, resized to 299 by 299), "tiny" (resized to 64 by 64 whatever the aspect ratio) or "cifar"
            (shorter side to 32, centre of 32: ours, as CIFAR has its size already).

    Returns:
        uint8 [S, S, 3], bilinear and antialiased by Pillow.

    Source: the size transforms of the authors' ``make_imagenet_c.py``, ``make_imagenet_c_inception.py`` and
    ``make_tinyimagenet_c.py``.
    """
    if variant == "inception":
        height, width = image.shape[:2]
        top, left = int(height * (1 - _CENTRAL) / 2), int(width * (1 - _CENTRAL) / 2)
        image = image[top : height - top, left : width - left]
    return _TRANSFORMS[variant](image)


def start_of_sequence(image: NDArray[np.uint8], variant: str) -> NDArray[np.uint8]:
    """Return what a perturbation sequence of a picture starts from.

    As ``sized``, but for "imagenet" and "inception", whose frames are cut after the picture was moved: the
    shorter side at 256 and nothing cut; the picture as it is.
    """
    if variant == "inception":
        return image
    if variant != "imagenet":
        return sized(image, variant)
    height, width = image.shape[:2]
    shorter = min(height, width)
    size = (int(_SHORTER * width / shorter), int(_SHORTER * height / shorter))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


class SizedReader(ArrayReader):
    """The pictures of a file reader as images of one size.

    Args:
        source: Pictures of any size.
        variant: Whose size.

    Raises:
        UsageError: The source has clips.
    """

    def __init__(self, source: FileReader, variant: str) -> None:
        if source.frames > 1:
            raise UsageError(
                "clips cannot be corrupted", expected="pictures", found=f"{source.frames} frames"
            )
        self._source, self._variant = source, variant
        self.sample_ids = source.sample_ids
        self.labels = source.labels
        self._groups = source.groups
        self.class_sorted = source.class_sorted
        self.decoder = source.decoder

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the encoded pictures."""
        return self._source.stored(indices)

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:
        """Return uint8 [n, S, S, 3]; a damaged file is named."""
        return np.stack(self._pictures(indices, stored, sized))

    def starts(self, indices: Indices, stored: Sequence[Stored]) -> list[NDArray[np.uint8]]:
        """Return what a sequence of each picture starts from: n of uint8 [H, W, 3]."""
        return self._pictures(indices, stored, start_of_sequence)

    def _pictures(
        self,
        indices: Indices,
        stored: Sequence[Stored],
        bring: Callable[[NDArray[np.uint8], str], NDArray[np.uint8]],
    ) -> list[NDArray[np.uint8]]:
        def one(index: np.int64, content: Stored) -> NDArray[np.uint8]:
            return bring(self._source.decode(int(index), content), self._variant)

        if len(indices) == 1:
            return [one(indices[0], stored[0])]
        with ThreadPoolExecutor(_THREADS, "rbs-sizes") as pool:
            return list(pool.map(one, indices, stored))

    def files(self) -> Sequence[Path]:
        """Return the pictures' files."""
        return self._source.files()

    def stamp(self) -> str:
        """Return the stamp of the pictures."""
        return self._source.stamp()

    def finish_digest(self, digest: str) -> str:
        """Return the digest over the pictures'; who corrupts them adds the variant, which says the size."""
        return self._source.finish_digest(digest)
