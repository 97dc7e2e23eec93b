"""What every metric promises, in one table: a public metric that is in no row fails a test."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from robustbench_safety import metrics
from robustbench_safety.errors import UndefinedMetricError, UsageError
from robustbench_safety.metrics.selective_intervals import SelectiveStatistic

Arrays = tuple[NDArray[Any], ...]
Order = Literal["never matters", "matters within ties only"]

SETTINGS = settings(max_examples=25, deadline=None, derandomize=True)


# Inputs: many ties, both extremes, any order.


@st.composite
def answers(draw: st.DrawFn, at_least: int = 1) -> Arrays:
    """Draw confidence [N] and correct [N]."""
    n = draw(st.integers(at_least, at_least + 30))
    grid = st.integers(0, 20).map(lambda i: i / 20)
    fine = st.floats(0, 1, allow_subnormal=False)
    confidence = draw(st.lists(grid | fine, min_size=n, max_size=n))
    correct = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    return np.array(confidence, dtype=np.float64), np.array(correct)


@st.composite
def distinct_answers(draw: st.DrawFn, at_least: int) -> Arrays:
    """Draw answers without two equal confidences."""
    confidence, correct = draw(answers(at_least))
    ranks = draw(st.permutations(range(len(confidence))))
    return (np.array(ranks) + 0.5) / len(confidence), correct


@st.composite
def mixed_answers(draw: st.DrawFn) -> Arrays:
    """Draw answers of which at least one is right and one is wrong."""
    confidence, correct = draw(answers(2))
    correct[:2] = [0, 1]
    return confidence, correct


@st.composite
def known_and_unknown(draw: st.DrawFn) -> Arrays:
    """Draw confidence beside correctness of in-distribution [N, 2], and confidence of other images [M]."""
    return np.stack(draw(answers()), axis=1), draw(answers())[0]


@st.composite
def scores(draw: st.DrawFn, at_least: int = 1) -> Arrays:
    """Draw scores of in-distribution [N] and out-of-distribution images [M]."""
    values = st.lists(st.integers(-5, 5).map(float) | st.floats(-1e6, 1e6), min_size=at_least, max_size=20)
    return np.array(draw(values)), np.array(draw(values))


@st.composite
def classes(draw: st.DrawFn, width: int | None = None) -> Arrays:
    """Draw predicted classes [N], or [N, width], and labels [N]."""
    n = draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    if width is None:
        return rng.integers(4, size=n), rng.integers(4, size=n)
    return rng.random((n, width + 1)).argsort(axis=1)[:, :width], rng.integers(width + 1, size=n)


@st.composite
def tables(draw: st.DrawFn, normalised: bool) -> Arrays:  # noqa: FBT001
    """Draw logits or probabilities [N, 5] and labels [N]."""
    n = draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    table = rng.normal(scale=draw(st.sampled_from([0.1, 5, 500])), size=(n, 5))
    if normalised:
        table = np.exp(table - table.max(axis=1, keepdims=True))
        table /= table.sum(axis=1, keepdims=True)
    return table, rng.integers(5, size=n)


@st.composite
def fitted_tables(draw: st.DrawFn) -> Arrays:
    """Draw logits [N, 5] and labels [N] that some temperature suits best: two of three are right."""
    n = draw(st.integers(10, 20))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    table = rng.normal(scale=draw(st.sampled_from([0.3, 1, 5])), size=(3 * n, 5))
    labels = table.argmax(axis=1)
    labels[::3] = table[::3].argsort(axis=1)[:, -2]
    return table, labels


@st.composite
def sets(draw: st.DrawFn) -> Arrays:
    """Draw predicted classes [N] and which of 4 classes are right, one or more an image [N, 4]."""
    n = draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    right = rng.random((n, 4)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    right[np.arange(n), rng.integers(4, size=n)] = True
    return rng.integers(4, size=n), right


@st.composite
def opinions(draw: st.DrawFn) -> Arrays:
    """Draw logits and the shares of people who chose each class, both [N, 5]."""
    n = draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    counts = rng.integers(0, 4, size=(n, 5))
    counts[:, 0] += 1
    logits = rng.normal(scale=draw(st.sampled_from([0.1, 5, 500])), size=(n, 5))
    return logits, counts / counts.sum(axis=1, keepdims=True)


@st.composite
def clips(draw: st.DrawFn) -> Arrays:
    """Draw the predicted classes of clips [V, F]."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    return (rng.integers(3, size=(draw(st.integers(1, 10)), draw(st.integers(2, 8)))),)


@st.composite
def rankings(draw: st.DrawFn, classes: int) -> Arrays:
    """Draw the classes of clips from the best down [V, F, K]."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    shape = draw(st.integers(1, 6)), draw(st.integers(2, 5)), classes
    return (np.argsort(rng.random(shape), axis=2),)


@st.composite
def errors(draw: st.DrawFn, *, severities: bool = True, columns: int = 2) -> Arrays:
    """Draw errors [C], or [C, S], and as many of a baseline, none of which is 0."""
    shape = (draw(st.integers(1, 6)), *(draw(st.integers(1, 5)) for _ in range(severities)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    return (rng.integers(0, 5, size=shape) / 4, 1 - rng.random(shape) / 2)[:columns]


@st.composite
def accuracies(draw: st.DrawFn) -> Arrays:
    """Draw clean and shifted accuracies [M] of models, not all equally accurate."""
    n = draw(st.integers(2, 20))
    inside = st.integers(1, 19).map(lambda i: i / 20) | st.floats(1e-6, 1 - 1e-6)
    clean = draw(st.lists(inside, min_size=n, max_size=n))
    clean[0] = 0.97 if clean[1] < 0.5 else 0.03
    return np.array(clean), np.array(draw(st.lists(inside, min_size=n, max_size=n)))


@st.composite
def decisions(draw: st.DrawFn) -> Arrays:
    """Draw categories decided for, shapes and textures [N]; one image or more is decided for either."""
    n = draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    decided, shape, texture = rng.integers(4, size=(3, n))
    texture[0] = (shape[0] + 1) % 4
    decided[0] = draw(st.sampled_from([shape[0], texture[0]]))
    return decided, shape, texture


@st.composite
def right_answers(draw: st.DrawFn) -> Arrays:
    """Draw correctness on clean [N], some right and some wrong, and on shifted images [M]."""
    clean = draw(st.lists(st.integers(0, 1), min_size=1, max_size=20))
    shifted = draw(st.lists(st.integers(0, 1), min_size=1, max_size=20))
    return np.array([0, 1, *clean]), np.array(shifted)


@st.composite
def values(draw: st.DrawFn, columns: int = 1) -> Arrays:
    """Draw one value a unit [N] for each of one or two models."""
    n = draw(st.integers(1, 20))
    column = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)
    return tuple(np.array(draw(column)) for _ in range(columns))


# The table.


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric, its inputs and its promises."""

    metric: Callable[..., Any]
    inputs: st.SearchStrategy[Arrays]
    low: float = 0.0
    high: float = 1.0
    perfect: tuple[Arrays, float]
    worst: tuple[Arrays, float]
    order: Order = "never matters"
    untied: st.SearchStrategy[Arrays] | None = None
    """Inputs without ties, where order matters within ties."""
    apart: bool = False
    """The arrays describe different samples and are shuffled apart."""


def _answers(confidence: float, right: int, n: int = 20) -> Arrays:
    return np.full(n, confidence), np.full(n, right)


A = np.array
SURE_AND_RIGHT, SURE_AND_WRONG = _answers(1.0, 1), _answers(1.0, 0)
SORTED_RIGHT, SORTED_WRONG = (A([1.0, 0.0]), A([1, 0])), (A([1.0, 0.0]), A([0, 1]))
APART, EXCHANGED = (A([0.0, 1.0]), A([2.0, 3.0])), (A([2.0, 3.0]), A([0.0, 1.0]))


def _binned(metric: Callable[..., float], *, worst: float = 1.0, published: bool = False) -> Row:
    n = 10 if published else 5
    return Row(
        metric=partial(metric, bin_size=5),
        inputs=answers(n),
        perfect=(SURE_AND_RIGHT, 0.0),
        worst=(SURE_AND_WRONG, worst),
        order="matters within ties only" if published else "never matters",
        untied=distinct_answers(n) if published else None,
    )


def _named(table: NDArray[Any]) -> dict[str, Any]:
    """Return the rows of a table under names of their own."""
    return {f"name{i}": row for i, row in enumerate(table)}


ROWS: dict[str, Row] = {
    "error_rate": Row(
        metric=metrics.error_rate,
        inputs=classes(),
        perfect=((A([0, 1]), A([0, 1])), 0.0),
        worst=((A([1, 0]), A([0, 1])), 1.0),
    ),
    "set_error_rate": Row(
        metric=metrics.set_error_rate,
        inputs=sets(),
        perfect=((A([0, 1]), A([[True, False], [True, True]])), 0.0),
        worst=((A([1, 2]), A([[True, False, False], [True, True, False]])), 1.0),
    ),
    "top_k_error": Row(
        metric=partial(metrics.top_k_error, k=2),
        inputs=classes(width=3),
        perfect=((A([[0, 1], [2, 1]]), A([0, 1])), 0.0),
        worst=((A([[0, 1], [2, 1]]), A([2, 0])), 1.0),
    ),
    "aurc": Row(
        metric=metrics.aurc, inputs=answers(), perfect=(SURE_AND_RIGHT, 0.0), worst=(SURE_AND_WRONG, 1.0)
    ),
    # Worst of two answers: risks 1 and 1/2, less the optimum 0.5 + 0.5 ln 0.5.
    "excess_aurc": Row(
        metric=metrics.excess_aurc,
        inputs=answers(),
        perfect=(SURE_AND_RIGHT, 0.0),
        worst=(SORTED_WRONG, 0.75 - 0.5 - 0.5 * math.log(0.5)),
    ),
    "aurra": Row(
        metric=metrics.aurra, inputs=answers(), perfect=(SURE_AND_RIGHT, 1.0), worst=(SURE_AND_WRONG, 0.0)
    ),
    "error_detection_auroc": Row(
        metric=metrics.error_detection_auroc,
        inputs=mixed_answers(),
        perfect=(SORTED_RIGHT, 1.0),
        worst=(SORTED_WRONG, 0.0),
    ),
    # All wrong: 1/20, 2/20, ... 20/20 answered, on average 21/40.
    "augrc": Row(
        metric=metrics.augrc, inputs=answers(), perfect=(SURE_AND_RIGHT, 0.0), worst=(SURE_AND_WRONG, 21 / 40)
    ),
    "prediction_rejection_ratio": Row(
        metric=metrics.prediction_rejection_ratio,
        inputs=mixed_answers(),
        low=-1.0,
        perfect=(SORTED_RIGHT, 1.0),
        worst=(SORTED_WRONG, -1.0),
    ),
    "accuracy_at_coverage": Row(
        metric=partial(metrics.accuracy_at_coverage, coverage=0.5),
        inputs=answers(),
        perfect=(SORTED_RIGHT, 1.0),
        worst=(SORTED_WRONG, 0.0),
    ),
    # Confidence and correctness of the ID images travel as one table. The best is to answer the unknown last.
    "unknown_aurc": Row(
        metric=lambda inside, out: metrics.unknown_aurc(inside[:, 0], inside[:, 1], out),
        inputs=known_and_unknown(),
        apart=True,
        perfect=((A([[0.9, 1.0]]), A([0.1])), 0.25),
        worst=((A([[0.9, 0.0], [0.2, 0.0]]), A([0.1])), 1.0),
    ),
    # Of a detector whose score rises with doubt.
    "unknown_aurc_by_score": Row(
        metric=lambda inside, out: metrics.unknown_aurc_by_score(-inside[:, 0], inside[:, 1], -out),
        inputs=known_and_unknown(),
        apart=True,
        perfect=((A([[0.9, 1.0]]), A([0.1])), 0.25),
        worst=((A([[0.9, 0.0], [0.2, 0.0]]), A([0.1])), 1.0),
    ),
    "rms_calibration_error": _binned(metrics.rms_calibration_error),
    "mean_absolute_calibration_error": _binned(metrics.mean_absolute_calibration_error),
    "maximum_calibration_error": _binned(metrics.maximum_calibration_error),
    # The published forms count 15 of the 20 answers.
    "rms_calibration_error_hendrycks": _binned(
        metrics.rms_calibration_error_hendrycks, worst=math.sqrt(15 / 20), published=True
    ),
    "mean_absolute_calibration_error_hendrycks": _binned(
        metrics.mean_absolute_calibration_error_hendrycks, worst=15 / 20, published=True
    ),
    "maximum_calibration_error_hendrycks": _binned(
        metrics.maximum_calibration_error_hendrycks, published=True
    ),
    "expected_calibration_error": Row(
        metric=metrics.expected_calibration_error,
        inputs=answers(),
        perfect=(SURE_AND_RIGHT, 0.0),
        worst=(SURE_AND_WRONG, 1.0),
    ),
    "expected_calibration_error, equal mass": Row(
        metric=partial(metrics.expected_calibration_error, binning="equal_mass"),
        inputs=answers(),
        perfect=(SURE_AND_RIGHT, 0.0),
        worst=(SURE_AND_WRONG, 1.0),
    ),
    # Where two of three are right, the best temperature is the margin over ln 2: 1, or 4.
    "fit_temperature": Row(
        metric=metrics.fit_temperature,
        inputs=fitted_tables(),
        low=0.01,
        high=100.0,
        perfect=((A([[math.log(2), 0.0]] * 3), A([0, 0, 1])), 1.0),
        worst=((A([[4 * math.log(2), 0.0]] * 3), A([0, 0, 1])), 4.0),
    ),
    "soft_f1_score": Row(
        metric=metrics.soft_f1_score,
        inputs=mixed_answers(),
        perfect=(SORTED_RIGHT, 1.0),
        worst=(SORTED_WRONG, 0.0),
    ),
    "brier_score": Row(
        metric=metrics.brier_score,
        inputs=tables(normalised=True),
        high=2.0,
        perfect=((A([[1.0, 0.0], [0.0, 1.0]]), A([0, 1])), 0.0),
        worst=((A([[1.0, 0.0], [0.0, 1.0]]), A([1, 0])), 2.0),
    ),
    "negative_log_likelihood": Row(
        metric=metrics.negative_log_likelihood,
        inputs=tables(normalised=False),
        high=math.inf,
        perfect=((A([[1e4, 0.0], [0.0, 1e4]]), A([0, 1])), 0.0),
        worst=((A([[1e4, 0.0], [0.0, 1e4]]), A([1, 0])), 1e4),
    ),
    # The best answer to people who are of two minds is to be so too: ln 2 is the least.
    "soft_label_cross_entropy": Row(
        metric=metrics.soft_label_cross_entropy,
        inputs=opinions(),
        high=math.inf,
        perfect=((A([[3.0, 3.0], [1e4, 0.0]]), A([[0.5, 0.5], [1.0, 0.0]])), math.log(2) / 2),
        worst=((A([[1e4, 0.0], [0.0, 1e4]]), A([[0.0, 1.0], [1.0, 0.0]])), 1e4),
    ),
    "flip_rate": Row(
        metric=partial(metrics.flip_rate, compare="previous"),
        inputs=clips(),
        perfect=((A([[1, 1, 1]]),), 0.0),
        worst=((A([[0, 1, 0]]),), 1.0),
    ),
    "corruption_error": Row(
        metric=metrics.corruption_error,
        inputs=errors(severities=False),
        high=math.inf,
        perfect=((A([0.0, 0.0]), A([0.5, 1.0])), 0.0),
        worst=((A([1.0, 1.0]), A([0.5, 1.0])), 2 / 1.5),
    ),
    "mean_corruption_error": Row(
        metric=lambda e, b: metrics.mean_corruption_error(_named(e), baseline=_named(b)),
        inputs=errors(),
        high=math.inf,
        perfect=((A([[0.0, 0.0]]), A([[0.5, 1.0]])), 0.0),
        worst=((A([[1.0, 1.0], [1.0, 1.0]]), A([[0.5, 1.0], [0.5, 0.5]])), (2 / 1.5 + 2) / 2),
    ),
    # A network that never errs on clean images, beside one that errs on a quarter of them.
    "relative_mean_corruption_error": Row(
        metric=lambda e, b: metrics.relative_mean_corruption_error(_named(e), 0.0, _named(b), 0.25),
        inputs=errors(),
        high=math.inf,
        perfect=((A([[0.0, 0.0]]), A([[0.5, 1.0]])), 0.0),
        worst=((A([[1.0, 1.0]]), A([[0.5, 1.0]])), 2.0),
    ),
    "mean_flip_rate": Row(
        metric=lambda r, b: metrics.mean_flip_rate(_named(r), baseline=_named(b)),
        inputs=errors(severities=False),
        high=math.inf,
        perfect=((A([0.0, 0.0]), A([0.5, 1.0])), 0.0),
        worst=((A([1.0, 1.0]), A([0.5, 1.0])), 1.5),
    ),
    "top5_distance": Row(
        metric=partial(metrics.top5_distance, compare="first"),
        inputs=rankings(8),
        high=15.0,
        perfect=((A([[[4, 3, 2, 1, 0], [4, 3, 2, 1, 0]]]),), 0.0),
        worst=((A([[[4, 3, 2, 1, 0], [5, 6, 7, 8, 9]]]),), 15.0),
    ),
    "mean_top5_distance": Row(
        metric=lambda d, b: metrics.mean_top5_distance(_named(d), baseline=_named(b)),
        inputs=errors(severities=False),
        high=math.inf,
        perfect=((A([0.0, 0.0]), A([3.0, 5.0])), 0.0),
        worst=((A([15.0, 15.0]), A([3.0, 5.0])), 4.0),
    ),
    # Two classes can but change places: |1 - 1/2| / 1 + |1/2 - 1| / 2.
    "zipf_distance": Row(
        metric=partial(metrics.zipf_distance, compare="previous"),
        inputs=rankings(6),
        high=2.0,
        perfect=((A([[[1, 0], [1, 0]]]),), 0.0),
        worst=((A([[[1, 0], [0, 1]]]),), 0.75),
    ),
    # Of a model that gets every shifted image right: against a line that expects nothing, or everything.
    "effective_robustness": Row(
        metric=lambda c, s: metrics.effective_robustness(0.5, 1.0, metrics.fit_accuracy_line(c, s)),
        inputs=accuracies(),
        perfect=((A([0.4, 0.6]), A([1e-16, 1e-15])), 1.0),
        worst=((A([0.4, 0.6]), A([1 - 1e-14, 1 - 1e-15])), 0.0),
    ),
    # Decided for the shape each time, or for the texture.
    "shape_bias": Row(
        metric=metrics.shape_bias,
        inputs=decisions(),
        perfect=((A([0, 1]), A([0, 1]), A([1, 0])), 1.0),
        worst=((A([1, 0]), A([0, 1]), A([1, 0])), 0.0),
    ),
    "cue_accuracy": Row(
        metric=partial(metrics.cue_accuracy, cue="texture"),
        inputs=decisions(),
        perfect=((A([1, 0]), A([0, 1]), A([1, 0])), 1.0),
        worst=((A([0, 1]), A([0, 1]), A([1, 0])), 0.0),
    ),
    "auroc": Row(
        metric=metrics.auroc, inputs=scores(), apart=True, perfect=(APART, 1.0), worst=(EXCHANGED, 0.0)
    ),
    # Worst of two and two: the positives are found third and fourth, (1/3 + 2/4) / 2.
    "aupr_out": Row(
        metric=metrics.aupr_out, inputs=scores(), apart=True, perfect=(APART, 1.0), worst=(EXCHANGED, 5 / 12)
    ),
    "aupr_in": Row(
        metric=metrics.aupr_in, inputs=scores(), apart=True, perfect=(APART, 1.0), worst=(EXCHANGED, 5 / 12)
    ),
    "fpr_at_tpr": Row(
        metric=metrics.fpr_at_tpr, inputs=scores(), apart=True, perfect=(APART, 0.0), worst=(EXCHANGED, 1.0)
    ),
    "fpr_at_tpr_hendrycks": Row(
        metric=metrics.fpr_at_tpr_hendrycks,
        inputs=scores(),
        apart=True,
        perfect=(APART, 0.0),
        worst=(EXCHANGED, 1.0),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A function that returns a record: an interval, a curve or counts."""

    make: Callable[..., Any]
    inputs: st.SearchStrategy[Arrays]
    apart: bool = False


def _ends(made: metrics.Interval) -> tuple[float, float]:
    return made.low, made.high


INTERVALS: dict[str, Drawn] = {
    "bootstrap_interval": Drawn(make=partial(metrics.bootstrap_interval, seed=3, draws=100), inputs=values()),
    "paired_difference": Drawn(
        make=lambda a, b: metrics.paired_difference(a, b, seed=3, draws=100).interval,
        inputs=values(columns=2),
    ),
    "two_sample_bootstrap_interval": Drawn(
        make=lambda i, o: metrics.two_sample_bootstrap_interval(metrics.auroc, i, o, seed=3, draws=100),
        inputs=scores(),
        apart=True,
    ),
    "auroc_interval": Drawn(make=metrics.auroc_interval, inputs=scores(2), apart=True),
    "aupr_interval": Drawn(
        make=partial(metrics.aupr_interval, seed=3, draws=100), inputs=scores(), apart=True
    ),
    "fpr_interval": Drawn(make=partial(metrics.fpr_interval, seed=3, draws=100), inputs=scores(), apart=True),
    "aupr_in_interval": Drawn(
        make=partial(metrics.aupr_in_interval, seed=3, draws=100), inputs=scores(), apart=True
    ),
    "fpr_hendrycks_interval": Drawn(
        make=partial(metrics.fpr_hendrycks_interval, seed=3, draws=100), inputs=scores(), apart=True
    ),
    "unknown_aurc_interval": Drawn(
        make=lambda inside, out: metrics.unknown_aurc_interval(
            -inside[:, 0], inside[:, 1], -out, combine="pooled", seed=3, draws=100
        ),
        inputs=known_and_unknown(),
        apart=True,
    ),
    "accuracy_at_coverage_interval": Drawn(
        make=partial(metrics.accuracy_at_coverage_interval, coverage=0.8, seed=3, draws=100),
        inputs=answers(),
    ),
    "rms_calibration_interval": Drawn(
        make=partial(metrics.rms_calibration_interval, bin_size=5, seed=3, draws=100), inputs=answers(5)
    ),
    **{
        f"selective_interval, {name}": Drawn(
            make=partial(metrics.selective_interval, statistic=name, seed=3, draws=100),
            inputs=mixed_answers(),
        )
        for name in get_args(SelectiveStatistic)
    },
    "mean_absolute_calibration_interval": Drawn(
        make=partial(metrics.mean_absolute_calibration_interval, bin_size=5, seed=3, draws=100),
        inputs=answers(5),
    ),
    "ece_interval, equal mass": Drawn(
        make=partial(metrics.ece_interval, binning="equal_mass", seed=3, draws=100), inputs=answers()
    ),
    "ece_interval": Drawn(make=partial(metrics.ece_interval, seed=3, draws=100), inputs=answers()),
    "paired_bootstrap_test": Drawn(
        make=lambda a, b: metrics.paired_bootstrap_test(a - b, seed=3, draws=100).interval,
        inputs=values(columns=2),
    ),
    "effective_robustness_interval": Drawn(
        make=lambda clean, shifted: metrics.effective_robustness_interval(
            clean,
            shifted,
            metrics.AccuracyLine(intercept=-1.0, slope=1.2, axis="logit", n=9),
            seed=3,
            draws=100,
        ),
        inputs=right_answers(),
        apart=True,
    ),
}

#: Intervals of a count take two whole numbers; ``tests/metrics/test_intervals.py`` holds them against scipy.
COUNT_INTERVALS = ("wilson_interval", "clopper_pearson_interval")

CURVES: dict[str, Drawn] = {
    "sign_flip_test": Drawn(
        make=lambda a, b: metrics.sign_flip_test(a - b, seed=3, draws=100), inputs=values(columns=2)
    ),
    "risk_coverage_curve": Drawn(make=metrics.risk_coverage_curve, inputs=answers()),
    "reliability_bins, equal mass": Drawn(
        make=partial(metrics.reliability_bins, binning="equal_mass"), inputs=answers()
    ),
    "scaled_logits": Drawn(
        make=lambda logits: sorted(metrics.scaled_logits(logits, temperature=2.0).tolist()),
        inputs=tables(normalised=False).map(lambda arrays: arrays[:1]),
    ),
    "reliability_bins": Drawn(make=metrics.reliability_bins, inputs=answers()),
    "flips_per_clip": Drawn(
        make=lambda clips: sorted(metrics.flips_per_clip(clips, compare="first").tolist()), inputs=clips()
    ),
    "top5_distances_per_clip": Drawn(
        make=lambda ranked: sorted(metrics.top5_distances_per_clip(ranked, compare="previous").tolist()),
        inputs=rankings(8),
    ),
    # Named after what is in it, so that a corruption keeps its name when the table is shuffled.
    "worst_corruption": Drawn(
        make=lambda table: metrics.worst_corruption({str(row.tolist()): row for row in table}),
        inputs=errors(columns=1),
    ),
    "fit_accuracy_line": Drawn(make=metrics.fit_accuracy_line, inputs=accuracies()),
    "fit_accuracy_line, probit": Drawn(
        make=partial(metrics.fit_accuracy_line, axis="probit"), inputs=accuracies()
    ),
    "accuracy_line_band": Drawn(
        make=partial(metrics.accuracy_line_band, at=[0.1, 0.7], seed=3, draws=100), inputs=accuracies()
    ),
    "cue_hits": Drawn(make=lambda *arrays: sorted(metrics.cue_hits(*arrays).tolist()), inputs=decisions()),
    "category_decisions": Drawn(
        make=lambda logits: sorted(
            metrics.category_decisions(logits, categories=[np.array([0, 3]), np.array([1])]).tolist()
        ),
        inputs=tables(normalised=False).map(lambda arrays: arrays[:1]),
    ),
    "cross_entropies": Drawn(
        make=lambda logits, shares: sorted(metrics.cross_entropies(logits, shares).tolist()),
        inputs=opinions(),
    ),
}

#: Intervals of intervals; ``tests/metrics/test_differences.py`` holds them against the published table, and
#: ``tests/metrics/test_significance.py`` the test against scipy.
DIFFERENCES = {"independent_difference", "intervals_test"}

#: Two arrays of each of two groups; ``tests/metrics/test_paired_detection.py`` shows that the order of the
#: pairs does not matter, and what is refused.
PAIRED_GROUPS = {"paired_auroc_difference", "delong_test"}

#: Takes ids; ``tests/metrics/test_temperature.py`` shows that the order does not matter.
CROSS_FITTED = {"cross_fit_temperatures"}

#: Takes several arrays, each with ids; ``tests/metrics/test_overlapping.py`` shows the same of it.
OF_SETS = {"mean_over_sets_interval"}

#: Take numbers; ``tests/metrics/test_shift.py`` and ``test_significance.py`` work them by hand.
OF_NUMBERS = {"relative_robustness", "mcnemar_test", "holm_adjusted"}

#: What comes after a comma says with which options a function is in a row once more.
EVERYTHING = {
    name.partition(",")[0]
    for name in (
        *ROWS,
        *INTERVALS,
        *CURVES,
        *COUNT_INTERVALS,
        *DIFFERENCES,
        *PAIRED_GROUPS,
        *CROSS_FITTED,
        *OF_SETS,
        *OF_NUMBERS,
    )
}


def _shuffled(arrays: Arrays, seed: int, *, apart: bool) -> Arrays:
    rng = np.random.default_rng(seed)
    if apart:
        return tuple(rng.permutation(array) for array in arrays)
    order = rng.permutation(len(arrays[0]))
    return tuple(array[order] for array in arrays)


def _refuses(function: Callable[..., Any], arrays: Arrays) -> None:
    with pytest.raises(UndefinedMetricError):
        function(*arrays)


def _refuses_what_has_no_value(function: Callable[..., Any], arrays: Arrays) -> None:
    _refuses(function, tuple(array[:0] for array in arrays))
    for bad in (math.nan, math.inf, -math.inf):
        for position in range(len(arrays)):
            spoilt = [array.astype(np.float64) if i == position else array for i, array in enumerate(arrays)]
            spoilt[position][-1] = bad
            _refuses(function, tuple(spoilt))


def test_every_public_function_is_in_a_row() -> None:
    public = {name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))}
    assert public == EVERYTHING


def test_every_public_name_exists_and_is_documented_in_full() -> None:
    for name in metrics.__all__:
        public = getattr(metrics, name)
        assert public.__doc__, name
        if inspect.isfunction(public):
            sections = ["Args:", "Returns:", "Raises:", "Conventions:", "Source:", "Example:"]
            places = [public.__doc__.find(section) for section in sections]
            assert -1 not in places, name
            assert places == sorted(places), name


def test_what_comes_after_the_data_is_keyword_only() -> None:
    data = {"confidence", "correct", "predicted", "labels", "ranked", "probabilities", "logits", "statistic"}
    data |= {"scores_in", "scores_out", "values", "values_a", "values_b", "n_events", "n", "right", "shares"}
    data |= {"sample_ids", "confidence_in", "correct_in", "confidence_out"}
    data |= {
        "errors",
        "baseline_errors",
        "clean_error",
        "baseline",
        "baseline_clean_error",
        "rates",
        "distances",
    }
    data |= {"clean", "shifted", "clean_accuracy", "shifted_accuracy", "shifted_accuracy_before", "line"}
    data |= {"value_a", "interval_a", "value_b", "interval_b"}
    data |= {"decided", "shape", "texture", "correct_clean", "correct_shifted"}
    data |= {"differences", "n_newly_wrong", "n_newly_right", "p_values"}
    data |= {"scores_in_a", "scores_out_a", "scores_in_b", "scores_out_b"}
    for name in EVERYTHING:
        parameters = inspect.signature(getattr(metrics, name)).parameters.values()
        assert {p.name for p in parameters if p.kind is not p.KEYWORD_ONLY} <= data, name


@pytest.mark.parametrize("name", ROWS)
@given(data=st.data())
@SETTINGS
def test_a_metric_is_a_float_within_its_range(name: str, data: st.DataObject) -> None:
    row = ROWS[name]
    value = row.metric(*data.draw(row.inputs))
    assert type(value) is float
    assert row.low - 1e-12 <= value <= row.high + 1e-12


@pytest.mark.parametrize("name", ROWS)
@given(data=st.data(), seed=st.integers(0, 999))
@SETTINGS
def test_the_order_of_the_samples_never_matters_to_the_last_bit(
    name: str, data: st.DataObject, seed: int
) -> None:
    row = ROWS[name]
    arrays = data.draw(row.untied if row.untied is not None else row.inputs)
    assert row.metric(*arrays) == row.metric(*_shuffled(arrays, seed, apart=row.apart))


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.order != "never matters"])
def test_a_metric_said_to_depend_on_the_order_of_ties_does(name: str) -> None:
    # Ten tied answers in two bins, the second skipped: wrong ones first or last.
    confidence, correct = np.full(10, 0.75), np.repeat([0, 1], 5)
    assert ROWS[name].metric(confidence, correct) != ROWS[name].metric(confidence, correct[::-1])


@pytest.mark.parametrize("name", ROWS)
def test_the_perfect_and_the_worst_predictor_get_the_ends_of_the_scale(name: str) -> None:
    for arrays, expected in (ROWS[name].perfect, ROWS[name].worst):
        assert ROWS[name].metric(*arrays) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_a_metric_refuses_nothing_nan_and_infinity(name: str) -> None:
    _refuses_what_has_no_value(ROWS[name].metric, ROWS[name].worst[0])


@pytest.mark.parametrize("name", ROWS)
def test_a_metric_leaves_its_input_as_it_was(name: str) -> None:
    arrays = ROWS[name].worst[0]
    before = tuple(array.copy() for array in arrays)
    ROWS[name].metric(*arrays)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))


@pytest.mark.parametrize("name", INTERVALS)
@given(data=st.data(), seed=st.integers(0, 999))
@SETTINGS
def test_an_interval_is_ordered_within_its_range_and_blind_to_the_order(
    name: str, data: st.DataObject, seed: int
) -> None:
    row = INTERVALS[name]
    arrays = data.draw(row.inputs)
    made = row.make(*arrays)
    below_zero = {
        "paired_difference",
        "selective_interval, prediction_rejection_ratio",
        "effective_robustness_interval",
        "paired_bootstrap_test",
    }
    lowest = -1 if name in below_zero else 0
    assert lowest - 1e-12 <= made.low <= made.high <= 1 + 1e-12
    assert _ends(made) == _ends(row.make(*_shuffled(arrays, seed, apart=row.apart)))


@pytest.mark.parametrize("name", CURVES)
@given(data=st.data(), seed=st.integers(0, 999))
@SETTINGS
def test_a_curve_is_blind_to_the_order(name: str, data: st.DataObject, seed: int) -> None:
    row = CURVES[name]
    arrays = data.draw(row.inputs)
    assert row.make(*arrays) == row.make(*_shuffled(arrays, seed, apart=row.apart))


@pytest.mark.parametrize("name", [*INTERVALS, *CURVES])
@given(data=st.data())
@settings(SETTINGS, max_examples=3)
def test_an_interval_or_curve_refuses_nothing_nan_and_infinity(name: str, data: st.DataObject) -> None:
    row = INTERVALS.get(name) or CURVES[name]
    _refuses_what_has_no_value(row.make, data.draw(row.inputs))


@pytest.mark.parametrize("name", [*INTERVALS, *COUNT_INTERVALS])
def test_an_interval_refuses_a_level_outside_the_open_interval(name: str) -> None:
    function: Callable[..., Any] = getattr(metrics, name.partition(",")[0])
    signature = inspect.signature(function).parameters
    arguments: list[Any] = (
        [3, 10] if name in COUNT_INTERVALS else [np.linspace(0, 1, 200), np.repeat([0.0, 1.0], 100)]
    )
    if name in ("bootstrap_interval", "paired_bootstrap_test"):
        arguments = arguments[:1]
    if name == "two_sample_bootstrap_interval":
        arguments = [metrics.aurc, *arguments]
    if name == "effective_robustness_interval":
        arguments.append(metrics.AccuracyLine(intercept=0.0, slope=1.0, axis="logit", n=2))
    options: dict[str, Any] = {"seed": 0} if "seed" in signature else {}
    if "statistic" in signature and name != "two_sample_bootstrap_interval":
        options["statistic"] = "aurc"
    if name == "accuracy_at_coverage_interval":
        options["coverage"] = 0.5
    if name == "unknown_aurc_interval":
        arguments.append(arguments[0])
        options["combine"] = "pooled"
    with pytest.raises(UsageError, match="level cannot be used"):
        function(*arguments, **options, level=1.0)
