"""Projected gradient descent: bounds, effect, and a slow transcription to agree with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from robustbench_safety.attacks import attack_batch, passes_per_image
from robustbench_safety.errors import ModelError
from robustbench_safety.records import Attack
from robustbench_safety.streams import random_stream

EPS, STEP = 8 / 255, 2 / 255
ATTACK = Attack(name="pgd", norm="linf", eps="8/255", steps=5, step="2/255")
IDS = [f"{i:05d}" for i in range(6)]


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh(), nn.Flatten(), nn.Linear(512, 4)
        )
    return layers.eval()


def batch(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    images = torch.rand(n, 3, 8, 8, generator=draws)
    images[0] = 0  # at the edge of the pixel range
    images[1] = 1
    return images, torch.arange(n) % 4


def attacked(
    network: nn.Module, attack: Attack = ATTACK, *, ids: Sequence[str] = IDS, seed: int = 0
) -> torch.Tensor:
    images, labels = batch()
    index = [IDS.index(name) for name in ids]
    return attack_batch(network, images[index], labels[index], attack, sample_ids=ids, seed=seed)


def loss(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return functional.cross_entropy(network(images), labels, reduction="none")


def start_of(name: str, seed: int) -> torch.Tensor:
    stream = random_stream(seed, "attack", ATTACK.condition_name(seed), name)
    return torch.from_numpy(stream.uniform(-EPS, EPS, size=(3, 8, 8)).astype(np.float32))


def test_an_adversarial_image_stays_in_the_ball_and_in_the_pixel_range(network: nn.Module) -> None:
    images, _ = batch()
    found = attacked(network)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert float((found - images).abs().max()) <= EPS + 1e-6
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert float((found - images).abs().max()) > 0.99 * EPS, "the ball is used"


def test_the_ball_is_centred_on_the_true_image_and_not_on_the_noised_start(network: nn.Module) -> None:
    # 40 steps of eps/4 would carry a ball around the start up to 2 eps away.
    far = Attack(name="pgd", norm="linf", eps="8/255", steps=40, step="2/255")
    assert float((attacked(network, far) - batch()[0]).abs().max()) <= EPS + 1e-6


def test_the_loss_of_every_image_rises(network: nn.Module) -> None:
    images, labels = batch()
    assert (loss(network, attacked(network), labels) > loss(network, images, labels)).all()


def test_it_equals_a_slow_transcription_given_the_same_start(network: nn.Module) -> None:
    images, labels = batch()
    found = attacked(network, seed=3)
    for i, name in enumerate(IDS):
        clean, label = images[i : i + 1], labels[i : i + 1]
        x = clean + start_of(name, seed=3)
        for _ in range(ATTACK.steps):
            x = x.detach().requires_grad_()
            total = functional.cross_entropy(network(x), label, reduction="sum")
            (gradient,) = torch.autograd.grad(total, x)
            x = x.detach() + STEP * gradient.sign()
            x = torch.clamp(torch.clamp(x - clean, -EPS, EPS) + clean, 0, 1)
        # A gradient near 0 may take another sign in a batch of another size: one step of difference, seldom.
        difference = (x[0] - found[i]).abs()
        assert float((difference > 1e-6).float().mean()) < 0.02


def test_a_linear_network_is_driven_to_its_worst_case() -> None:
    # The loss of a linear network with two classes rises most where every pixel moves eps along the sign of
    # w_other - w_true, so far as it stays in the pixel range; enough steps must reach that corner.
    draws = torch.Generator().manual_seed(2)
    weights = torch.randn(2, 192, generator=draws)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 2, bias=False))
    network[1].weight.data = weights
    images, _ = batch()
    labels = torch.zeros(6, dtype=torch.int64)
    attack = Attack(name="pgd", norm="linf", eps="8/255", steps=20, step="2/255")
    found = attack_batch(network, images, labels, attack, sample_ids=IDS, seed=0)
    worst = (images + EPS * (weights[1] - weights[0]).sign().reshape(1, 3, 8, 8)).clamp(0, 1)
    torch.testing.assert_close(found, worst, rtol=0, atol=1e-6)


def test_the_random_start_depends_on_id_and_seed_and_not_on_the_batch(network: nn.Module) -> None:
    whole = attacked(network)
    backwards = attacked(network, ids=IDS[::-1])
    alone = attacked(network, ids=IDS[2:3])
    # Convolutions may round otherwise in another batch; the starts are the same to the bit.
    assert float((whole - backwards.flip(0)).abs().gt(1e-6).float().mean()) < 0.02
    assert float((whole[2] - alone[0]).abs().gt(1e-6).float().mean()) < 0.02
    other = attacked(network, seed=1)
    assert float((whole - other).abs().gt(1e-6).float().mean()) > 0.1


def test_the_same_call_gives_the_same_pixels(network: nn.Module) -> None:
    assert torch.equal(attacked(network), attacked(network))


def test_an_attack_leaves_no_trace_in_network_and_images(network: nn.Module) -> None:
    images, labels = batch()
    before = images.clone()
    attack_batch(network, images, labels, ATTACK, sample_ids=IDS, seed=0)
    assert torch.equal(images, before)
    assert not images.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_result_carries_no_graph(network: nn.Module) -> None:
    found = attacked(network)
    assert not found.requires_grad
    assert found.grad_fn is None


def test_frozen_networks_and_no_grad_callers_are_attacked_all_the_same(network: nn.Module) -> None:
    expected = attacked(network)
    for parameter in network.parameters():
        parameter.requires_grad = False
    with torch.no_grad():
        assert torch.equal(attacked(network), expected)


class Broken(nn.Module):
    """Its gradient is not finite."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images.flatten(1)[:, :4] * 0).sqrt()


def test_a_gradient_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(ModelError, match="a gradient that is not finite; check the network's weights"):
        attacked(Broken())


def test_an_image_goes_through_once_a_step_and_once_at_the_end() -> None:
    assert passes_per_image(ATTACK) == 6
