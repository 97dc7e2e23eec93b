"""OOD scores; higher means more out-of-distribution, always."""

from __future__ import annotations

from robustbench_safety.detectors.ash import ash_b_score, ash_p_score, ash_s_score, scale_score
from robustbench_safety.detectors.disagreement import disagreement_score
from robustbench_safety.detectors.energy import energy_score
from robustbench_safety.detectors.entropy import entropy_score
from robustbench_safety.detectors.gen import gen_score
from robustbench_safety.detectors.kl_matching import KLMatching, fit_kl_matching
from robustbench_safety.detectors.knn import NearestNeighbours, fit_knn
from robustbench_safety.detectors.mahalanobis import (
    Gaussian,
    Mahalanobis,
    RelativeMahalanobis,
    fit_mahalanobis,
    fit_relative_mahalanobis,
)
from robustbench_safety.detectors.max_logit import max_logit_score
from robustbench_safety.detectors.mcm import mcm_score
from robustbench_safety.detectors.msp import msp_score
from robustbench_safety.detectors.odin import odin_score
from robustbench_safety.detectors.psi import PSI, Interpretation, fit_psi
from robustbench_safety.detectors.react import ReAct, fit_react
from robustbench_safety.detectors.table import (
    DETECTORS,
    NEED_LOGITS,
    Detector,
    DetectorInputs,
    Option,
    OptionValue,
    Scorer,
    fit_detector,
    ood_score,
)
from robustbench_safety.detectors.vim import ViM, fit_vim

__all__ = [
    "DETECTORS",
    "NEED_LOGITS",
    "PSI",
    "Detector",
    "DetectorInputs",
    "Gaussian",
    "Interpretation",
    "KLMatching",
    "Mahalanobis",
    "NearestNeighbours",
    "Option",
    "OptionValue",
    "ReAct",
    "RelativeMahalanobis",
    "Scorer",
    "ViM",
    "ash_b_score",
    "ash_p_score",
    "ash_s_score",
    "disagreement_score",
    "energy_score",
    "entropy_score",
    "fit_detector",
    "fit_kl_matching",
    "fit_knn",
    "fit_mahalanobis",
    "fit_psi",
    "fit_react",
    "fit_relative_mahalanobis",
    "fit_vim",
    "gen_score",
    "max_logit_score",
    "mcm_score",
    "msp_score",
    "odin_score",
    "ood_score",
    "scale_score",
]
