"""Disagreement of an ensemble's members."""

from __future__ import annotations

from robustbench_safety.errors import UndefinedMetricError
from robustbench_safety.metrics.checks import FloatArray, finite

__all__ = ["disagreement_score"]


def disagreement_score(mutual_information: FloatArray) -> FloatArray:
    """Mutual information of the class and the member, as an ensemble stores it; rises with OOD.

    The entropy of the mean probability less the mean entropy of the members': what they do not agree on.

    Args:
        mutual_information: [N], in nats.

    Returns:
        [N], the same, in [0, ln of the number of members].

    Raises:
        UndefinedMetricError: Empty, NaN, infinite or below 0.

    Source:
        Malinin and Gales, Predictive Uncertainty Estimation via Prior Networks, 2018, eq. 6; the ensemble is
        Lakshminarayanan, Pritzel and Blundell's, 2017.

    Example:
        >>> import numpy as np
        >>> disagreement_score(np.array([0.0, 0.5]))
        array([0. , 0.5])
    """
    array = finite(mutual_information, "mutual_information")
    if array.min() < 0:
        raise UndefinedMetricError(
            "mutual_information is below 0", expected="0 nats or more", found=f"{array.min():g}"
        )
    return array
