"""What headers may say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from robustbench_safety.records import PredictionsHeader, RunInfo


def test_a_header_and_a_run_s_note_go_through_json(
    make_header: Callable[..., PredictionsHeader], make_info: Callable[..., RunInfo]
) -> None:
    assert PredictionsHeader.model_validate_json(make_header().model_dump_json()) == make_header()
    assert RunInfo.model_validate_json(make_info().model_dump_json()) == make_info()


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"frames": 0},
        {"n_classes": 0},
        {"columns": "features"},
        {"schema_version": 2},
        {"data_digest": "x"},
    ],
)
def test_a_header_that_cannot_be_is_refused(
    make_header: Callable[..., PredictionsHeader], change: dict[str, object]
) -> None:
    with pytest.raises(ValidationError):
        make_header(**change)
