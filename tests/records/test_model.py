"""What a model's preprocessing may say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from robustbench_safety.records import Preprocessing

FIELDS = {
    "input_size": (32, 32),
    "resize": None,
    "crop": None,
    "interpolation": "bilinear",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
}


def test_preprocessing_is_written_out_in_full() -> None:
    assert Preprocessing.model_validate(FIELDS).model_dump() == FIELDS
    for name in FIELDS:
        with pytest.raises(ValidationError, match="Field required"):
            Preprocessing.model_validate({key: value for key, value in FIELDS.items() if key != name})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": (0.5, 0.0, 0.5)}, "std must be above 0"),
        ({"std": (0.5, -1.0, 0.5)}, "std must be above 0"),
        ({"std": (0.5, float("nan"), 0.5)}, "finite"),
        ({"mean": (0.5, 1.5, 0.5)}, "less than or equal to 1"),
        ({"mean": (0.5, 0.5)}, "Field required"),
        ({"input_size": None, "crop": "center"}, "a resize or crop needs an input_size"),
        ({"input_size": None, "resize": 256}, "a resize or crop needs an input_size"),
        ({"input_size": (0, 32)}, "greater than 0"),
        ({"resize": 100_000}, "less than or equal to 4096"),
        ({"interpolation": "cubic"}, "'nearest', 'bilinear'"),
        ({"crop": "random"}, "'center'"),
    ],
)
def test_preprocessing_that_cannot_be_done_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Preprocessing.model_validate({**FIELDS, **change})
