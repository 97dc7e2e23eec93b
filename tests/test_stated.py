"""Stated accuracies against measured ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.cli.app import run
from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.stated import TOLERANCE, StatedDifference

MODEL = """
model: python:tests.golden.tiny:build
published_accuracy: {{digits: {accuracy}, cifar-10: 0.5}}
"""


@pytest.fixture
def right(tmp_path: Path) -> float:
    """Measured accuracy of the tiny network."""
    record = score(
        "python:tests.golden.tiny:build", suite="digits", predictions=tmp_path, device="cpu"
    ).record
    (value,) = (one.value for name, one in record.scores.items() if name in record.columns[:1])
    assert value is not None
    return 1 - value


def stating(folder: Path, accuracy: float) -> Path:
    path = folder / "stating.yaml"
    path.write_text(MODEL.format(accuracy=accuracy))
    return path


def scored(folder: Path, accuracy: float, **options: int) -> Evaluation:
    return score(
        stating(folder, accuracy),
        suite="digits",
        predictions=folder,
        device="cpu",
        trust_code=True,
        **options,  # type: ignore[arg-type]  # a limit
    )


def test_the_difference_is_that_of_the_whole_clean_accuracy(tmp_path: Path, right: float) -> None:
    (one,) = scored(tmp_path, round(right, 4)).stated
    assert one.dataset == "digits"
    assert one.measured == pytest.approx(right)
    assert abs(one.difference) < 1e-4
    assert not one.is_odd


def test_a_limit_shows_no_difference(tmp_path: Path, right: float) -> None:
    assert scored(tmp_path, right, limit=50).stated == ()


@pytest.mark.parametrize(
    ("difference", "odd"), [(0.0, False), (0.0029, False), (0.0031, True), (-0.01, True)]
)
def test_only_a_difference_above_the_tolerance_is_odd(difference: float, *, odd: bool) -> None:
    assert TOLERANCE == 0.003
    assert StatedDifference(dataset="d", stated=0.9, measured=0.9 + difference).is_odd is odd


@pytest.mark.parametrize(("off", "warned"), [(0.0, False), (0.05, True)])
def test_the_command_prints_the_difference_and_warns_when_it_is_odd(
    tmp_path: Path, right: float, off: float, capsys: pytest.CaptureFixture[str], *, warned: bool
) -> None:
    path = stating(tmp_path, round(right - off, 4))
    places = ["--predictions", str(tmp_path), "--leaderboard", str(tmp_path / "leaderboard")]
    assert run(["score", str(path), "--suite", "digits", "--device", "cpu", "--trust-code", *places]) == 0
    said = capsys.readouterr().out
    assert (
        f"top-1 on digits: stated {100 * round(right - off, 4):.2f} %, measured {100 * right:.2f} %" in said
    )
    assert ("warning: top-1" in said) is warned
