"""What came out: scores, their intervals, and where they came from."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from robustbench_safety.records.base import Digest, Name, Record, is_empty, refuse_repeated
from robustbench_safety.records.dataset import Condition
from robustbench_safety.records.model import ModelSpec, Precision

__all__ = [
    "ConditionScore",
    "Curves",
    "Environment",
    "GroupScore",
    "LineScore",
    "RowKind",
    "Score",
    "ScoreInterval",
    "ScoreRecord",
    "SuiteReference",
    "Timings",
    "Verification",
]

Direction = Literal["lower", "higher"]
#: A share of images; of means, with the rounding of a sum.
Share = Annotated[float, Field(ge=0, le=1 + 1e-9)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Counts = Annotated[tuple[Count, ...], Field(min_length=1)]
Bins = Annotated[tuple[tuple[Count, Share | None, Share | None], ...], Field(min_length=1)]
RowKind = Literal["verified", "recomputed", "self-reported", "reported", "partial"]


class ScoreInterval(Record):
    """Confidence interval of a score."""

    low: float
    high: float
    level: float = Field(gt=0, lt=1)
    method: str


class LineScore(Record):
    """The line of published models that an accuracy is held against, and how sure that is."""

    intercept: float
    slope: float
    axis: Literal["logit", "probit"]
    """How both accuracies are stretched: ``g(shifted) = intercept + slope * g(clean)``."""
    n_models: int = Field(gt=1)
    """Published models that it was fitted to."""
    clean: float
    """Accuracy of the model that is scored on the clean images: where the line is read, a fraction."""
    expected: float
    """Accuracy on the shifted images that the line has there."""
    band: ScoreInterval
    """Of ``expected``: where the line might lie, had other models of the kind been published. The score's own
    interval is that of the model's accuracies, and takes the line as it is."""
    curve: tuple[tuple[float, float, float, float], ...]
    """Clean accuracy, accuracy on the line, lower and upper end of its band, at even steps along the models
    of the line: for a chart."""


class Score(Record):
    """One number of a record: a cell or an aggregate."""

    value: float | None
    """Fraction unless ``unit`` says otherwise; None where it could not be measured."""
    n: int = Field(ge=0)
    """Source images (or clips) behind it; for anomaly detection the in-distribution ones."""
    n_out: int | None = None
    """Out-of-distribution images; for anomaly detection alone."""
    interval: ScoreInterval | None
    unit: Literal["fraction", "nats", "score"]
    """``fraction`` is shown as percent, ``nats`` and ``score`` (Brier, 0 to 2) as they are."""
    direction: Direction
    """Which way is good."""
    reason: str | None = None
    """Why there is no value."""
    chance: float | None = Field(default=None, exclude_if=is_empty)
    """What a detector without skill would reach on all sets together, where they are pooled; where they are
    not, each condition has its own."""
    worst: Name | None = Field(default=None, exclude_if=is_empty)
    """Name of the condition that the value is of, where it is that of the worst of several."""
    by_name: dict[Name, float] = Field(default_factory=dict, exclude_if=is_empty)
    """Ratio of each condition name, of which a mean of ratios is made: the corruption errors of an mCE."""
    note: str | None = Field(default=None, exclude_if=is_empty)
    """What a reader of the value must know: that it was divided by figures which nobody has verified."""
    line: LineScore | None = Field(default=None, exclude_if=is_empty)
    """What an effective robustness lies above or below."""

    @model_validator(mode="after")
    def _null_has_a_reason(self) -> Self:
        if (self.value is None) != (self.reason is not None):
            raise ValueError("a score has either a value or a reason why there is none")
        return self


class ConditionScore(Record):
    """The value of a cell on one of its conditions."""

    condition: Condition
    value: float
    n: int = Field(gt=0)
    interval: ScoreInterval | None
    chance: float | None = None
    """What a detector without skill would reach; for AUPR, which moves with the share of OOD images."""


class GroupScore(Record):
    """The rate of a cell among the images of one group: an error in one style of ImageNet-R."""

    value: float
    n: int = Field(gt=0)
    interval: ScoreInterval


class SuiteReference(Record):
    """Which suite, exactly."""

    name: Name
    version: int
    digest: Digest


class Environment(Record):
    """Everything about the machine and the libraries that can move a prediction."""

    package: str
    commit: str | None
    python: str
    libraries: dict[str, str]
    machine: str
    device: str
    device_name: str
    precision: Precision
    tf32: bool
    compiled: bool = Field(default=False, exclude_if=lambda value: not value)
    """Whether torch.compile has translated the network."""
    threads: int
    batch_size: int
    decoder: str
    known: bool = Field(default=True, exclude_if=lambda value: value is True)
    """False for predictions that were handed in: nobody here knows the machine that made them. ``package`` is
    what read them, and the other fields say nothing."""


class Timings(Record):
    """Times of a run; left out of the digest."""

    finished: str
    """Date and time in UTC, ISO 8601, at which the last condition was stored."""
    seconds: float
    """Spent on predicting, all conditions together."""
    images_per_second: float


def _has_a_range(histogram: tuple[tuple[float, float], Counts, Counts]) -> object:
    (low, high), inside, outside = histogram
    # Between the largest floats lies more than a float can say.
    if low > high or math.isinf(high - low) or len(inside) != len(outside):
        raise ValueError("a histogram has a range, the lower end first, and as many bins of either set")
    return histogram


Histogram = Annotated[tuple[tuple[float, float], Counts, Counts], AfterValidator(_has_a_range)]


class Curves(Record):
    """Curves a reader wants to see, drawn from the clean condition and the OOD sets."""

    reliability: dict[str, Bins] = Field(default_factory=dict)
    """By cell: (n, mean confidence, accuracy) in 15 equal bins of confidence."""
    risk_coverage: dict[str, Annotated[tuple[Share, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """By cell: error rate among the most confident 1 %, 2 % ... 100 %."""
    ood_histogram: dict[str, Histogram] = Field(default_factory=dict)
    """By cell: (range of scores), 50 counts in-distribution, 50 counts out of distribution."""


class Verification(Record):
    """Who stands for the numbers."""

    kind: Literal["verified", "recomputed", "self-reported"]
    by: str
    at: str


class ScoreRecord(Record):
    """One model on one suite. Immutable: a correction is a new record that names the one it supersedes."""

    schema_version: Literal[1]
    slug: Name
    display_name: str
    suite: SuiteReference
    model: ModelSpec
    seed: int
    limit: int | None
    """Source images taken of each dataset; None for all."""
    status: Literal["complete", "partial"]
    partial_because: tuple[str, ...] = ()
    """What of the suite was not measured. A number that nobody can have, as the baseline has no figures for
    it, is null with its reason among the scores, and does not stand here."""
    columns: tuple[Name, ...]
    beside: tuple[Name, ...]
    scores: dict[str, Score]
    conditions: dict[str, tuple[ConditionScore, ...]]
    """By cell, in the suite's order."""
    groups: dict[str, dict[str, dict[str, GroupScore]]] = Field(default_factory=dict, exclude_if=is_empty)
    """By cell, group column and group, where the dataset has group columns."""
    data_digests: dict[str, Digest]
    """By condition; of labels joined to another dataset's images by ``<dataset>/labels``."""
    without_images: tuple[str, ...] = Field(default=(), exclude_if=is_empty)
    """Conditions whose data digest covers ids and labels alone, as their images were not at hand. A row with
    such is never ranked."""
    prediction_digests: dict[str, Digest]
    """By condition."""
    reduced_batches: dict[str, int] = Field(default_factory=dict, exclude_if=is_empty)
    """By condition: images in a batch, where memory was too small for those asked for."""
    baselines: dict[str, Digest] = Field(default_factory=dict, exclude_if=is_empty)
    """By name: the baselines that aggregates are divided by."""
    accuracies: dict[str, Digest] = Field(default_factory=dict, exclude_if=is_empty)
    """By name: the tables of published models that aggregates hold the model against."""
    temperatures: dict[str, tuple[float, ...]] = Field(default_factory=dict, exclude_if=is_empty)
    """By cell: what its logits were divided by; with cross-fitting two, for images whose sha256 of the sample
    id is even and for those whose is odd."""
    attack_warnings: dict[str, tuple[str, ...]] = Field(default_factory=dict, exclude_if=is_empty)
    """By condition: signs that the network hides its gradients, and so looks more robust than it is."""
    trained_on_tested: tuple[Name, ...] = Field(default=(), exclude_if=is_empty)
    """Shifts that the model was trained on and is tested on here."""
    companion_digest: Digest
    """Over the content of the Parquet file beside the record, which pairs it with others."""
    curves: Curves
    environment: Environment
    forward_passes: int
    """Images sent through the network; a gradient step of an attack counts each image once more."""
    verification: Verification
    timings: Timings
    supersedes: Digest | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.columns:
            raise ValueError("a record has at least one column")
        refuse_repeated("column", (*self.columns, *self.beside))
        for name in (*self.columns, *self.beside):
            if name not in self.scores:
                raise ValueError(f"column {name!r} has no score")
        if (self.status == "partial") != bool(self.partial_because):
            raise ValueError("a partial row says in partial_because what is missing, and no other row does")
        if self.without_images and self.verification.kind == "verified":
            raise ValueError("a row whose images were not at hand cannot be verified")
        return self

    @property
    def kind(self) -> RowKind:
        """Kind of row on the leaderboard."""
        return "partial" if self.status == "partial" else self.verification.kind

    def digested_fields(self) -> dict[str, object]:
        """Return what the digest covers: everything but times and timings."""
        fields = self.model_dump(mode="json", exclude={"timings"})
        del fields["verification"]["at"]
        return fields
