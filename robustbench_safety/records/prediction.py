"""What stored predictions say of themselves: the header of each file, and the note in the run folder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from robustbench_safety.records.base import Digest, Name, Record
from robustbench_safety.records.dataset import Condition
from robustbench_safety.records.model import ModelSpec
from robustbench_safety.records.score import Environment
from robustbench_safety.records.suite import Attack

__all__ = ["AttackOutcome", "Columns", "Covers", "PredictionsHeader", "RunInfo"]

Columns = Literal["logits", "summary", "top1"]
#: What a data digest is taken over: samples with their stored bytes, or what can be had without the images.
Covers = Literal["samples", "ids-and-labels"]


class AttackOutcome(Record):
    """What an adversarial condition was made of."""

    settings: Attack
    source_data_digest: Digest
    """Data digest of the clean images."""
    perturbed_digest: Digest
    """sha256 over the perturbed pixels of every image, float32 NCHW, in manifest order."""


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
