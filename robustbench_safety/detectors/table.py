"""The detectors by name: a new one is one small file beside this and one line here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.detectors.energy import energy_score
from robustbench_safety.detectors.entropy import entropy_score
from robustbench_safety.detectors.gen import gen_score
from robustbench_safety.detectors.max_logit import max_logit_score
from robustbench_safety.detectors.msp import msp_score
from robustbench_safety.errors import UnknownNameError

__all__ = ["DETECTORS", "NEED_LOGITS", "ood_score"]

#: Every detector that needs stored logits alone.
DETECTORS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "msp": msp_score,
    "maxlogit": max_logit_score,
    "energy": energy_score,
    "entropy": entropy_score,
    "gen": gen_score,
}

#: Those that see a number added to all logits of an image, which softmax takes away: of probabilities the
#: energy is 0 for every image, and the largest logit no more than their logarithm.
NEED_LOGITS = frozenset({"maxlogit", "energy"})


def ood_score(name: str, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores of the detector called ``name``.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in DETECTORS:
        raise UnknownNameError.among("detector", name, DETECTORS)
    return DETECTORS[name](logits)
