"""AutoAttack: the library's own pixels, its warnings and draws kept to itself, and clear refusals."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_safety.attacks import attack_batch, check_attack, library_of
from robustbench_safety.attacks.auto import ATTACKS, _attacks, _draws, autoattack_library
from robustbench_safety.attacks.running import Attacked
from robustbench_safety.batches import is_out_of_memory
from robustbench_safety.errors import MissingDependencyError, ModelError
from robustbench_safety.records import Attack, Norm
from tests.attacks.networks import Quantised, honest, pictures, short_autoattack
from tests.long_checks import LONG

N, WRONG = 12, 3
#: With these some images are broken and some are not.
EPS: dict[Norm, str] = {"linf": "0.03", "l2": "0.6"}
WHOLE = autoattack_library().AutoAttack._set_version
IDS = [f"{i:05d}" for i in range(N)]


def attack(norm: Norm = "linf", eps: str | None = None) -> Attack:
    return Attack(name="autoattack", norm=norm, eps=eps or EPS[norm])


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Images and their classes, but one that is wrong from the start."""
    images, labels = pictures(honest(), N)
    labels[WRONG] = (labels[WRONG] + 1) % 4
    return images, labels


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    """Short attacks, but for the longer checks."""
    with nullcontext() if LONG else short_autoattack():
        yield


@dataclass(frozen=True, kw_only=True)
class Run:
    found: Attacked
    seen: int
    """Images that the network was shown."""


@pytest.fixture(scope="module")
def run_of() -> Callable[[Norm], Run]:
    """Return a function that attacks the honest network, once in each norm."""

    @cache
    def run(norm: Norm) -> Run:
        network, seen = honest(), []
        network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        images, labels = batch()
        found = attack_batch(network, images, labels, attack(norm), sample_ids=IDS, seed=0)
        return Run(found=found, seen=sum(seen))

    return run


@pytest.mark.parametrize("norm", EPS)
def test_the_pixels_are_those_of_the_library_s_own_run(norm: Norm, run_of: Callable[[Norm], Run]) -> None:
    network, found = honest(), run_of(norm).found
    images, labels = batch()
    library = autoattack_library().AutoAttack(
        lambda pixels: network(pixels.contiguous(memory_format=torch.channels_last)),
        norm={"linf": "Linf", "l2": "L2"}[norm], eps=float(EPS[norm]), seed=_draws(attack(norm), IDS, 0),
        version="standard",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        expected, predicted = library.run_standard_evaluation(images, labels, batch_size=N)
    assert torch.equal(found.images, expected)
    assert sum(found.broken.values()) + 1 == int((predicted != labels).sum())


@pytest.mark.parametrize("norm", EPS)
def test_every_pass_through_the_network_is_counted(norm: Norm, run_of: Callable[[Norm], Run]) -> None:
    run = run_of(norm)
    # Square alone asks so often of each survivor.
    assert run.found.passes == run.seen > 150


def test_the_settings_are_those_of_the_standard_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoattack_library().AutoAttack, "_set_version", WHOLE)
    attacks = _attacks(honest(), attack(), 10, torch.device("cpu"), 7)
    # A Callable has no __self__ for the checker; these are bound methods of the library's objects.
    ce, targeted, fab, square = (method.__self__ for method in attacks.values())  # type: ignore[attr-defined]
    assert (ce.loss, ce.n_iter, ce.n_restarts, ce.thr_decr) == ("ce", 100, 1, 0.75)
    assert (targeted.loss, targeted.n_iter, targeted.n_restarts) == ("dlr-targeted", 100, 1)
    assert (fab.targeted, fab.n_iter, fab.n_restarts) == (True, 100, 1)
    assert (targeted.n_target_classes, fab.n_target_classes) == (9, 9)
    assert (square.n_queries, square.p_init, square.n_restarts, square.loss) == (5000, 0.8, 1, "margin")
    assert [one.seed for one in (ce, targeted, fab, square)] == [7] * 4
    assert {one.eps for one in (ce, targeted, fab, square)} == {float(EPS["linf"])}


@pytest.mark.parametrize("norm", EPS)
def test_what_each_attack_broke_is_counted_and_what_nothing_breaks_is_left_as_it_was(
    norm: Norm, run_of: Callable[[Norm], Run]
) -> None:
    network, found = honest(), run_of(norm).found
    images, labels = batch()
    assert list(found.broken) == list(ATTACKS)
    n_broken = sum(found.broken.values())
    assert 2 < n_broken < N - 2, "the case is a mixed one"
    untouched = (found.images == images).flatten(1).all(dim=1)
    assert untouched[WRONG], "an image that is wrong from the start is not attacked"
    assert int((~untouched).sum()) == n_broken
    with torch.no_grad():
        right = network(found.images).argmax(dim=1) == labels
    assert right.tolist() == [bool(same) and i != WRONG for i, same in enumerate(untouched)]


def test_the_result_depends_on_seed_and_ids() -> None:
    # Too small to break anything but by chance of the start: what differs is what was drawn.
    network, asked = honest(), attack()
    images, labels = pictures(network, 2)
    seeds = {_draws(asked, ids, seed) for ids in (["a", "b"], ["b", "a"], ["a"]) for seed in (0, 1)}
    assert len(seeds) == 6
    assert all(0 <= drawn < 2**63 for drawn in seeds)
    large = attack(eps="0.3")
    first, again, other = (
        attack_batch(network, images, labels, large, sample_ids=["a", "b"], seed=seed).images
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nothing_is_printed_and_no_random_state_is_touched(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    # The library warns of gradients that are 0, and seeds torch.
    network = Quantised(honest())
    images, labels = pictures(network, 4)
    torch.manual_seed(5)
    # NumPy's stubs let the state be a dictionary too; this call gives the tuple.
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    attack_batch(network, images, labels, attack(eps="0.2"), sample_ids=IDS[:4], seed=0)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # type: ignore[index]  # noqa: NPY002
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_square_breaks_what_masked_gradients_leave() -> None:
    network = Quantised(honest())
    images, labels = pictures(network, 12)
    found = attack_batch(network, images, labels, attack(eps="0.1"), sample_ids=IDS[:12], seed=0)
    assert found.broken["square"] > 2


def test_with_fewer_than_ten_classes_all_others_are_targets() -> None:
    network = honest(n_classes=4)
    images, labels = pictures(network, 4)
    found = attack_batch(network, images, labels, attack(eps="0.3"), sample_ids=IDS[:4], seed=0)
    assert sum(found.broken.values()) == 4


def test_with_three_classes_it_is_refused_before_and_during_a_run() -> None:
    network = honest(n_classes=3)
    images, labels = pictures(network, 2)
    with pytest.raises(ModelError, match=r"AutoAttack cannot be run.*4 classes or more.*found 3 classes"):
        check_attack(attack(), n_classes=3)
    with pytest.raises(ModelError, match="AutoAttack cannot be run"):
        attack_batch(network, images, labels, attack(), sample_ids=IDS[:2], seed=0)
    check_attack(Attack(name="pgd", norm="linf", eps="0.1", steps=1, step="0.1"), n_classes=3)


def test_without_the_library_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., ModuleType] = importlib.import_module

    def absent(name: str) -> ModuleType:
        if name == "pyautoattack":
            raise ModuleNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match=r"extra 'attacks'.*robustbench-safety\[attacks\]"):
        check_attack(attack(), n_classes=10)


def test_memory_that_runs_out_inside_is_still_told_as_such() -> None:
    # A batch is halved by that error, so nothing may be wrapped around it.
    class Small(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if len(images) > 3:
                raise torch.OutOfMemoryError("no more")
            return images.flatten(1)[:, :10]

    images, labels = pictures(honest(), 4)
    with pytest.raises(torch.OutOfMemoryError) as raised:
        attack_batch(Small(), images, labels, attack(), sample_ids=IDS[:4], seed=0)
    assert is_out_of_memory(raised.value)


def test_logits_that_are_not_finite_under_attack_are_an_error() -> None:
    class Breaks(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return (images.flatten(1)[:, :10] - 0.5) / 0

    images, labels = pictures(honest(), 4)
    with pytest.raises(ModelError, match="logits that are not finite under attack"):
        attack_batch(Breaks(), images, labels, attack(), sample_ids=IDS[:4], seed=0)


def test_the_library_and_its_version_are_named() -> None:
    assert str(library_of(attack())).startswith("pyautoattack 0.")
    assert library_of(Attack(name="pgd", norm="linf", eps="0.1", steps=1, step="0.1")) is None
