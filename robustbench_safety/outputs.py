"""What the metrics read: one condition's predictions, seen through a class subset, each column made once."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from robustbench_safety import metrics
from robustbench_safety.corruptions import compare_rule
from robustbench_safety.data.label_sets import Cues, Labels
from robustbench_safety.errors import IncompatiblePredictionsError, UndefinedMetricError
from robustbench_safety.labels import project_logits, subset_positions
from robustbench_safety.predictions import Predictions

__all__ = ["Outputs"]

Number = TypeVar("Number", bound=np.generic)
Floats = NDArray[np.float64]

#: Classes whose ranks a top-5 distance compares.
_BEST = 5


class Outputs:
    """What the metrics read, from one condition's predictions seen through a class subset.

    Args:
        predictions: One condition.
        columns: Columns of the subset int64 [C], None for the whole label space.
        truth: Labels beyond the one class that was stored with each image; None where that is all.
        cues: Categories of the images' shapes and textures; None where they have none.
    """

    def __init__(
        self,
        predictions: Predictions,
        columns: NDArray[np.int64] | None = None,
        *,
        truth: Labels | None = None,
        cues: Cues | None = None,
    ) -> None:
        self._predictions, self._columns, self._truth, self._cues = predictions, columns, truth, cues

    @cached_property
    def _position(self) -> NDArray[np.int64]:
        """Index in the subset of each row's label; -1 outside it and for OOD images."""
        labels = self._predictions.labels
        if self._columns is None:
            return labels
        position = subset_positions(self._columns, self._predictions.header.n_classes)
        return np.where(labels >= 0, position[labels], -1)

    @cached_property
    def kept(self) -> NDArray[np.bool_]:
        """Rows that are measured: not images of classes outside the subset, nor any that nobody labelled."""
        if self._truth is not None:
            return np.asarray(self._cut(self._truth.right).any(axis=1))
        return (self._position >= 0) | (self._predictions.labels < 0)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """True class as an index of the subset: [rows]; undefined where several are right."""
        if self._truth is not None:
            raise UndefinedMetricError(
                "an image may have several right classes here", expected="a metric of sets of classes"
            )
        return self._position[self.kept]

    @cached_property
    def right(self) -> NDArray[np.bool_] | None:
        """Which classes of the subset are right: [rows, C]; None where each image has its one class."""
        return None if self._truth is None else self._cut(self._truth.right)[self.kept]

    @cached_property
    def shares(self) -> Floats:
        """Share of people who chose each class: [rows, C]; undefined where nobody was counted."""
        if self._truth is None or self._truth.shares is None:
            raise UndefinedMetricError("nobody was asked", expected="labels with counts of people")
        return np.asarray(self._cut(self._truth.shares)[self.kept])

    def _cut(self, table: NDArray[Number]) -> NDArray[Number]:
        return table if self._columns is None else project_logits(table, self._columns)

    @cached_property
    def logits(self) -> Floats:
        """[rows, C]; refused where only a summary was stored."""
        rows = None if self.kept.all() else self.kept
        return self._predictions.logits(rows=rows, columns=self._columns)

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """Penultimate features as they are stored [rows, D]; undefined where none are."""
        stored = self._predictions.values.get("features")
        if stored is None:
            raise UndefinedMetricError(
                f"no penultimate features are stored of {self._predictions.header.condition.path}",
                expected="a network that ends in a linear layer",
            )
        return np.asarray(stored if self.kept.all() else stored[self.kept], dtype=np.float32)

    @cached_property
    def mutual_information(self) -> Floats:
        """Of the class and the member of an ensemble, in nats: [rows]; undefined where it is no ensemble."""
        stored = self._predictions.values.get("mutual_information")
        if stored is None:
            raise UndefinedMetricError("its members' disagreement is not stored", expected="an ensemble")
        return stored[self.kept].astype(np.float64)

    def _stored(self, name: str) -> Floats | None:
        """Return a stored column of all classes: [rows]; None where it is to be made from the logits."""
        if self._columns is not None:
            return None
        values = self._predictions.values.get(name)
        return None if values is None else values[self.kept].astype(np.float64)

    @property
    def summarised(self) -> bool:
        """Whether the columns of a summary stand for the logits."""
        return self._stored("label_nll") is not None

    @cached_property
    def label_nll(self) -> Floats:
        """Negative log probability of the right class, in nats: [rows]."""
        labels, stored = self.labels, self._stored("label_nll")
        if stored is not None:
            return stored
        found: Floats = logsumexp(self.logits, axis=1) - _at_label(self.logits, labels)
        return found

    @cached_property
    def squared_errors(self) -> Floats:
        """Squared distance of the probabilities to the right class; Brier's score is their mean: [rows]."""
        squares = self._stored("sum_squared_probabilities")
        if squares is None:
            squares = (self.probabilities**2).sum(axis=1)
        # Of an almost sure and right answer the terms cancel to a rounding error of either sign.
        found: Floats = np.maximum(squares - 2 * np.exp(-self.label_nll) + 1, 0.0)
        return found

    @property
    def n_ranked(self) -> int:
        """How many of the best classes are known."""
        kept = self._stored("top_logits")
        return int((self.logits if kept is None else kept).shape[1])

    @cached_property
    def label_rank(self) -> NDArray[np.int64]:
        """Classes before the right one, of equal logits the lower first; ``n_ranked`` or more if not kept."""
        labels = self.labels
        if self._stored("top_logits") is not None:
            hit = self._predictions.values["top_classes"][self.kept] == labels[:, None]
            return np.asarray(np.where(hit.any(axis=1), hit.argmax(axis=1), self.n_ranked), dtype=np.int64)
        of_label = _at_label(self.logits, labels)[:, None]
        earlier = np.arange(self.logits.shape[1]) < labels[:, None]
        before = (self.logits > of_label) | ((self.logits == of_label) & earlier)
        return np.asarray(before.sum(axis=1), dtype=np.int64)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """[rows]; undefined where top-1 classes alone are known and one lies outside the subset."""
        if self._columns is None:
            return self._predictions.predicted[self.kept]
        if self._predictions.header.columns == "top1":
            # A largest logit of all is also the largest of those beside it.
            found = self._predictions.predicted[self.kept]
            position = subset_positions(self._columns, self._predictions.header.n_classes)[found]
            if (outside := int((position < 0).sum())) > 0:
                raise UndefinedMetricError(
                    "only top-1 classes were handed in",
                    expected=f"logits, or top-1 classes among the {len(self._columns)} of the subset",
                    found=f"{outside} of {len(found)} outside it",
                )
            return position
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)

    @cached_property
    def correct(self) -> Floats:
        """1 where right, else 0: [rows]."""
        if self.right is not None:
            return self.right[np.arange(len(self.right)), self.predicted].astype(np.float64)
        return np.equal(self.predicted, self.labels).astype(np.float64)

    @cached_property
    def confidence(self) -> Floats:
        """Largest softmax probability: [rows]."""
        stored = self._stored("neg_log_confidence")
        if stored is not None:
            log_confidence = -stored
        else:
            log_confidence = self.logits.max(axis=1) - logsumexp(self.logits, axis=1)
        confidence: Floats = np.exp(log_confidence)
        return confidence

    @cached_property
    def probabilities(self) -> Floats:
        """[rows, C]."""
        out: Floats = np.exp(self.logits - logsumexp(self.logits, axis=1, keepdims=True))
        return out

    @cached_property
    def decisions(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Category decided for, that of the shape and that of the texture, [rows] each.

        Over the categories' classes, whatever the subset: others would not change the decision.
        """
        cues, kept = self._cues, self.kept
        if cues is None:
            raise UndefinedMetricError(
                "the images have no shape and texture",
                expected="a dataset with these group columns and a class map",
            )
        members = np.concatenate(cues.categories)
        logits = self._predictions.logits(rows=kept, columns=members)
        starts = np.cumsum([0, *map(len, cues.categories)])
        ranges = [np.arange(low, high) for low, high in itertools.pairwise(starts)]
        return metrics.category_decisions(logits, categories=ranges), cues.shape[kept], cues.texture[kept]

    @cached_property
    def clips(self) -> NDArray[np.int64]:
        """Predicted classes [V, F]."""
        return self.predicted.reshape(-1, self._frames)

    @cached_property
    def ranked(self) -> NDArray[np.int64]:
        """Five best classes of each frame, the best first, of equal logits the lower class: [V, F, 5]."""
        frames, stored = self._frames, self._predictions.values
        if self._columns is None and "top_logits" in stored:
            best = stored["top_classes"][self.kept, :_BEST].astype(np.int64)
        else:
            best = np.argsort(-self.logits, axis=1, kind="stable")[:, :_BEST]
        if best.shape[1] < _BEST:
            raise UndefinedMetricError(
                f"there are {best.shape[1]} classes",
                expected=f"at least {_BEST}, of which the best are ranked",
            )
        return best.reshape(-1, frames, _BEST)

    @property
    def _frames(self) -> int:
        frames = self._predictions.header.frames
        if frames < 2:
            raise IncompatiblePredictionsError(
                f"{self._predictions.header.condition.path} is no sequence",
                fix="a metric of consistency needs a dataset of sequences",
            )
        return frames

    @property
    def compare(self) -> Literal["previous", "first"]:
        """Which frame each frame of a sequence is compared with."""
        return compare_rule(self._predictions.header.condition.name)


def _at_label(values: Floats, labels: NDArray[np.int64]) -> Floats:
    return np.take_along_axis(values, labels[:, None], axis=1)[:, 0]
