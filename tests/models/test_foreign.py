"""Failures of code that is not ours."""

from __future__ import annotations

import pytest

from robustbench_safety.errors import CheckpointError, ModelError, UsageError
from robustbench_safety.models.foreign import describe_failure, foreign_code


@pytest.mark.parametrize("raised", [ValueError("bad\nvalue"), SystemExit(3), RecursionError(), KeyError("k")])
def test_whatever_foreign_code_raises_becomes_one_line(raised: BaseException) -> None:
    with pytest.raises(ModelError, match="it failed; found") as caught, foreign_code("it failed"):
        raise raised
    assert "\n" not in str(caught.value)
    assert type(raised).__name__ in caught.value.found


def test_the_place_is_shown_when_asked_for() -> None:
    with (
        pytest.raises(ModelError, match=r"found ValueError: no \(test_foreign\.py, line \d+\)$"),
        foreign_code("it failed", show_place=True),
    ):
        raise ValueError("no")


def test_our_own_errors_pass_through_unchanged() -> None:
    with pytest.raises(UsageError, match=r"^mine$"), foreign_code("it failed", raising=CheckpointError):
        raise UsageError("mine")


def test_an_interrupt_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt), foreign_code("it failed"):
        raise KeyboardInterrupt


def test_a_long_message_is_cut() -> None:
    assert describe_failure(ValueError("x" * 1000)) == f"ValueError: {'x' * 297}..."
