"""The check before a run: one batch of its own images, on its own device, twice."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from robustbench_safety.batches import Batches
from robustbench_safety.devices import forward_context, to_pixels
from robustbench_safety.errors import DataError, ModelError
from robustbench_safety.models import Model
from robustbench_safety.records import Precision

__all__ = ["CHECKED", "check_first_batch"]

#: Images looked at.
CHECKED = 16
#: By how much two passes over one image may differ, in standard deviations of the logits: what is allowed
#: between batch sizes and machines, and a hundred times as much where numbers have 8 or 11 bits.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.1}
#: Rounding in a row of a thousand probabilities, and where each of them has 8 or 11 bits.
_SUM_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.02, "float16": 0.02}


def check_first_batch(
    model: Model,
    images: torch.Tensor,
    sample_ids: Sequence[str],
    device: torch.device,
    precision: Precision,
    *,
    batch_size: int,
) -> None:
    """Refuse a model that would give numbers nobody should trust, before hours are spent on them.

    Args:
        model: Its network is on ``device``.
        images: The first images of the run [N, H, W, 3], as stored: uint8 or float32 in [0, 1].
        sample_ids: N, for errors.
        device: Where it runs.
        precision: In which it runs.
        batch_size: Images that go through at a time.

    Raises:
        DataError: A pixel lies outside [0, 1].
        ModelError: Wrong shape, not finite, probabilities where logits are declared, not the same twice, or
            not the same when an image is alone.
    """
    pixels = to_pixels(images, device)
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):
        raise DataError(
            "the images leave the pixel range", expected="values in [0, 1]", found=f"[{low:.6g}, {high:.6g}]"
        )

    def run(first: int, last: int) -> torch.Tensor:
        with torch.inference_mode(), forward_context(device, precision):
            logits: torch.Tensor = model.network(pixels[first:last]).float()
        return logits

    batches = Batches(batch_size)
    logits = torch.cat(batches.map(run, len(pixels)))
    name = model.spec.name
    _check_values(name, logits, model, sample_ids, _SUM_TOLERANCE[precision])
    tolerance = _TOLERANCE[precision] * float(logits.std())
    again = torch.cat(batches.map(run, len(pixels)))
    _check_same(
        logits,
        again,
        tolerance,
        f"{name} does not give the same logits twice for one image",
        "take out what draws random numbers in evaluation mode",
    )
    alone = run(0, 1)
    _check_same(
        logits[:1],
        alone,
        tolerance,
        f"{name} gives an image other logits alone than among others",
        "take out what mixes the images of a batch: batch normalisation that ignores evaluation mode",
    )


def _check_values(
    name: str, logits: torch.Tensor, model: Model, sample_ids: Sequence[str], tolerance: float
) -> None:
    if logits.ndim != 2 or logits.shape[1] != model.n_classes:
        raise ModelError(
            f"{name} returns another shape on a batch than on one image",
            expected=f"[{len(logits)}, {model.n_classes}]",
            found=str(list(logits.shape)),
        )
    spoilt = (~torch.isfinite(logits)).any(dim=1).nonzero().flatten().tolist()
    if spoilt:
        raise ModelError(
            f"{name} gives logits that are not finite",
            expected="finite logits",
            found=f"NaN or infinity for {len(spoilt)} of the first {len(logits)} images: "
            + ", ".join(sample_ids[row] for row in spoilt[:10]),
            fix="check the weights, or run in float32",
        )
    # No guess: what is declared to be logits, and is a distribution in every row, is declared wrongly.
    sums_to_one = bool(((logits.sum(dim=1) - 1).abs() < tolerance).all())
    if model.spec.outputs == "logits" and sums_to_one and float(logits.min()) >= 0:
        raise ModelError(
            f"{name} returns probabilities",
            expected="logits, as declared",
            found=f"rows of values from {float(logits.min()):.3g} to {float(logits.max()):.3g} that sum to 1",
            fix="write outputs: probabilities in its model file, or return what goes into the softmax",
        )
    # The logarithms of probabilities; of a larger head's, those that were selected.
    totals = logits.exp().sum(dim=1)
    wrong = totals > 1 + tolerance
    if model.spec.head_classes is None:
        wrong |= totals < 1 - tolerance
    if model.spec.outputs == "probabilities" and bool(wrong.any()):
        raise ModelError(
            f"{name} does not return probabilities",
            expected="rows that sum to 1, as declared",
            found=f"a row that sums to {float(totals[wrong][0]):.6g}",
            fix="write outputs: logits in its model file, or return what comes out of the softmax",
        )


def _check_same(expected: torch.Tensor, found: torch.Tensor, tolerance: float, what: str, fix: str) -> None:
    difference = float((expected - found).abs().max())
    if not difference <= tolerance:
        raise ModelError(what, expected=f"at most {tolerance:.3g} apart", found=f"{difference:.3g}", fix=fix)
