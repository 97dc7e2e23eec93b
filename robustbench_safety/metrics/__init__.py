"""Metrics: plain functions from arrays to numbers, with float64 inside and no model in sight.

A value that does not exist is an ``UndefinedMetricError``, never 0 or NaN, and the order of the samples
never matters (but for ties in the ``_hendrycks`` functions, which keep the published sort).
"""

from robustbench_safety.metrics.absolute_gap_intervals import (
    ece_interval,
    mean_absolute_calibration_interval,
)
from robustbench_safety.metrics.accuracy import (
    RiskCoverageCurve,
    aurc,
    aurra,
    error_detection_auroc,
    error_rate,
    excess_aurc,
    risk_coverage_curve,
    set_error_rate,
    top_k_error,
)
from robustbench_safety.metrics.calibration import (
    maximum_calibration_error,
    maximum_calibration_error_hendrycks,
    mean_absolute_calibration_error,
    mean_absolute_calibration_error_hendrycks,
    rms_calibration_error,
    rms_calibration_error_hendrycks,
)
from robustbench_safety.metrics.calibration_intervals import rms_calibration_interval
from robustbench_safety.metrics.consistency import (
    flip_rate,
    flips_per_clip,
    mean_flip_rate,
    mean_top5_distance,
    top5_distance,
    top5_distances_per_clip,
    zipf_distance,
)
from robustbench_safety.metrics.corruption import (
    WorstCorruption,
    corruption_error,
    mean_corruption_error,
    relative_mean_corruption_error,
    worst_corruption,
)
from robustbench_safety.metrics.detection import aupr_in, aupr_out, auroc, fpr_at_tpr, fpr_at_tpr_hendrycks
from robustbench_safety.metrics.detection_intervals import (
    aupr_in_interval,
    aupr_interval,
    auroc_interval,
    fpr_hendrycks_interval,
    fpr_interval,
)
from robustbench_safety.metrics.differences import independent_difference
from robustbench_safety.metrics.intervals import (
    Interval,
    PairedDifference,
    bootstrap_interval,
    clopper_pearson_interval,
    paired_difference,
    two_sample_bootstrap_interval,
    wilson_interval,
)
from robustbench_safety.metrics.overlapping import mean_over_sets_interval
from robustbench_safety.metrics.paired_detection import delong_test, paired_auroc_difference
from robustbench_safety.metrics.proper_scores import (
    brier_score,
    cross_entropies,
    negative_log_likelihood,
    soft_label_cross_entropy,
)
from robustbench_safety.metrics.reliability import (
    ReliabilityBins,
    expected_calibration_error,
    reliability_bins,
    soft_f1_score,
)
from robustbench_safety.metrics.selective import (
    accuracy_at_coverage,
    augrc,
    prediction_rejection_ratio,
    unknown_aurc,
    unknown_aurc_by_score,
)
from robustbench_safety.metrics.selective_intervals import (
    accuracy_at_coverage_interval,
    selective_interval,
)
from robustbench_safety.metrics.shape import category_decisions, cue_accuracy, cue_hits, shape_bias
from robustbench_safety.metrics.shift import (
    AccuracyBand,
    AccuracyLine,
    accuracy_line_band,
    effective_robustness,
    fit_accuracy_line,
    relative_robustness,
)
from robustbench_safety.metrics.shift_intervals import effective_robustness_interval
from robustbench_safety.metrics.significance import (
    PairedTest,
    holm_adjusted,
    intervals_test,
    mcnemar_test,
    paired_bootstrap_test,
    sign_flip_test,
)
from robustbench_safety.metrics.temperature import (
    CrossFittedTemperatures,
    cross_fit_temperatures,
    fit_temperature,
    scaled_logits,
)
from robustbench_safety.metrics.unknown_intervals import unknown_aurc_interval

__all__ = [
    "AccuracyBand",
    "AccuracyLine",
    "CrossFittedTemperatures",
    "Interval",
    "PairedDifference",
    "PairedTest",
    "ReliabilityBins",
    "RiskCoverageCurve",
    "WorstCorruption",
    "accuracy_at_coverage",
    "accuracy_at_coverage_interval",
    "accuracy_line_band",
    "augrc",
    "aupr_in",
    "aupr_in_interval",
    "aupr_interval",
    "aupr_out",
    "aurc",
    "auroc",
    "auroc_interval",
    "aurra",
    "bootstrap_interval",
    "brier_score",
    "category_decisions",
    "clopper_pearson_interval",
    "corruption_error",
    "cross_entropies",
    "cross_fit_temperatures",
    "cue_accuracy",
    "cue_hits",
    "delong_test",
    "ece_interval",
    "effective_robustness",
    "effective_robustness_interval",
    "error_detection_auroc",
    "error_rate",
    "excess_aurc",
    "expected_calibration_error",
    "fit_accuracy_line",
    "fit_temperature",
    "flip_rate",
    "flips_per_clip",
    "fpr_at_tpr",
    "fpr_at_tpr_hendrycks",
    "fpr_hendrycks_interval",
    "fpr_interval",
    "holm_adjusted",
    "independent_difference",
    "intervals_test",
    "maximum_calibration_error",
    "maximum_calibration_error_hendrycks",
    "mcnemar_test",
    "mean_absolute_calibration_error",
    "mean_absolute_calibration_error_hendrycks",
    "mean_absolute_calibration_interval",
    "mean_corruption_error",
    "mean_flip_rate",
    "mean_over_sets_interval",
    "mean_top5_distance",
    "negative_log_likelihood",
    "paired_auroc_difference",
    "paired_bootstrap_test",
    "paired_difference",
    "prediction_rejection_ratio",
    "relative_mean_corruption_error",
    "relative_robustness",
    "reliability_bins",
    "risk_coverage_curve",
    "rms_calibration_error",
    "rms_calibration_error_hendrycks",
    "rms_calibration_interval",
    "scaled_logits",
    "selective_interval",
    "set_error_rate",
    "shape_bias",
    "sign_flip_test",
    "soft_f1_score",
    "soft_label_cross_entropy",
    "top5_distance",
    "top5_distances_per_clip",
    "top_k_error",
    "two_sample_bootstrap_interval",
    "unknown_aurc",
    "unknown_aurc_by_score",
    "unknown_aurc_interval",
    "wilson_interval",
    "worst_corruption",
    "zipf_distance",
]
