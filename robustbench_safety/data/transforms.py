"""From a stored image to the pixels a network takes: resize and crop as 8-bit RGB, by Pillow."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.errors import DataError
from robustbench_safety.records import Preprocessing

__all__ = ["Transform"]

Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.float32])


class Transform:
    """Resize and centre crop.

    Args:
        preprocessing: What the network wants.
        pre_cropped: The stored images are final crops (ImageNet-C): they are shown as they are, or resized
            straight to the input size where that differs, and never cropped.

    Conventions:
        Sizes round as torchvision's Resize and CenterCrop do, so the pixels equal those of its pipeline, but
        for an image that is too small for the crop: CenterCrop pads it with black, and here it is an error.
    """

    def __init__(self, preprocessing: Preprocessing, *, pre_cropped: bool) -> None:
        self._preprocessing = preprocessing
        self._pre_cropped = pre_cropped
        self._resample = Image.Resampling[preprocessing.interpolation.upper()]

    def keeps(self, height: int, width: int) -> bool:
        """Return whether images of this size come out as they go in."""
        target = self._preprocessing.input_size
        return (height, width) == self._resized_shape(height, width) and target in (None, (height, width))

    def __call__(self, image: Pixels) -> Pixels:
        """Return [H, W, 3] at the input size, of the type that ``image`` has.

        Raises:
            DataError: The image cannot be brought to the input size by the stated rule.
        """
        height, width = image.shape[:2]
        if self.keeps(height, width):
            return image
        if image.dtype != np.uint8:
            raise DataError(
                "noise pictures have one size and are not resized",
                expected=f"a network that takes {height}x{width}",
                found=f"input size {self._preprocessing.input_size}",
            )
        new_height, new_width = self._resized_shape(height, width)
        if (new_height, new_width) != (height, width):
            picture = Image.fromarray(image).resize((new_width, new_height), self._resample)
            image = np.asarray(picture)
        target = self._preprocessing.input_size
        if target is None or (new_height, new_width) == target:
            return image
        if self._preprocessing.crop is None or new_height < target[0] or new_width < target[1]:
            raise DataError(
                "an image does not reach the network's input size",
                expected=f"{target[0]}x{target[1]}",
                found=f"{height}x{width}, {new_height}x{new_width} after the resize",
                fix="state resize and crop in the model file",
            )
        top = round((new_height - target[0]) / 2.0)
        left = round((new_width - target[1]) / 2.0)
        return image[top : top + target[0], left : left + target[1]]

    def _resized_shape(self, height: int, width: int) -> tuple[int, int]:
        target, resize = self._preprocessing.input_size, self._preprocessing.resize
        if self._pre_cropped:
            return target or (height, width)
        if resize is None:
            return height, width
        if isinstance(resize, tuple):
            return resize
        if height <= width:
            return resize, int(resize * width / height)
        return int(resize * height / width), resize
