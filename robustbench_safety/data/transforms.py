"""From a stored image to the pixels a network takes: resized and cropped by Pillow, as 8-bit RGB or noise."""

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
    """Resize and centre crop, or resize into a border.

    Args:
        preprocessing: What the network wants.
        pre_cropped: The stored images are final crops (ImageNet-C): they are shown as they are, or resized
            straight to the input size where that differs, and never cropped.
        border: Pixels cut from each side before anything else (ObjectNet).
        resize_to_input: Where the network states no resize, the shorter side is resized to the input size and
            the centre cropped, as outlier exposure shows photographs to networks of 32 px.
        recropped: Shorter side and crop, (256, 224), that take the place of the network's resize and crop,
            in this proportion for a network of another input size.

    Conventions:
        Sizes round as torchvision's Resize and CenterCrop do, so the pixels equal those of its pipeline, but
        for an image that is too small for the crop: CenterCrop pads it with black, and here it is an error.
        Crop ``border`` rounds and pads as timm's ResizeKeepRatio and CenterCropOrPad do.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        *,
        pre_cropped: bool,
        border: int = 0,
        resize_to_input: bool = False,
        recropped: tuple[int, int] | None = None,
    ) -> None:
        if recropped is not None:
            side, crop = recropped
            size = preprocessing.input_size or (crop, crop)
            update = {"input_size": size, "resize": min(size) * side // crop, "crop": "center"}
            preprocessing = preprocessing.model_copy(update=update)
        self._preprocessing = preprocessing
        self._pre_cropped, self._border = pre_cropped, border
        target = preprocessing.input_size
        self._covers = target if resize_to_input and preprocessing.resize is None else None
        self._resample = Image.Resampling[preprocessing.interpolation.upper()]

    def keeps(self, height: int, width: int) -> bool:
        """Return whether images of this size come out as they go in."""
        if self._border:
            return False
        target = self._preprocessing.input_size
        return (height, width) == self._resized_shape(height, width) and target in (None, (height, width))

    def __call__(self, image: Pixels) -> Pixels:
        """Return [H, W, 3] at the input size, of the type that ``image`` has.

        Raises:
            DataError: The image cannot be brought to the input size by the stated rule.
        """
        if self.keeps(*image.shape[:2]):
            return image
        if edge := self._border:
            image = self._without_border(image, edge)
        height, width = image.shape[:2]
        if image.dtype != np.uint8:
            return self._noise(image)
        new_height, new_width = self._resized_shape(height, width)
        if (new_height, new_width) != (height, width):
            whole = np.ascontiguousarray(image)
            picture = Image.fromarray(whole).resize((new_width, new_height), self._resample)
            image = np.asarray(picture)
        target = self._preprocessing.input_size
        if target is None or (new_height, new_width) == target:
            return image
        if self._preprocessing.crop == "border":
            image = self._in_border(image, target)
            new_height, new_width = image.shape[:2]
        crops = self._preprocessing.crop is not None or self._covers is not None
        if not crops or new_height < target[0] or new_width < target[1]:
            raise DataError(
                "an image does not reach the network's input size",
                expected=f"{target[0]}x{target[1]}",
                found=f"{height}x{width}, {new_height}x{new_width} after the resize",
                fix="state resize and crop in the model file",
            )
        top = round((new_height - target[0]) / 2.0)
        left = round((new_width - target[1]) / 2.0)
        return image[top : top + target[0], left : left + target[1]]

    def _noise(self, image: Pixels) -> Pixels:
        """Return unquantised noise at the input size: it is network input by definition, so never cropped."""
        height, width = self._preprocessing.input_size or image.shape[:2]
        if image.shape[:2] == (height, width):
            return image
        # Pillow has no RGB in floats, so a channel at a time. Cubic weights overshoot [0, 1].
        planes = [Image.fromarray(plane) for plane in np.moveaxis(image, -1, 0)]
        resized = [np.asarray(plane.resize((width, height), self._resample)) for plane in planes]
        return np.stack(resized, axis=-1).clip(0, 1)

    def _resized_shape(self, height: int, width: int) -> tuple[int, int]:
        target, resize = self._preprocessing.input_size, self._preprocessing.resize
        if self._pre_cropped:
            return target or (height, width)
        if self._covers is not None:
            # Of an input that is not square, the side that the image reaches last.
            if height * self._covers[1] <= width * self._covers[0]:
                return self._covers[0], int(self._covers[0] * width / height)
            return int(self._covers[1] * height / width), self._covers[1]
        if resize is None:
            return height, width
        if isinstance(resize, tuple):
            if self._preprocessing.crop != "border":
                return resize
            ratio = max(height / resize[0], width / resize[1])
            return max(round(height / ratio), 1), max(round(width / ratio), 1)
        if height <= width:
            return resize, int(resize * width / height)
        return int(resize * height / width), resize

    def _in_border(self, image: Pixels, target: tuple[int, int]) -> Pixels:
        """Return the image within the input size or larger; an odd border has one pixel more at the end."""
        height, width = image.shape[:2]
        across, down = max(target[1] - width, 0), max(target[0] - height, 0)
        colour = [round(255 * value) for value in self._preprocessing.mean]
        framed = np.empty((height + down, width + across, 3), dtype=image.dtype)
        framed[:] = colour
        framed[down // 2 : down // 2 + height, across // 2 : across // 2 + width] = image
        return framed

    def _without_border(self, image: Pixels, edge: int) -> Pixels:
        height, width = image.shape[:2]
        if min(height, width) <= 2 * edge:
            raise DataError(
                "an image is nothing but border",
                expected=f"more than {2 * edge} pixels a side",
                found=f"{height}x{width}",
                fix="unpack the published archive again",
            )
        return image[edge : height - edge, edge : width - edge]
