"""A batch worked on in parts, so that memory beyond the result does not grow with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Images", "like", "parts", "undisturbed"]

Images = TypeVar("Images", NDArray[np.uint8], torch.Tensor)

#: Values that are worked on at a time: 85 images of 32 pixels, 2 MB as float64. 2**20 is slower, by half for
#: blur of 256.
_PART = 2**18


def parts(images: torch.Tensor) -> Iterator[slice]:
    """Yield slices of the batch that hold about ``_PART`` values each."""
    step = max(1, _PART // images[0].numel())
    for start in range(0, len(images), step):
        yield slice(start, start + step)


def like(images: Images, result: torch.Tensor) -> Images:
    """Return ``result`` as an array if ``images`` is one."""
    return result if isinstance(images, torch.Tensor) else result.numpy()


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Keep out what a caller may have set for a network: half precision, and a device for new tensors."""
    with torch.autocast(device.type, enabled=False):
        # Entered only where it is needed: it costs a call of Python for each of torch's.
        if torch.get_default_device().type == "cpu":
            yield
        else:
            with torch.device("cpu"):
                yield
