"""The family of files of predictions: in the table, without architectures, and with no network to build."""

from __future__ import annotations

import pytest

from robustbench_safety.errors import ModelError
from robustbench_safety.models import predictions
from robustbench_safety.models.families import FAMILIES, load_family
from tests.models.asking import asked


def test_it_stands_in_the_table_and_names_no_architecture() -> None:
    assert FAMILIES["predictions"] == "robustbench_safety.models.predictions"
    assert load_family("predictions").architectures() == []


def test_there_is_no_network_to_build() -> None:
    with pytest.raises(
        ModelError, match=r"predictions:x\.csv is a file of predictions, not a network; .*rbs sc"
    ):
        predictions.build(asked("x.csv", family="predictions", pretrained=True))
