"""Send any number of images through a network that takes batches of certain sizes alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import _disable_current_modes

from robustbench_safety.errors import ModelError

__all__ = ["ANY_BATCH", "BatchSizes", "in_batches"]


@dataclass(frozen=True, kw_only=True)
class BatchSizes:
    """The batches that an exported graph takes: one that was exported for 8 images takes 8 and no others."""

    fewest: int = 1
    most: int | None = None
    """None for no limit."""


#: Of a graph that was exported with a dynamic batch.
ANY_BATCH = BatchSizes()


def in_batches(
    network: Callable[[torch.Tensor], object], images: torch.Tensor, sizes: BatchSizes
) -> torch.Tensor:
    """Return the outputs [N, K] of images [N, 3, H, W], in as many passes as it takes.

    A batch that is too short is filled up with copies of its last image, whose outputs are dropped: in
    evaluation mode an image's outputs do not depend on its neighbours.

    Raises:
        ModelError: The network does not return one row for each image.
    """
    n = len(images)
    step = n if sizes.most is None else sizes.most
    rows = [_one_batch(network, images[start : start + step], sizes.fewest) for start in range(0, n, step)]
    return rows[0] if len(rows) == 1 else torch.cat(rows)


def _one_batch(network: Callable[[torch.Tensor], object], images: torch.Tensor, fewest: int) -> torch.Tensor:
    n = len(images)
    if n < fewest:
        images = torch.cat([images, images[-1:].expand(fewest - n, -1, -1, -1)])
        # What looks on, as torch's counter of operations does, would take the copies for images of ours.
        with _disable_current_modes():
            outputs = network(images)
    else:
        outputs = network(images)
    if not isinstance(outputs, torch.Tensor):
        raise ModelError(
            "the exported graph does not return logits",
            expected="one float tensor [N, classes]",
            found=f"a {type(outputs).__name__}",
            fix="export the network so that it returns the logits alone",
        )
    if outputs.ndim == 0 or len(outputs) != len(images):
        raise ModelError(
            "the exported graph does not return one row for each image",
            expected=f"{len(images)} rows",
            found=f"a tensor {list(outputs.shape)}",
            fix="export it with a dynamic batch",
        )
    return outputs[:n]
