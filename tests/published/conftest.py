"""The copies, written once, and the scores of the small networks on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import robustbench_safety as rbs
from robustbench_safety.evaluation import Evaluation
from robustbench_safety.models import Model
from robustbench_safety.predictions import read_header
from robustbench_safety.records import ZeroShot
from robustbench_safety.startup import CHECKED
from tests.published.arrays import write_arrays
from tests.published.writer import Copies, write_images


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    """Every copy and its manifest. Tests that damage one make their own of it."""
    folder = tmp_path_factory.mktemp("published")
    made = Copies(root=folder / "data", own=folder / "own")
    write_images(made)
    write_arrays(made)
    return made


TEXT = ZeroShot(
    templates="plain", templates_digest="0" * 64, names="a test", names_digest="0" * 64, logit_scale=100.0
)


class Scores:
    """Scores the networks on suites, each once; what was predicted for one suite serves the next.

    Attributes:
        shown: Images that each network was shown while scoring, by its number of classes.
    """

    def __init__(self, copies: Copies, folder: Path) -> None:
        self._copies, self._folder = copies, folder
        self._models: dict[int | str, Model] = {}
        self._known: dict[tuple[str, int | str], Evaluation] = {}
        self.shown: dict[int | str, int] = {}

    def __call__(self, suite: str, classes: int | str) -> Evaluation:
        """Return the evaluation of the network for that many classes, or of that name, on a suite."""
        if (suite, classes) not in self._known:
            self._known[suite, classes] = rbs.score(
                self._model(classes), suite=suite, data=self._copies.data, predictions=self._folder,
                device="cpu", batch_size=64, workers=2)  # fmt: skip
            # The check at the start shows the first images twice, and the first of them alone.
            self.shown[classes] -= 2 * CHECKED + 1
        return self._known[suite, classes]

    def passes(self, classes: int) -> dict[str, int]:
        """Return the images of every condition that a network has predicted so far."""
        out = {}
        for (_, of), evaluation in self._known.items():
            if of == classes:
                for path in evaluation.record.prediction_digests:
                    header = read_header(evaluation.run_folder / f"{path}.parquet")
                    out[path] = header.n * header.frames
        return out

    def _model(self, classes: int | str) -> Model:
        if classes not in self._models:
            model = rbs.load_model(f"python:tests.published.network:build_{classes}")
            if classes == 1000:
                # Said to be made of text, so that what it has predicted serves the zero-shot suite too.
                model = replace(model, spec=model.spec.model_copy(update={"zero_shot": TEXT}))
            self.shown[classes] = 0

            def count(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
                self.shown[classes] += len(inputs[0])

            model.network.register_forward_pre_hook(count)
            self._models[classes] = model
        return self._models[classes]


@pytest.fixture(scope="session")
def scores(copies: Copies, tmp_path_factory: pytest.TempPathFactory) -> Scores:
    """Scores of the small networks, shared by all tests."""
    return Scores(copies, tmp_path_factory.mktemp("predictions"))
