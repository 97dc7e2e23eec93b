"""Projected gradient descent: bounds, effect, and a slow transcription to agree with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from robustbench_safety.attacks import attack_batch
from robustbench_safety.attacks.pgd import Descent, descend, random_starts
from robustbench_safety.errors import ModelError
from robustbench_safety.records import Attack
from robustbench_safety.streams import random_stream

EPS, STEP, STEPS = 8 / 255, 2 / 255, 5
ATTACK = Attack(name="pgd", norm="linf", eps="8/255", steps=STEPS, step="2/255")
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
    found = attack_batch(network, images[index], labels[index], attack, sample_ids=ids, seed=seed)
    return found.images


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
        for _ in range(STEPS):
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
    found = attack_batch(network, images, labels, attack, sample_ids=IDS, seed=0).images
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


def test_an_image_goes_through_once_a_step(network: nn.Module) -> None:
    images, labels = batch()
    assert attack_batch(network, images, labels, ATTACK, sample_ids=IDS, seed=0).passes == 6 * STEPS


# ---------------------------------------------------------------------------------------- L2, by hand


def along(*weights: float) -> nn.Module:
    """A network of two classes whose cross entropy for class 0 rises most along the weights."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2, bias=False))
    network[1].weight.data = torch.tensor([[0.0, 0.0, 0.0], list(weights)])
    return network


def one_pixel(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def descended(network: nn.Module, image: torch.Tensor, descent: Descent) -> list[float]:
    found, _ = descend(
        network, image.clone(), torch.zeros(1, dtype=torch.long), centre=image, descent=descent
    )
    return [round(value, 6) for value in found.flatten().tolist()]


def test_an_l2_step_goes_along_the_gradient_and_is_drawn_back_to_the_ball() -> None:
    # The gradient lies along (3, 4, 0), so two steps of 0.2 lead to (0.24, 0.32, 0) from the image, 0.4 away:
    # drawn back to 0.25 that is (0.15, 0.2, 0).
    descent = Descent(norm="l2", eps=0.25, step=0.2, steps=2)
    assert descended(along(3, 4, 0), one_pixel(0.5, 0.5, 0.5), descent) == [0.65, 0.7, 0.5]


def test_at_the_edge_of_the_pixel_range_an_l2_attack_ends_inside_the_ball() -> None:
    # A step of 0.5 along (3, 4, 0), drawn back to (0.15, 0.2, 0); 0.9 + 0.15 is cut at 1.
    descent = Descent(norm="l2", eps=0.25, step=0.5, steps=1)
    assert descended(along(3, 4, 0), one_pixel(0.9, 0.5, 0.5), descent) == [1.0, 0.7, 0.5]


def test_a_gradient_too_small_to_be_squared_still_leads_an_l2_step() -> None:
    # 3e-30 squared is 0 in float32; its direction is as good as any other's.
    descent = Descent(norm="l2", eps=1.0, step=0.1, steps=1)
    assert descended(along(3e-30, 4e-30, 0), one_pixel(0.5, 0.5, 0.5), descent) == [0.56, 0.58, 0.5]


def test_a_gradient_of_zero_leads_nowhere() -> None:
    for norm in ("linf", "l2"):
        descent = Descent(norm=norm, eps=0.25, step=0.2, steps=2)
        assert descended(along(0, 0, 0), one_pixel(0.5, 0.4, 0.3), descent) == [0.5, 0.4, 0.3]


def test_an_l2_attack_uses_its_ball_and_keeps_to_it(network: nn.Module) -> None:
    images, labels = batch()
    attack = Attack(name="pgd", norm="l2", eps="1.5", steps=10, step="0.4")
    found = attack_batch(network, images, labels, attack, sample_ids=IDS, seed=0).images
    far = (found - images).flatten(1).norm(dim=1)
    assert float(far.max()) <= 1.5 + 1e-5
    # The first two are black and white, and of the others some values meet the end of the range.
    assert float(far[2:].min()) > 1.45
    assert (loss(network, found, labels) > loss(network, images, labels)).all()


def test_an_l2_start_is_uniform_in_the_ball() -> None:
    # Of a ball in three dimensions half the volume lies within 2^(-1/3) = 0.794 of its radius, and no
    # direction is preferred.
    attack = Attack(name="pgd", norm="l2", eps="0.5", steps=1, step="0.1")
    starts = random_starts((3, 1, 1), attack, [str(i) for i in range(4000)], 0).reshape(-1, 3) / 0.5
    radius = np.linalg.norm(starts, axis=1)
    assert radius.max() <= 1 + 1e-6
    assert abs((radius < 2 ** (-1 / 3)).mean() - 0.5) < 0.03
    assert np.abs(starts.mean(axis=0)).max() < 0.03


# ---------------------------------------------------------------------------------------- as the papers' code


def test_a_displaced_centre_reaches_beyond_eps_by_hand() -> None:
    # The image is 0.5 and its noised copy 0.58. Each step of 0.1 leads up; around the image the ball of 0.1
    # ends at 0.6, around the noised copy at 0.68: 1.8 eps from the image.
    image, start = one_pixel(0.5, 0.5, 0.5), one_pixel(0.58, 0.58, 0.58)
    labels = torch.zeros(1, dtype=torch.long)
    descent = Descent(norm="linf", eps=0.1, step=0.1, steps=3)
    for centre, end in ((image, 0.6), (start, 0.68)):
        found, _ = descend(along(1, 1, 1), start.clone(), labels, centre=centre, descent=descent)
        torch.testing.assert_close(found, one_pixel(end, end, end))


def test_paper_faithful_reaches_beyond_eps_and_within_twice_of_it(network: nn.Module) -> None:
    images, labels = batch()
    attack = Attack(name="pgd", norm="linf", eps="8/255", steps=20, step="2/255", paper_faithful=True)
    found = attack_batch(network, images, labels, attack, sample_ids=IDS, seed=0).images
    far = float((found - images).abs().max())
    assert 1.8 * EPS < far <= 2 * EPS + 1e-6
    # Each image ends in the box around its own noised copy.
    noise = torch.from_numpy(random_starts((3, 8, 8), attack, IDS, 0))
    assert float((found - (images + noise).clamp(0, 1)).abs().max()) <= EPS + 1e-6
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
