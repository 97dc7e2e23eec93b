"""The detectors by name, and what each needs: a new one is one small file beside this and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.detectors.ash import ash_b_score, ash_p_score, ash_s_score, scale_score
from robustbench_safety.detectors.disagreement import disagreement_score
from robustbench_safety.detectors.energy import energy_score
from robustbench_safety.detectors.entropy import entropy_score
from robustbench_safety.detectors.gen import gen_score
from robustbench_safety.detectors.kl_matching import fit_kl_matching
from robustbench_safety.detectors.knn import fit_knn
from robustbench_safety.detectors.mahalanobis import fit_mahalanobis, fit_relative_mahalanobis
from robustbench_safety.detectors.max_logit import max_logit_score
from robustbench_safety.detectors.mcm import mcm_score
from robustbench_safety.detectors.msp import msp_score
from robustbench_safety.detectors.odin import odin_score
from robustbench_safety.detectors.psi import fit_psi
from robustbench_safety.detectors.react import fit_react
from robustbench_safety.detectors.vim import fit_vim
from robustbench_safety.errors import UndefinedMetricError, UnknownNameError, UsageError
from robustbench_safety.metrics.checks import FloatArray, IntArray

__all__ = [
    "DETECTORS",
    "NEED_LOGITS",
    "Detector",
    "DetectorInputs",
    "Option",
    "OptionValue",
    "Scorer",
    "fit_detector",
    "ood_score",
]

OptionValue = int | float | str
Column = Literal["logits", "features", "mutual_information"]
Input = Literal["logits", "features", "mutual_information", "labels", "weight", "bias", "logit_scale"]


@dataclass(frozen=True, kw_only=True)
class DetectorInputs:
    """What a detector may be given of some images and of the network; it asks for what it needs."""

    logits: FloatArray | None = None
    """[N, K]; for a detector with ``perturbed_by`` those of the perturbed images."""
    features: FloatArray | NDArray[np.float32] | None = None
    """Penultimate, [N, D]."""
    mutual_information: FloatArray | None = None
    """Of an ensemble's members, [N]."""
    labels: IntArray | None = None
    """True classes, [N]."""
    weight: FloatArray | None = None
    """Of the last layer, [K, D]; of a class subset the rows of its classes."""
    bias: FloatArray | None = None
    """Of the last layer, [K]."""
    logit_scale: float | None = None
    """Of a zero-shot classifier."""

    def take(self, names: tuple[Input, ...], *, of: str) -> dict[str, Any]:
        """Return the inputs called ``names``.

        Raises:
            UndefinedMetricError: One of them was not given.
        """
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise UndefinedMetricError(f"{of} needs {' and '.join(missing)}, and there is none")
        return {name: getattr(self, name) for name in names}


class Option(NamedTuple):
    """A setting of a detector."""

    kind: type[int] | type[float] | type[str]
    default: OptionValue | None
    """None where the detector has a rule of its own for it."""


class _Fitted(Protocol):
    @property
    def score(self) -> Callable[..., FloatArray]: ...


@dataclass(frozen=True, kw_only=True)
class Detector:
    """What a detector needs, and its functions: their parameters have the names of inputs and options."""

    takes: tuple[Input, ...]
    """What is scored, the stored column first."""
    score: Callable[..., FloatArray] | None = None
    """Of a detector that is not fitted; the ``score`` of what ``fitting`` returns has the same parameters,
    but for the options."""
    fit: Literal["fit", "tune"] | None = None
    """On which images it is fitted: training or held-out in-distribution ones; None for none."""
    fitting: Callable[..., _Fitted] | None = None
    fitted_on: tuple[Input, ...] = ()
    """What ``fitting`` takes of them."""
    options: Mapping[str, Option] = field(default_factory=dict)
    sees_shift: bool = False
    """Whether a number added to all logits of an image moves its score, which softmax takes away. Of
    probabilities such scores mean nothing: the energy of their logarithms is 0 for every image."""
    perturbed_by: Literal["odin"] | None = None
    """The pass that makes the perturbed images whose logits are scored."""

    @property
    def needs(self) -> Column:
        """The stored column that is scored."""
        column = self.takes[0]
        assert column in ("logits", "features", "mutual_information")  # noqa: S101  # a test reads the table
        return column

    @property
    def labels(self) -> bool:
        """Whether it is fitted on labelled images."""
        return "labels" in self.fitted_on

    @property
    def last_layer(self) -> bool:
        """Whether the last layer's weight and bias are needed, to fit or to score."""
        return "weight" in self.takes + self.fitted_on

    @property
    def logit_scale(self) -> bool:
        """Whether it is for zero-shot classifiers alone."""
        return "logit_scale" in self.takes


_LAYER: tuple[Input, ...] = ("weight", "bias")


def _shaped(score: Callable[..., FloatArray], *, percentile: float) -> Detector:
    """Describe an energy of features that are shaped image by image."""
    options = {"percentile": Option(float, percentile)}
    return Detector(takes=("features", *_LAYER), score=score, options=options)


DETECTORS: dict[str, Detector] = {
    "msp": Detector(takes=("logits",), score=msp_score),
    "maxlogit": Detector(takes=("logits",), score=max_logit_score, sees_shift=True),
    "energy": Detector(takes=("logits",), score=energy_score, sees_shift=True),
    "entropy": Detector(takes=("logits",), score=entropy_score),
    "gen": Detector(takes=("logits",), score=gen_score),
    "mcm": Detector(takes=("logits", "logit_scale"), score=mcm_score, options={"tau": Option(float, 1.0)}),
    "odin": Detector(
        takes=("logits",),
        score=odin_score,
        options={"temperature": Option(float, 1000.0)},
        perturbed_by="odin",
    ),
    "disagreement": Detector(takes=("mutual_information",), score=disagreement_score),
    "kl_matching": Detector(takes=("logits",), fit="tune", fitting=fit_kl_matching, fitted_on=("logits",)),
    "psi": Detector(
        takes=("logits",),
        fit="fit",
        fitting=fit_psi,
        fitted_on=("logits", "labels"),
        options={
            "density": Option(str, "histogram"),
            "wrong": Option(str, "other_class"),
            "joint": Option(str, "ratio"),
            "outlier_share": Option(float, 0.05),
        },
    ),
    "mahalanobis": Detector(
        takes=("features",), fit="fit", fitting=fit_mahalanobis, fitted_on=("features", "labels")
    ),
    "relative_mahalanobis": Detector(
        takes=("features",), fit="fit", fitting=fit_relative_mahalanobis, fitted_on=("features", "labels")
    ),
    "knn": Detector(
        takes=("features",),
        fit="fit",
        fitting=fit_knn,
        fitted_on=("features",),
        options={"k": Option(int, 50)},
    ),
    "vim": Detector(
        takes=("features",),
        fit="fit",
        fitting=fit_vim,
        fitted_on=("features", *_LAYER),
        options={"dimension": Option(int, None)},
    ),
    "react": Detector(
        takes=("features", *_LAYER),
        fit="tune",
        fitting=fit_react,
        fitted_on=("features",),
        options={"percentile": Option(float, 90.0)},
    ),
    "ash_p": _shaped(ash_p_score, percentile=65.0),
    "ash_b": _shaped(ash_b_score, percentile=90.0),
    "ash_s": _shaped(ash_s_score, percentile=65.0),
    "scale": _shaped(scale_score, percentile=85.0),
}

#: Those that see a number added to all logits of an image.
NEED_LOGITS = frozenset(name for name, detector in DETECTORS.items() if detector.sees_shift)

Scorer = Callable[[DetectorInputs], FloatArray]


def fit_detector(
    name: str, *, on: DetectorInputs | None = None, options: Mapping[str, OptionValue] | None = None
) -> Scorer:
    """Return the function that scores images by the detector called ``name``; higher is more OOD.

    Args:
        name: One of ``DETECTORS``.
        on: The images it is fitted on, for a detector that is.
        options: Settings, where they are not the defaults.

    Raises:
        UnknownNameError: There is no such detector, or it has no such option.
        UsageError: An option cannot be used, or there are images for a detector that is not fitted.
        UndefinedMetricError: What it needs is missing, or it has no value on it.

    Example:
        >>> import numpy as np
        >>> scorer = fit_detector("knn", on=DetectorInputs(features=np.eye(2)), options={"k": 1})
        >>> scorer(DetectorInputs(features=np.array([[3.0, 0.0]])))
        array([0.])
    """
    detector = _detector(name)
    settings = _checked_options(name, detector, options or {})
    if detector.fitting is None:
        if on is not None:
            raise UsageError(f"{name} is not fitted", expected="no images to fit it on", found="some")
        assert detector.score is not None  # noqa: S101  # a test reads the table
        score = detector.score
        return lambda inputs: _finite(name, score(**inputs.take(detector.takes, of=name), **settings))
    if on is None:
        images = "training" if detector.fit == "fit" else "held-out in-distribution"
        raise UndefinedMetricError(f"{name} is fitted on {images} images, and there are none")
    fitted = detector.fitting(**on.take(detector.fitted_on, of=f"fitting {name}"), **settings)
    return lambda inputs: _finite(name, fitted.score(**inputs.take(detector.takes, of=name)))


def _finite(name: str, scores: FloatArray) -> FloatArray:
    """Refuse scores that numbers too large or too small for float64 have come out of."""
    if not np.isfinite(scores).all():
        raise UndefinedMetricError(
            f"{name} gives scores that are not finite",
            expected="logits or features of usual size",
            found=f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores",
        )
    return scores


def ood_score(name: str, logits: FloatArray) -> FloatArray:
    """Return the scores of the detector called ``name``, one that needs stored logits alone.

    Raises:
        UnknownNameError: There is none.
        UndefinedMetricError: It needs more, or has no value on these.
    """
    if _detector(name).perturbed_by is not None:
        raise UndefinedMetricError(f"{name} needs the logits of perturbed images")
    return fit_detector(name)(DetectorInputs(logits=logits))


def _detector(name: str) -> Detector:
    if name not in DETECTORS:
        raise UnknownNameError.among("detector", name, DETECTORS)
    return DETECTORS[name]


def _checked_options(
    name: str, detector: Detector, options: Mapping[str, OptionValue]
) -> dict[str, OptionValue]:
    """Return the options that are given; the defaults are those of the functions themselves."""
    for key, value in options.items():
        if key not in detector.options:
            raise UnknownNameError.among(f"option of {name}", key, detector.options)
        kind = detector.options[key].kind
        fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
        if not fits or isinstance(value, bool):
            raise UsageError(
                f"{key} of {name} cannot be used",
                expected=f"a value of type {kind.__name__}",
                found=repr(value),
            )
    return dict(options)
