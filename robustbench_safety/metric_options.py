"""The options of metrics that suites write: which a metric has, and what each may be.

They are checked when a suite is opened. A metric itself would refuse them too, but hours later, when all
images have been shown.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import get_args

from robustbench_safety.errors import FileFormatError, UnknownNameError, UsageError
from robustbench_safety.metrics.checks import count_option, fraction_option
from robustbench_safety.metrics.reliability import Binning
from robustbench_safety.metrics.shape import Cue
from robustbench_safety.records import Cell

__all__ = ["NEEDED", "RULES", "check_options"]

Rule = Callable[..., None]

#: Arguments of metrics that are measured, not written.
_MEASURED = ("correct_in",)


def _one_of(value: object, name: str, *, known: tuple[str, ...]) -> None:
    """Refuse an option that is none of the words it may be."""
    if value not in known:
        raise UsageError(f"{name} cannot be used", expected=" or ".join(known), found=repr(value))


#: By name of the option, which means the same in every metric: (value, name), raises UsageError.
RULES: dict[str, Rule] = {
    "base_rate": fraction_option,
    "bin_size": count_option,
    "binning": partial(_one_of, known=get_args(Binning)),
    "bins": count_option,
    "coverage": partial(fraction_option, one_allowed=True),
    "cue": partial(_one_of, known=get_args(Cue)),
    "k": count_option,
    "tpr": partial(fraction_option, one_allowed=True),
}

#: Options without a default that would do.
NEEDED = ("coverage", "cue", "k")


def check_options(cell: Cell, metric: Callable[..., float]) -> None:
    """Refuse options that the metric of a cell does not have, cannot use or lacks.

    Args:
        cell: Of a suite.
        metric: What makes its number; its options are keyword-only.

    Raises:
        UnknownNameError: The metric has no such option; near names are shown.
        FileFormatError: An option cannot be used, or is missing.
    """
    parameters = inspect.signature(metric).parameters.values()
    known = {one.name for one in parameters if one.kind is one.KEYWORD_ONLY} - set(_MEASURED)
    fix = f"correct cell {cell.id}"
    for name, value in cell.options.items():
        if name not in known:
            raise UnknownNameError.among(f"option of {cell.metric}", name, sorted(known), fix=fix)
        try:
            RULES[name](value, name)
        except UsageError as error:
            where = f"cell {cell.id}: option {name} of {cell.metric}"
            raise FileFormatError(where, expected=error.expected, found=error.found) from error
    if missing := sorted(known.intersection(NEEDED) - set(cell.options)):
        raise FileFormatError(
            f"cell {cell.id}: metric {cell.metric}", expected=f"option {missing[0]}", found="none", fix=fix
        )
