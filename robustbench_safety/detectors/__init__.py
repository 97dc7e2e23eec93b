"""OOD scores; higher means more out-of-distribution, always."""

from __future__ import annotations

from robustbench_safety.detectors.energy import energy_score
from robustbench_safety.detectors.entropy import entropy_score
from robustbench_safety.detectors.gen import gen_score
from robustbench_safety.detectors.max_logit import max_logit_score
from robustbench_safety.detectors.msp import msp_score
from robustbench_safety.detectors.table import DETECTORS, NEED_LOGITS, ood_score

__all__ = [
    "DETECTORS",
    "NEED_LOGITS",
    "energy_score",
    "entropy_score",
    "gen_score",
    "max_logit_score",
    "msp_score",
    "ood_score",
]
