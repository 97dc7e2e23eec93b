"""The copies, written once, and the scores of the small networks on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import robustbench_safety as rbs
from robustbench_safety.evaluation import Evaluation
from tests.published.arrays import write_arrays
from tests.published.writer import Copies, write_images

Scored = Callable[..., Evaluation]


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    """Every copy and its manifest. Tests that damage one make their own of it."""
    folder = tmp_path_factory.mktemp("published")
    made = Copies(root=folder / "data", own=folder / "own")
    write_images(made)
    write_arrays(made)
    return made


@pytest.fixture(scope="session")
def scored(copies: Copies, tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """Return a function that scores a network on a suite, once; its predictions serve the next suite."""
    predictions = tmp_path_factory.mktemp("predictions")
    known: dict[tuple[str, str], Evaluation] = {}

    def score(suite: str | Path, classes: int) -> Evaluation:
        key = (str(suite), str(classes))
        if key not in known:
            known[key] = rbs.score(
                f"python:tests.published.network:build_{classes}",
                suite=suite,
                data=copies.data,
                predictions=predictions,
                device="cpu",
                batch_size=64,
                workers=2,
            )
        return known[key]

    return score
