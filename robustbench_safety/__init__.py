"""Scores how safe an image classifier is beyond clean accuracy.

Corruptions, consistency, adversaries, calibration and anomaly detection. The names below are loaded when they
are first used: importing the package loads neither torch nor pandas.

    import robustbench_safety as rbs
    evaluation = rbs.score("cifar:resnet20", suite="cifar10-clean", checkpoint="resnet20.th", data="data")
    evaluation.record.scores["clean_error"].value
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustbench_safety import corruptions, metrics
    from robustbench_safety.data import DataRoot, load_dataset
    from robustbench_safety.evaluation import Evaluation, predict, rescore, score
    from robustbench_safety.models import Model, load_model
    from robustbench_safety.predictions import read_predictions
    from robustbench_safety.reporting.gate.checking import check
    from robustbench_safety.reporting.gate.comparing import compare
    from robustbench_safety.suites import load_suite

__all__ = [
    "DataRoot",
    "Evaluation",
    "Model",
    "__version__",
    "check",
    "compare",
    "corruptions",
    "load_dataset",
    "load_model",
    "load_suite",
    "metrics",
    "predict",
    "read_predictions",
    "rescore",
    "score",
]

#: Where each public name lives; None for a subpackage.
_LAZY = {
    "DataRoot": "data",
    "Evaluation": "evaluation",
    "Model": "models",
    "check": "reporting.gate.checking",
    "compare": "reporting.gate.comparing",
    "corruptions": None,
    "load_dataset": "data",
    "load_model": "models",
    "load_suite": "suites",
    "metrics": None,
    "predict": "evaluation",
    "read_predictions": "predictions",
    "rescore": "evaluation",
    "score": "evaluation",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return metadata.version("robustbench-safety")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _LAZY[name]
    if home is None:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
