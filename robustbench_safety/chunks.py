"""Finished batches of an attack: files beside the predictions to come, so that none is done twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_safety.attacks import Attacked
from robustbench_safety.files import atomic_path
from robustbench_safety.predictions import Values
from robustbench_safety.records import AttackMeasures

__all__ = ["Chunk", "joined_measures", "measured", "read_chunk", "write_chunk"]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A batch that was attacked and predicted."""

    digest: str
    """sha256 over the perturbed pixels."""
    seconds: float
    passes: int
    """Images that went through the network."""
    measures: AttackMeasures
    values: Values


def write_chunk(path: Path, key: str, chunk: Chunk) -> None:
    """Write a batch atomically; ``key`` says what it was made from."""
    notes = {
        "note_key": key,
        "note_digest": chunk.digest,
        "note_seconds": chunk.seconds,
        "note_passes": chunk.passes,
        "note_measures": chunk.measures.model_dump_json(),
    }
    arrays = {name: np.array(note) for name, note in notes.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays, **chunk.values)


def read_chunk(path: Path, key: str) -> Chunk | None:
    """Return what a finished batch holds; None where it is absent, damaged, or of another run."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as content:
            if str(content["note_key"]) != key:
                return None
            return Chunk(
                digest=str(content["note_digest"]),
                seconds=float(content["note_seconds"]),
                passes=int(content["note_passes"]),
                measures=AttackMeasures.model_validate_json(str(content["note_measures"])),
                values={name: content[name] for name in content.files if not name.startswith("note_")},
            )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None


def measured(attacked: Attacked, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> AttackMeasures:
    """Return what was seen of a batch.

    Args:
        attacked: What the attack made of it.
        logits: Of the perturbed images [N, K].
        labels: True classes [N].
    """
    wrong = logits.argmax(axis=1) != labels
    whole = AttackMeasures(images=len(labels), wrong=int(wrong.sum()), broken=attacked.broken)
    if attacked.start_logits is None:
        return whole
    at_start = attacked.start_logits.cpu().numpy()
    wrong_by_noise = at_start.argmax(axis=1) != labels
    before, after = _losses(at_start, labels), _losses(logits, labels)
    return whole.model_copy(
        update={
            "wrong_by_noise": int(wrong_by_noise.sum()),
            "wrong_by_noise_alone": int((wrong_by_noise & ~wrong).sum()),
            "not_risen": int((after <= before).sum()),
            "loss_at_start": float(before.mean()),
            "loss_at_end": float(after.mean()),
        }
    )


def _losses(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the cross entropy of each image; in float64, where that of a confident network is not yet 0."""
    rows = torch.from_numpy(logits).double()
    return torch.nn.functional.cross_entropy(rows, torch.from_numpy(labels), reduction="none").numpy()


def joined_measures(parts: Sequence[AttackMeasures]) -> AttackMeasures:
    """Return what was seen of all images: counts added up, means weighed by the images.

    Example:
        >>> one = AttackMeasures(images=1, wrong=1, not_risen=0, loss_at_start=1.0)
        >>> joined = joined_measures([one, AttackMeasures(images=3, wrong=0, not_risen=2, loss_at_start=3.0)])
        >>> joined.images, joined.wrong, joined.not_risen, joined.loss_at_start
        (4, 1, 2, 2.5)
    """
    images = sum(part.images for part in parts)
    fields: dict[str, object] = {"images": images}
    for name in ("wrong", "wrong_by_noise", "wrong_by_noise_alone", "not_risen"):
        counts = [getattr(part, name) for part in parts]
        fields[name] = None if None in counts else sum(counts)
    for name in ("loss_at_start", "loss_at_end"):
        means = [getattr(part, name) for part in parts]
        if None not in means:
            pairs = zip(means, parts, strict=True)
            fields[name] = fsum(mean * part.images for mean, part in pairs) / images
    fields["broken"] = {name: sum(part.broken[name] for part in parts) for name in parts[0].broken}
    return AttackMeasures.model_validate(fields)
