"""How much worse a candidate may be, column by column, in the units of the tables: points of a percentage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, RootModel

from robustbench_safety.errors import UnknownNameError, UsageError
from robustbench_safety.files import read_yaml
from robustbench_safety.records import Name, ScoreRecord

__all__ = ["POINTS", "read_tolerances", "tolerances_in_units"]

#: Points of a percentage in a fraction.
POINTS = 100.0


class _Tolerances(RootModel[dict[Name, Annotated[float, Field(ge=0, allow_inf_nan=False)]]]):
    """``column: points`` in YAML."""

    model_config = ConfigDict(strict=True)


def read_tolerances(file: str | Path | None, given: Sequence[str] = ()) -> dict[str, float]:
    """Return the tolerances of a file and those of the command line, which go before them.

    Args:
        file: YAML that maps columns to points; None for none.
        given: ``COLUMN=POINTS`` each.

    Returns:
        By column, in the units of the tables.

    Raises:
        UsageError: One is not of that form, or no number of at least 0; or a column is given twice.
        StorageError: The file cannot be read.
        FileFormatError: It holds something else.
    """
    found = dict(read_yaml(Path(file), _Tolerances).root) if file is not None else {}
    own: dict[str, float] = {}
    for text in given:
        column, separator, points = text.partition("=")
        if not separator or not column:
            raise UsageError(f"--tolerance {text}", expected="COLUMN=POINTS, as corruptions=0.5", found=text)
        if column in own:
            raise UsageError(f"--tolerance {column}", expected="one tolerance a column", found="two")
        try:
            own[column] = float(points)
        except ValueError as error:
            raise UsageError(f"--tolerance {column}", expected=_NUMBER, found=points or "nothing") from error
    return {**found, **own}


_NUMBER = "a number of at least 0, in the table's units: points of a percentage, or nats"


def tolerances_in_units(points: Mapping[str, float], record: ScoreRecord) -> dict[str, float]:
    """Return the tolerance of every column of a record, in the column's unit; 0 where none is given.

    Args:
        points: By column, in the units of the tables.
        record: Whose columns.

    Raises:
        UnknownNameError: A column is none of the record's.
        UsageError: A tolerance is negative, NaN or infinite.
    """
    for column, value in points.items():
        if column not in record.columns:
            fix = f"the columns of {record.suite.name} are {', '.join(record.columns)}"
            raise UnknownNameError.among("column", column, record.columns, fix=fix)
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"tolerance of {column}", expected=_NUMBER, found=str(value))
    scale = {name: POINTS if record.scores[name].unit == "fraction" else 1.0 for name in record.columns}
    return {name: points.get(name, 0.0) / scale[name] for name in record.columns}
