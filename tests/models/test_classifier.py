"""Pixels in, normalisation inside."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustbench_safety.models.classifier import Classifier
from robustbench_safety.records import Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def preprocessing(
    mean: tuple[float, float, float] = MEAN, std: tuple[float, float, float] = STD
) -> Preprocessing:
    return Preprocessing(
        input_size=None, resize=None, crop=None, interpolation="bilinear", mean=mean, std=std
    )


class Returns(nn.Module):
    """Returns the same for every image."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.value.expand(len(images), -1)


def images(*shape: int, memory_format: torch.memory_format = torch.contiguous_format) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(*shape, generator=generator).contiguous(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 3, 5, 7), (3, 3, 1, 1), (0, 3, 8, 8)])
def test_normalisation_equals_subtract_and_divide_bit_for_bit(
    memory_format: torch.memory_format, shape: tuple[int, ...]
) -> None:
    x = images(*shape, memory_format=memory_format)
    expected = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    assert torch.equal(Classifier(nn.Identity(), preprocessing())(x), expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_normalisation_keeps_the_memory_format(memory_format: torch.memory_format) -> None:
    x = images(4, 3, 8, 6, memory_format=memory_format)
    assert Classifier(nn.Identity(), preprocessing())(x).is_contiguous(memory_format=memory_format)


def test_normalisation_leaves_the_input_as_it_was() -> None:
    x = images(2, 3, 8, 8, memory_format=torch.channels_last)
    before = x.clone()
    Classifier(nn.Identity(), preprocessing())(x)
    assert torch.equal(x, before)


def test_mean_0_and_std_1_hand_the_very_same_tensor_on() -> None:
    x = images(1, 3, 4, 4)
    assert Classifier(nn.Identity(), preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))(x) is x


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_with_respect_to_pixels_is_one_over_std(memory_format: torch.memory_format) -> None:
    x = images(2, 3, 4, 4, memory_format=memory_format).requires_grad_()
    Classifier(nn.Identity(), preprocessing())(x).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (1 / torch.tensor(STD)).view(1, 3, 1, 1).expand_as(x))


def test_normalisation_follows_the_network_to_half_precision() -> None:
    network = Classifier(nn.Identity(), preprocessing()).to(torch.bfloat16)
    assert network(images(1, 3, 4, 4).to(torch.bfloat16)).dtype == torch.bfloat16


def test_probabilities_become_logits_by_their_logarithm_and_zero_stays_finite() -> None:
    shares = torch.tensor([[0.7, 0.3, 0.0]])
    network = Classifier(Returns(shares), preprocessing(), outputs="probabilities")
    logits = network(images(1, 3, 2, 2))
    torch.testing.assert_close(logits.softmax(dim=1), shares)
    assert bool(torch.isfinite(logits).all())
    assert logits[0, 2] == pytest.approx(math.log(torch.finfo(torch.float32).tiny))


def test_columns_are_selected_in_the_order_of_the_label_space() -> None:
    network = Classifier(Returns(torch.tensor([[1.0, 2.0, 3.0, 4.0]])), preprocessing(), columns=(3, 0))
    assert network(images(1, 3, 2, 2)).tolist() == [[4.0, 1.0]]


def test_a_single_network_has_no_disagreement() -> None:
    logits, disagreement = Classifier(Returns(torch.ones(1, 2)), preprocessing()).with_disagreement(
        images(1, 3, 2, 2)
    )
    assert logits.tolist() == [[1.0, 1.0]]
    assert disagreement is None
