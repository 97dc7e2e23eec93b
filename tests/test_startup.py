"""The check before a run."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from robustbench_safety.errors import DataError, ModelError
from robustbench_safety.models import Model, load_model
from robustbench_safety.models.classifier import Classifier
from robustbench_safety.startup import check_first_batch

CPU = torch.device("cpu")
IMAGES = torch.arange(5 * 32 * 32 * 3).remainder(251).to(torch.uint8).reshape(5, 32, 32, 3)


class Spoilt(nn.Module):
    """The tiny network, with something done to its logits."""

    def __init__(self, network: nn.Module, how: str) -> None:
        super().__init__()
        self.network, self.how = network, how

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        spoilt = {
            "nothing": lambda: logits,
            "dropout": lambda: nn.functional.dropout(logits, 0.5),
            "mixed": lambda: logits - logits.mean(dim=0),
            "nan": lambda: logits / (logits - logits.max()),
            "softmax": lambda: logits.softmax(dim=1),
            "narrow": lambda: logits[:, :3],
            "rounding": lambda: logits + 1e-6 * torch.rand_like(logits),
        }
        return spoilt[self.how]()


def model(how: str) -> Model:
    loaded = load_model("python:tests.golden.tiny:build")
    network = Classifier(Spoilt(loaded.network.network, how), loaded.spec.preprocessing).eval()
    return Model(spec=loaded.spec, network=network, n_classes=loaded.n_classes, name="spoilt")


def check(
    how: str,
    images: torch.Tensor = IMAGES,
    precision: Literal["float32", "bfloat16"] = "float32",
    batch_size: int = 4,
) -> None:
    torch.manual_seed(0)
    ids = [f"image{i}" for i in range(len(images))]
    check_first_batch(model(how), images, ids, CPU, precision, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
@pytest.mark.parametrize("how", ["nothing", "rounding"])
def test_a_sound_model_passes_whatever_the_batch_size(how: str, batch_size: int) -> None:
    check(how, batch_size=batch_size)


def test_a_sound_model_passes_in_bfloat16_and_with_one_image() -> None:
    check("nothing", precision="bfloat16")
    check("nothing", IMAGES[:1])


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("dropout", "does not give the same logits twice for one image"),
        ("mixed", "gives an image other logits alone than among others"),
        ("nan", "not finite; .* found NaN or infinity for 2 of the first 5 images: image3, image4"),
        ("softmax", "returns probabilities; expected logits, as declared"),
        ("narrow", r"another shape on a batch than on one image; expected \[5, 10\]; found \[5, 3\]"),
    ],
)
def test_a_model_that_nobody_should_trust_is_refused_with_the_reason(how: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        check(how)


def test_logits_that_are_declared_to_be_probabilities_are_refused() -> None:
    loaded = load_model("python:tests.golden.tiny:build")
    spec = loaded.spec.model_copy(update={"outputs": "probabilities"})

    def check_declared(how: str) -> None:
        bare = Spoilt(loaded.network.network, how)
        network = Classifier(bare, spec.preprocessing, outputs="probabilities").eval()
        declared = Model(spec=spec, network=network, n_classes=loaded.n_classes, name="declared")
        check_first_batch(declared, IMAGES, list("abcde"), CPU, "float32", batch_size=4)

    check_declared("softmax")
    with pytest.raises(ModelError, match="does not return probabilities; expected rows that sum to 1"):
        check_declared("nothing")


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan")])
def test_pixels_outside_the_range_are_refused(value: float) -> None:
    images = torch.full((2, 32, 32, 3), 0.5)
    images[1, 3, 4, 2] = value
    with pytest.raises(DataError, match="the images leave the pixel range"):
        check("nothing", images)
