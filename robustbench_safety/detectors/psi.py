"""PSI, the probability score interpreter: are the raw outputs, taken together, usual for any class?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.detectors.checks import checked_labels, checked_logits
from robustbench_safety.detectors.node_densities import DENSITIES, Density, NodeDensities
from robustbench_safety.errors import UsageError
from robustbench_safety.metrics.checks import FloatArray, IntArray, fraction_option

__all__ = ["PSI", "Interpretation", "Joint", "Verdict", "Wrong", "fit_psi"]

Verdict = Literal["known", "unsure", "outlier"]
#: Over which samples the value of a node is taken as that of a wrong answer.
Wrong = Literal["other_class", "misclassified"]
#: How the nodes are read together.
Joint = Literal["ratio", "product"]


@dataclass(frozen=True, kw_only=True)
class Interpretation:
    """What the outputs of each sample suggest."""

    verdicts: NDArray[np.str_]
    """``known``, ``unsure`` between classes or ``outlier``: a ``Verdict`` each, [N]."""
    classes: IntArray
    """The class of a known sample, -1 of the others, [N]."""


@dataclass(frozen=True, kw_only=True)
class PSI:
    """How each output node's value is distributed where its class is right and where it is wrong."""

    right: NodeDensities
    wrong: NodeDensities
    joint: Joint
    n_classes: int
    lowest: float
    """Support from which on a class is supported."""

    def support(self, logits: FloatArray) -> FloatArray:
        """Return the support of each class, a logarithm [N, K].

        Args:
            logits: [N, K].

        Raises:
            UndefinedMetricError: Empty, NaN or infinite, or of other classes.
        """
        values = checked_logits(logits, n_classes=self.n_classes)
        return _support(self.right.log_density(values), self.wrong.log_density(values), self.joint)

    def score(self, logits: FloatArray) -> FloatArray:
        """Return minus the support of the class that has most; rises with out-of-distribution.

        Args:
            logits: [N, K].

        Returns:
            [N]; of ``ratio`` 0 or more, else unbounded.

        Raises:
            UndefinedMetricError: As of ``support``.
        """
        return np.asarray(-self.support(logits).max(axis=1))

    def interpret(self, logits: FloatArray) -> Interpretation:
        """Return for each sample whether it is known, the network unsure, or an outlier.

        Known: one class is supported. Unsure: several are. Outlier: none is.

        Args:
            logits: [N, K].

        Raises:
            UndefinedMetricError: As of ``support``.
        """
        support = self.support(logits)
        n_supported = (support >= self.lowest).sum(axis=1)
        verdicts = np.array(["outlier", "known", "unsure"])[np.minimum(n_supported, 2)]
        return Interpretation(
            verdicts=verdicts, classes=np.where(n_supported == 1, support.argmax(axis=1), -1)
        )


def fit_psi(
    logits: FloatArray,
    labels: IntArray,
    *,
    density: Density = "histogram",
    wrong: Wrong = "other_class",
    joint: Joint = "ratio",
    outlier_share: float = 0.05,
) -> PSI:
    """Take how each output node is distributed over training samples, right and wrong apart.

    Node k's values where its class is right are those on samples of class k that are classified so.

    Args:
        logits: Of training images, [N, K].
        labels: Their true classes, [N].
        density: ``histogram``: 50 bins over the node's range, one sample added to each; ``kde``: Gaussian
            kernels of Scott's width; ``normal``: mean and standard deviation.
        wrong: Where node k is wrong: on samples of every ``other_class``, or on those of them alone that are
            ``misclassified``, of which a network may have next to none among its training images.
        joint: Support of class c: ``ratio`` log r_c / (r_c + w_c), with the densities r_c and w_c of node c's
            value where c is right and where it is wrong; ``product`` log r_c + sum of log w_j over the
            other nodes, as if nodes were independent.
        outlier_share: A class is supported from that support on which all but this share of the rightly
            classified training samples have for some class; in (0, 1).

    Raises:
        UndefinedMetricError: Empty, NaN or infinite; a class without a sample, or a node with fewer than two
            values that are right or wrong; or a node that has one value for every sample.
        UsageError: An option is none of those named, or out of range.

    Conventions:
        Published are the idea and its parts: the distribution of each node for correct and for wrong,
        established on training samples; that the same value supports different classes differently; that all
        classes are looked at together; and three answers. The form of the density, what counts as wrong, how
        nodes are joined, the bound and the score were not verified and are this package's: no number can be
        held against the paper's. A spread below a thousandth of the node's range counts as that. Not the
        population stability index.

    Source:
        Matuszewski and Sintorn, Interpreting deep learning output for out-of-distribution detection, 2022
        (arXiv 2211.03637), abstract.

    Example:
        >>> import numpy as np
        >>> logits = np.array([[4.0, 0.0], [6.0, 0.0], [5.0, 1.0], [0.0, 4.0], [0.0, 6.0], [1.0, 5.0]])
        >>> fitted = fit_psi(logits, np.array([0, 0, 0, 1, 1, 1]), density="normal")
        >>> fitted.interpret(np.array([[5.0, 0.3], [5.0, 5.0], [0.0, 0.0]])).verdicts.tolist()
        ['known', 'unsure', 'outlier']
    """
    values = checked_logits(logits)
    truth = checked_labels(labels, values, n_classes=values.shape[1])
    _known("density", density, tuple(DENSITIES))
    _known("wrong", wrong, get_args(Wrong))
    _known("joint", joint, get_args(Joint))
    fraction_option(outlier_share, "outlier_share")
    own = truth[:, None] == np.arange(values.shape[1])
    correct = values.argmax(axis=1) == truth
    other = ~own if wrong == "other_class" else ~own & ~correct[:, None]
    right_densities = DENSITIES[density](values, own & correct[:, None], "where its class is right")
    wrong_densities = DENSITIES[density](values, other, "where its class is wrong")
    usual = values[correct]
    support = _support(right_densities.log_density(usual), wrong_densities.log_density(usual), joint)
    return PSI(
        right=right_densities,
        wrong=wrong_densities,
        joint=joint,
        n_classes=values.shape[1],
        lowest=float(np.quantile(support.max(axis=1), outlier_share)),
    )


def _support(right: FloatArray, wrong: FloatArray, joint: Joint) -> FloatArray:
    """Return the support [N, K] of log-densities [N, K]."""
    if joint == "ratio":
        return np.asarray(right - np.logaddexp(right, wrong))
    return np.asarray(right + wrong.sum(axis=1, keepdims=True) - wrong)


def _known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} cannot be used", expected=" or ".join(known), found=repr(value))
