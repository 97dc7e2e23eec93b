"""Published CIFAR-10 networks under attack, against accuracies that others have measured."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn

from robustbench_safety.attacks import attack_batch
from robustbench_safety.models import load_model
from robustbench_safety.records import Attack
from tests.attacks.networks import short_autoattack
from tests.long_checks import LONG
from tests.models.cifar_test_set import cifar_test_set
from tests.models.graphs.exporting import PREPROCESSING
from tests.models.test_small_nets import NETWORKS

pytestmark = pytest.mark.realdata

MODULE = "attacked_published_nets"
USUAL = [0.4914, 0.4822, 0.4465]
#: Factory, weights, mean, std; images of the first 500 that stay right under PGD-20 at 2/255 with steps of
#: eps/5, in per cent.
PUBLISHED = {
    "resnet20": ("cifar:resnet20", "resnet20-12fca82f.th", None, None, 0.4),
    "resnet4b": ("ResNet4b", "resnet4b.pth", USUAL, [0.2471, 0.2435, 0.2616], 61.2),
    "conv_small_pgd": ("small", "cifar_conv_small_pgd.pth", USUAL, [0.2023, 0.1994, 0.2010], 46.8),
    "cifar_wide": ("wide", "cifar_wide.pth", [0.485, 0.456, 0.406], [0.225] * 3, 53.8),
    "marabou_medium": ("marabou", "cifar_marabou_medium.pth", [0.0] * 3, [1.0] * 3, 25.6),
}
#: Seconds of each on one core: 5 to 10, ResNet-20 eighty.
IN_CI = ("conv_small_pgd", "marabou_medium")
N, BATCH = 500, 100
PGD = Attack(name="pgd", norm="linf", eps="2/255", steps=20, step="0.4/255")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of modules with the networks' definitions in it."""
    place = tmp_path_factory.mktemp("networks")
    (place / f"{MODULE}.py").write_text(NETWORKS)
    sys.path.insert(0, str(place))
    yield place
    sys.path.remove(str(place))
    sys.modules.pop(MODULE, None)


def network_of(name: str, shared: Path, folder: Path) -> nn.Module:
    network, file, mean, std, _ = PUBLISHED[name]
    weights = shared / "data" / "checkpoints" / file
    if mean is None:
        return load_model(network, checkpoint=weights).network.to(memory_format=torch.channels_last)
    path = folder / f"{name}.yaml"
    path.write_text(
        f"model: python:{MODULE}:{network}\ncheckpoint: {weights}\nlabel_space: cifar-10\n"
        f"preprocessing: {PREPROCESSING % (32, 32, mean, std)}\n"
    )
    return load_model(path, trust_code=True).network.to(memory_format=torch.channels_last)


def right_under(network: nn.Module, attack: Attack, shared: Path, *, n: int) -> int:
    """Return how many of the first images of the test set stay right under an attack."""
    pixels, labels = cifar_test_set(shared / "data")
    right = 0
    for first in range(0, n, BATCH):
        part = slice(first, min(first + BATCH, n))
        ids = [f"{i:05d}" for i in range(part.start, part.stop)]
        images, truth = pixels[part].float().div(255), labels[part]
        found = attack_batch(network, images, truth, attack, sample_ids=ids, seed=0).images
        with torch.inference_mode():
            right += int((network(found).argmax(dim=1) == truth).sum())
    return right


@pytest.mark.parametrize("name", [name for name in PUBLISHED if LONG or name in IN_CI])
def test_as_many_images_stay_right_under_pgd_as_others_have_measured(
    name: str, shared: Path, folder: Path
) -> None:
    right = right_under(network_of(name, shared, folder), PGD, shared, n=N)
    assert 100 * right / N == pytest.approx(PUBLISHED[name][-1], abs=1.5)


@pytest.mark.parametrize("name", ["conv_small_pgd", *(["resnet4b", "cifar_wide"] if LONG else [])])
def test_a_network_trained_against_attacks_withstands_them_and_is_less_often_right_without(
    name: str, shared: Path, folder: Path
) -> None:
    robust, standard = (network_of(one, shared, folder) for one in (name, "resnet20"))
    # Measured once: of 500 images ResNet-20 and ResNet-32 keep two each.
    assert right_under(standard, PGD, shared, n=40) <= 1
    assert right_under(robust, PGD, shared, n=40) >= 12
    nothing = Attack(name="pgd", norm="linf", eps="0.001/255", steps=1, step="0.001/255")
    assert right_under(robust, nothing, shared, n=300) < right_under(standard, nothing, shared, n=300) - 20


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("name", ["conv_small_pgd", *(["resnet4b", "cifar_wide"] if LONG else [])])
def test_autoattack_is_never_above_pgd(name: str, shared: Path, folder: Path) -> None:
    n = 50 if LONG else 16
    network = network_of(name, shared, folder)
    for norm, eps, step in (("linf", "8/255", "2/255"), ("l2", "0.5", "0.1")):
        pgd = Attack.model_validate({"name": "pgd", "norm": norm, "eps": eps, "steps": 20, "step": step})
        auto = Attack.model_validate({"name": "autoattack", "norm": norm, "eps": eps})
        with nullcontext() if LONG else short_autoattack(apgd=100):
            left = right_under(network, auto, shared, n=n)
        assert left <= right_under(network, pgd, shared, n=n)
