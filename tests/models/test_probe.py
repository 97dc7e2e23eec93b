"""Counting the outputs of a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustbench_safety.errors import ModelError
from robustbench_safety.models.probe import examine


class Returns(nn.Module):
    """Returns what it was made with."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: torch.Tensor) -> object:
        return self.value


def test_the_outputs_are_counted_at_the_declared_input_size() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 5 * 7, 4))
    assert examine(network, input_size=(5, 7), name="m").outputs == 4


@pytest.mark.parametrize("side", [32, 224])
def test_a_network_without_an_input_size_is_tried_at_cifar_and_imagenet_size(side: int) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, 2))
    assert examine(network, input_size=None, name="m").outputs == 2


def test_an_image_that_the_network_does_not_take_is_an_error_with_the_size() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(5, 4))
    with pytest.raises(ModelError, match="m cannot be run on one float32 image of 8x8 pixels"):
        examine(network, input_size=(8, 8), name="m")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ((torch.zeros(1, 4),), "a tuple"),
        (torch.zeros(4), r"float32 \[4\]"),
        (torch.zeros(1, 4, dtype=torch.int64), r"int64 \[1, 4\]"),
        (torch.zeros(2, 4), r"float32 \[2, 4\]"),
    ],
)
def test_anything_but_one_row_of_float_logits_is_refused(value: object, found: str) -> None:
    with pytest.raises(ModelError, match=f"does not return logits; .*found {found}"):
        examine(Returns(value), input_size=(8, 8), name="m")


def test_operations_within_torchs_own_attention_layer_are_counted() -> None:
    layer = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = layer, nn.Linear(8, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            tokens = images[:, 0].flatten(1).view(-1, 5, 8)
            logits: torch.Tensor = self.head(self.layer(tokens)[:, 0])
            return logits

    network = Tokens().eval().requires_grad_(requires_grad=False)
    # 5 tokens of 8: projections in (8x24) and out (8x8), feed-forward (8x16 and 16x8), the two products of
    # attention (5x5 for 2 heads of 4, twice), and the head for one token. A multiply-add is two.
    adds = 5 * 8 * 24 + 5 * 8 * 8 + 2 * 5 * 8 * 16 + 2 * 2 * 5 * 5 * 4 + 8 * 4
    before = torch.backends.mha.get_fastpath_enabled()
    assert examine(network, input_size=(5, 8), name="m").flops == 2 * adds
    assert torch.backends.mha.get_fastpath_enabled() == before
