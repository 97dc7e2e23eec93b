"""What stored predictions say of themselves: the header of each file, and the note in the run folder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robustbench_safety.records.attack import Attack, PixelLength
from robustbench_safety.records.base import Digest, Name, Record, is_empty
from robustbench_safety.records.dataset import Condition
from robustbench_safety.records.model import ModelSpec
from robustbench_safety.records.score import Environment

__all__ = [
    "AttackMeasures",
    "AttackOutcome",
    "Columns",
    "Covers",
    "LargeEps",
    "PredictionsHeader",
    "RunInfo",
]

Columns = Literal["logits", "summary", "top1"]
#: What a data digest is taken over: samples with their stored bytes, or what can be had without the images.
Covers = Literal["samples", "ids-and-labels"]


def _is_none(value: object) -> bool:
    return value is None


class LargeEps(Record):
    """What an attack that may turn each pixel to grey leaves of a network: with honest gradients, nothing."""

    eps: PixelLength
    """In L-inf, whatever the norm of the attack itself."""
    steps: int = Field(gt=0)
    images: int = Field(gt=0)
    """Drawn by the seed and their ids from those that are attacked."""
    right: int = Field(ge=0)
    """Of these, still right."""


class AttackMeasures(Record):
    """What an attack saw on its way: signs that a network hides its gradients show here. Counts of images."""

    images: int = Field(gt=0)
    wrong: int = Field(ge=0)
    """Wrong in the end."""
    wrong_by_noise: int | None = Field(default=None, exclude_if=_is_none)
    """PGD: wrong at the random start, before the first step."""
    wrong_by_noise_alone: int | None = Field(default=None, exclude_if=_is_none)
    """PGD: wrong at the random start and right in the end."""
    not_risen: int | None = Field(default=None, exclude_if=_is_none)
    """PGD: with a cross entropy in the end that is not above that of the random start."""
    loss_at_start: float | None = Field(default=None, exclude_if=_is_none)
    """PGD: mean cross entropy at the random start, nats."""
    loss_at_end: float | None = Field(default=None, exclude_if=_is_none)
    """PGD: mean cross entropy in the end, nats."""
    broken: dict[str, int] = Field(default_factory=dict, exclude_if=is_empty)
    """AutoAttack: images that each of its attacks broke, of those that the ones before it had left."""
    large_eps: LargeEps | None = Field(default=None, exclude_if=_is_none)


class AttackOutcome(Record):
    """What an adversarial condition was made of."""

    settings: Attack
    source_data_digest: Digest
    """Data digest of the clean images."""
    perturbed_digest: Digest
    """sha256 over the perturbed pixels of every image, float32 NCHW, in manifest order."""
    library: str | None = Field(default=None, exclude_if=_is_none)
    """Name and version of the library that made the attack, where it is not this package."""
    measures: AttackMeasures | None = Field(default=None, exclude_if=_is_none)
    """None in predictions that were stored before anything was measured."""


class PredictionsHeader(Record):
    """What a file of predictions says of itself."""

    schema_version: Literal[1]
    condition: Condition
    columns: Columns
    label_space: Name
    """Of the model: what ``label`` indexes."""
    n: int = Field(gt=0)
    """Samples (or clips)."""
    frames: int = Field(gt=0)
    """Rows for each sample; 1 but in sequences."""
    n_classes: int = Field(gt=0)
    model_digest: Digest
    manifest_digest: Digest
    preprocessing_digest: Digest
    seed: int
    limit: int | None
    data_digest: Digest
    data_digest_covers: Covers = Field(default="samples", exclude_if=lambda value: value == "samples")
    """``ids-and-labels`` for predictions that were handed in where the images are not at hand."""
    predictions_digest: Digest
    """sha256 over the columns: ids, frames, labels and values."""
    source_stamp: str
    """Cheap digest of the source files' names, sizes and times: tells whether data may have changed since."""
    decoder: str
    attack: AttackOutcome | None
    last_layer_digest: Digest | None = Field(default=None, exclude_if=lambda value: value is None)
    """sha256 over weight and bias of the layer that makes logits of the features stored here; None where no
    features are."""
    reduced_batch: int | None = Field(default=None, gt=0, exclude_if=lambda value: value is None)
    """Images in the smallest batch, where memory was too small for those asked for."""
    environment: Environment
    forward_passes: int
    seconds: float
    finished: str


class RunInfo(Record):
    """``run.json``: what was asked, and on what machine."""

    schema_version: Literal[1]
    slug: Name
    display_name: str
    model: ModelSpec
    seed: int
    limit: int | None
    environment: Environment
