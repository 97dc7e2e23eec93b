"""Whether what was predicted again is what a companion says, image by image, but for what rounding turns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.companion import Companion, CompanionRows
from robustbench_safety.detectors import DETECTORS
from robustbench_safety.predictions import Predictions
from robustbench_safety.records import Precision

__all__ = [
    "TOLERANCES",
    "Compared",
    "compare_attack",
    "compare_condition",
    "compare_scores_kept",
    "tolerance_of",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: How far a logit may move between machines and batch sizes, in standard deviations of an image's logits: in
#: float32 what the package promises; in the others, of 10 and 7 bits, some units of their last bit.
TOLERANCES: dict[Precision, float] = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 3e-2}
_OF_TF32 = 1e-2
#: Share of images whose OOD score may differ by more: some detectors cut at a percentile or step by a sign,
#: where rounding turns single images. It moves an AUROC by at most as much.
_SCORES_TURNED = 0.01
#: By how much the rate of an attack may differ. Its steps follow signs of gradients, so that rounding sends
#: single images elsewhere, either way. A share of the images counts on balance, twice that share one by one.
#: (Of 850 images of the demo, attacked in batches of 37 and not of 64, none went elsewhere.)
_ATTACK_TURNED = 0.01
_FEWEST_TURNED = 2
#: Of a confidence, which is kept as float32.
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One quantity on one condition, as it was recorded and as it is now."""

    path: str
    """Of the condition; the name of a score."""
    what: str
    """Compared: ``right or wrong``, ``class``, ``confidence``, ``flips`` ..."""
    images: int
    """Images or clips."""
    disagreements: int
    """Of these, beyond what rounding may turn."""
    allowed: int
    close: int = 0
    """Images that differ and may: their two best logits lie within the tolerance."""
    note: str = ""
    """Of a disagreement: both numbers, or the first image."""

    @property
    def agrees(self) -> bool:
        """Whether no more differ than may."""
        return self.disagreements <= self.allowed


def tolerance_of(precision: Precision, *, tf32: bool) -> float:
    """Return how far a logit may move, in standard deviations of an image's logits."""
    return max(TOLERANCES[precision], _OF_TF32 if tf32 else 0.0)


def compare_condition(
    predictions: Predictions,
    old: CompanionRows,
    new: CompanionRows,
    order: NDArray[np.intp],
    *,
    tolerance: float,
) -> Iterator[Compared]:
    """Yield how one condition agrees.

    Args:
        predictions: Made again.
        old: Of the record's companion, the dataset's rows.
        new: Of a companion that was made from the predictions.
        order: Row in ``old`` of each row of ``new``.
        tolerance: As :func:`tolerance_of` returns it.
    """
    path, ids = predictions.header.condition.path, predictions.sample_ids
    close, reach = _close_calls(predictions, tolerance)
    frames = predictions.header.frames
    kept = {*old.flips, *old.correct}
    if (path in new.flips or path in new.correct) and path not in kept:
        yield Compared(
            path=path,
            what="right or wrong",
            images=len(ids),
            disagreements=len(ids),
            allowed=0,
            note="not in the companion",
        )
        return
    if path in new.flips:
        flips, recorded = new.flips[path].astype(int), old.flips[path][order].astype(int)
        # A frame whose class may turn makes or unmakes two flips, before and after it; the first frame, which
        # all others may be compared with, as many as there are.
        unsure = close.reshape(-1, frames)
        most = np.where(unsure[:, 0], frames - 1, 2 * unsure.sum(axis=1))
        yield _compared(path, "flips", flips != recorded, np.abs(flips - recorded) <= most, ids)
    if path in new.correct:
        differ = new.correct[path] != old.correct[path][order]
        if predictions.header.attack is not None:
            yield from compare_attack(path, new.correct[path], old.correct[path][order])
        else:
            yield _compared(path, "right or wrong", differ, close, ids)
    if predictions.header.condition.kind != "clean":
        return
    if new.predicted is not None and old.predicted is not None:
        yield _compared(path, "class", new.predicted != old.predicted[order], close, ids)
    if new.confidence is not None and old.confidence is not None:
        apart = np.abs(new.confidence.astype(float) - old.confidence[order].astype(float))
        yield _compared(path, "confidence", apart > reach + _ROUNDING, np.zeros(len(ids), dtype=bool), ids)


def _compared(path: str, what: str, differ: Bools, may: Bools, ids: Sequence[str]) -> Compared:
    wrong = np.flatnonzero(differ & ~may)
    return Compared(
        path=path,
        what=what,
        images=len(ids),
        disagreements=len(wrong),
        allowed=0,
        close=int((differ & may).sum()),
        note=f"first {ids[wrong[0]]}" if len(wrong) else "",
    )


def compare_attack(path: str, right: Bools, recorded: Bools) -> Iterator[Compared]:
    """Yield how many images an attack has left right, on balance and one by one."""
    n = len(right)
    allowed = max(_FEWEST_TURNED, math.ceil(_ATTACK_TURNED * n))
    balance = abs(int(right.sum()) - int(recorded.sum()))
    note = f"{int(right.sum())} right, recorded {int(recorded.sum())}"
    yield Compared(
        path=path, what="right on balance", images=n, disagreements=balance, allowed=allowed, note=note
    )
    turned = int((right != recorded).sum())
    yield Compared(path=path, what="right or wrong", images=n, disagreements=turned, allowed=2 * allowed)


def compare_scores_kept(
    old: Companion, new: Companion, *, tolerance: float, fitted: bool
) -> Iterator[Compared]:
    """Yield how the OOD scores agree, set by set.

    Args:
        old: Of the record.
        new: Made from the predictions.
        tolerance: As :func:`tolerance_of` returns it; here in standard deviations of the scores of all sets.
        fitted: Whether detectors that are fitted have had all of their images.
    """
    names = sorted({name for rows in new.datasets.values() for name in rows.scores})
    for name in names:
        detector = DETECTORS.get(name.partition(".")[0])
        if detector is None or (detector.fit is not None and not fitted):
            continue
        sets = {
            dataset: (rows, old.datasets[dataset])
            for dataset, rows in new.datasets.items()
            if name in rows.scores and dataset in old.datasets and name in old.datasets[dataset].scores
        }
        if not sets:
            continue
        spread = float(np.concatenate([kept.scores[name] for _, kept in sets.values()]).astype(float).std())
        for dataset, (rows, kept) in sets.items():
            order = order_of(rows.source_ids, kept.source_ids)
            if order is None:
                continue  # told of the dataset
            apart = np.abs(rows.scores[name].astype(float) - kept.scores[name][order].astype(float))
            beyond = int((apart > tolerance * spread + _ROUNDING).sum())
            yield Compared(
                path=dataset,
                what=f"scores of {name}",
                images=len(apart),
                disagreements=beyond,
                allowed=math.floor(_SCORES_TURNED * len(apart)),
                note=f"furthest {apart.max():.2g} apart" if beyond else "",
            )


def order_of(ids: Sequence[str], among: Sequence[str]) -> NDArray[np.intp] | None:
    """Return the place of each id among others; None where one is not there."""
    places = {name: place for place, name in enumerate(among)}
    found = [places.get(name, -1) for name in ids]
    return None if -1 in found else np.array(found, dtype=np.intp)


def _close_calls(predictions: Predictions, tolerance: float) -> tuple[Bools, Floats]:
    """Return which rows' two best logits lie within the tolerance, and how far a confidence may move."""
    values = predictions.values
    # Of a summary the ten best stand for all.
    logits = np.asarray(values["logits" if "logits" in values else "top_logits"], dtype=np.float64)
    reach = tolerance * logits.std(axis=1)
    best = np.partition(logits, -2, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0] <= reach, reach
