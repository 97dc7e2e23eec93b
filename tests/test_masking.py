"""Signs of masked gradients: each is told by a sentence with its figures, and an honest network has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_safety.attacks import attack_batch, right_at_large_eps
from robustbench_safety.chunks import measured
from robustbench_safety.masking import MASKING_NOTE, masking_warnings, with_notes
from robustbench_safety.records import (
    Aggregate,
    Attack,
    AttackMeasures,
    Cell,
    Condition,
    LargeEps,
    Score,
    Suite,
)
from tests.attacks.networks import Quantised, honest, pictures

N = 40
IDS = [f"{i:05d}" for i in range(N)]
PGD = Attack(name="pgd", norm="linf", eps="0.03", steps=5, step="0.01")
GOOD = {
    "images": 1000, "wrong": 600, "wrong_by_noise": 90, "wrong_by_noise_alone": 2, "not_risen": 50,
    "loss_at_start": 0.5, "loss_at_end": 2.5, "broken": {"apgd-ce": 300, "square": 2},
    "large_eps": LargeEps(eps="0.5", steps=10, images=64, right=3),
}  # fmt: skip


def measures(**change: object) -> AttackMeasures:
    return AttackMeasures.model_validate({**GOOD, **change})


def test_at_each_threshold_nothing_is_said_yet() -> None:
    assert masking_warnings(measures()) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"loss_at_end": 0.5}, "The loss did not rise along the attack: 0.5 at the random start, 0.5 in"),
        ({"not_risen": 51}, "The loss of 51 of 1000 images did not rise along the attack."),
        ({"wrong_by_noise_alone": 3}, "Random noise of the same size broke 3 of 1000 images that"),
        ({"broken": {"square": 3}}, "Square, which sees no gradients, broke 3 of 1000 images that the"),
        ({"large_eps": LargeEps(eps="0.5", steps=10, images=64, right=4)},
         "At an eps of 0.5 of the pixel range 4 of 64 images were still right after 10 steps"),
    ],
)  # fmt: skip
def test_beyond_a_threshold_its_sign_alone_is_told(change: dict[str, object], sentence: str) -> None:
    (said,) = masking_warnings(measures(**change))
    assert said.startswith(sentence)


def test_one_image_of_few_is_no_sign() -> None:
    few = {"images": 20, "wrong": 10, "not_risen": 0}
    assert masking_warnings(measures(**few, wrong_by_noise_alone=1, broken={"square": 1})) == ()
    assert len(masking_warnings(measures(**few, wrong_by_noise_alone=2, broken={"square": 2}))) == 2


def told(network: nn.Module) -> tuple[str, ...]:
    """What is said of a network after PGD and the check at a large eps."""
    images, labels = pictures(network, N)
    found = attack_batch(network, images, labels, PGD, sample_ids=IDS, seed=0)
    with torch.no_grad():
        logits = network(found.images).numpy()
    right = right_at_large_eps(network, images, labels)
    large = LargeEps(eps="0.5", steps=10, images=N, right=right)
    return masking_warnings(measured(found, logits, labels.numpy()).model_copy(update={"large_eps": large}))


def test_an_honest_network_gets_no_warning() -> None:
    assert told(honest()) == ()


def test_a_network_behind_a_step_function_gets_its_warnings() -> None:
    warnings = told(Quantised(honest()))
    assert any("loss" in warning for warning in warnings)
    assert any(warning.startswith("At an eps of 0.5") for warning in warnings)


class Saturated(nn.Module):
    """The same classes from logits that are 0 or a million: softmax is exact, and its gradient 0."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        logits: torch.Tensor = self.network(images)
        return torch.nn.functional.one_hot(logits.argmax(dim=1), 10) * 1e6 + 0 * logits


def test_a_network_whose_gradient_is_saturated_gets_its_warnings() -> None:
    warnings = told(Saturated(honest()))
    assert any(warning.startswith("At an eps of 0.5") for warning in warnings)
    assert any("loss" in warning for warning in warnings)


# ---------------------------------------------------------------------------------------- notes on scores

CELLS = [
    {"id": "clean", "dataset": "digits", "metric": "error_rate"},
    {"id": "pgd", "dataset": "digits", "metric": "error_rate", "attack": PGD},
]
ATTACKED = Condition(dataset="digits", kind="attack", name="pgd", level=0)
CLEAN = Condition(dataset="digits", kind="clean", name="clean", level=0)


def test_a_note_stands_on_every_score_that_rests_on_a_warned_condition_and_on_no_other() -> None:
    suite = Suite(
        name="mine", version=1, title="Mine", label_space="digits", seed=0,
        cells=tuple(Cell.model_validate(cell) for cell in CELLS),
        aggregates=(
            Aggregate(id="adversaries", of=("pgd",), reduce="mean"),
            Aggregate(id="drop", of=("pgd", "clean"), reduce="difference"),
            Aggregate(id="other", of=("clean",), reduce="mean"),
        ),
        columns=("adversaries",),
    )  # fmt: skip
    score = Score(value=0.5, n=10, interval=None, unit="fraction", direction="lower")
    scores = dict.fromkeys(("clean", "pgd", "adversaries", "drop", "other"), score)
    scores["drop"] = score.model_copy(update={"note": "so and so"})
    conditions = {"clean": [CLEAN], "pgd": [ATTACKED]}
    found = with_notes(scores, suite, conditions, {ATTACKED.path})
    assert {name: one.note for name, one in found.items()} == {
        "clean": None, "pgd": MASKING_NOTE, "adversaries": MASKING_NOTE,
        "drop": f"so and so; {MASKING_NOTE}", "other": None,
    }  # fmt: skip
    assert with_notes(scores, suite, conditions, set()) == scores


def test_a_score_without_a_value_gets_no_note() -> None:
    cell = Cell.model_validate(CELLS[1])
    suite = Suite(
        name="mine", version=1, title="Mine", label_space="digits", seed=0, cells=(cell,), columns=("pgd",)
    )
    null = Score(value=None, n=0, interval=None, unit="fraction", direction="lower", reason="why")
    assert with_notes({"pgd": null}, suite, {"pgd": [ATTACKED]}, {ATTACKED.path})["pgd"].note is None


def test_the_losses_are_told_apart_where_float32_would_round_both_to_zero() -> None:
    # Logits of 0 and 30: the cross entropy is 9.4e-14, and in float32 it is 0 exactly.
    network = honest(n_classes=2)
    images, labels = pictures(network, 2)
    found = attack_batch(network, images, labels, PGD, sample_ids=IDS[:2], seed=0)
    start = torch.tensor([[30.0, 0.0], [0.0, 30.0]])
    found = type(found)(images=found.images, passes=found.passes, start_logits=start)
    end = np.array([[29.0, 0.0], [0.0, 29.0]], dtype=np.float32)
    assert measured(found, end, np.array([0, 1])).not_risen == 0
    assert measured(found, start.numpy(), np.array([0, 1])).not_risen == 2
