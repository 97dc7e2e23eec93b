"""What is kept of the logits where keeping them all would be too much: ImageNet-C alone is 15 GB a model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["TOP", "summarize"]

#: Classes kept of each row.
TOP = 10


def summarize(
    logits: torch.Tensor, labels: torch.Tensor
) -> dict[str, NDArray[np.float32] | NDArray[np.int32]]:
    """Return one row of figures for each image, computed on the logits' device.

    Args:
        logits: float32 [N, K].
        labels: int64 [N], -1 for out-of-distribution images.

    Returns:
        top_classes int32 and top_logits float32 [N, min(10, K)] (logit descending, of equal ones the lower
        class first), and float32 [N]: max_logit; neg_log_confidence = log1p(sum of exp(z - max) over the
        others), which keeps confidences apart that float32 would round to 1; entropy in nats;
        sum_squared_probabilities; for labelled images label_logit and label_nll.
    """
    # A stable descending sort puts the lower class first among equal logits; topk promises no order there.
    ordered, classes = logits.sort(dim=1, descending=True, stable=True)
    top = min(TOP, logits.shape[1])
    others = torch.exp(ordered[:, 1:] - ordered[:, :1]).sum(dim=1)
    neg_log_confidence = torch.log1p(others)
    log_probabilities = ordered - ordered[:, :1] - neg_log_confidence[:, None]
    probabilities = log_probabilities.exp()
    rows = {
        "top_classes": classes[:, :top].to(torch.int32),
        "top_logits": ordered[:, :top],
        "max_logit": ordered[:, 0],
        "neg_log_confidence": neg_log_confidence,
        "entropy": -(probabilities * log_probabilities).sum(dim=1),
        "sum_squared_probabilities": probabilities.square().sum(dim=1),
    }
    if bool((labels >= 0).all()):
        label_logit = logits.gather(1, labels[:, None])[:, 0]
        rows["label_logit"] = label_logit
        rows["label_nll"] = ordered[:, 0] - label_logit + neg_log_confidence
    return {name: row.contiguous().cpu().numpy() for name, row in rows.items()}
