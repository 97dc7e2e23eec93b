"""AutoAttack's standard version, through pyautoattack: four attacks, each on what those before have left."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any, cast

import torch

from robustbench_safety.errors import MissingDependencyError, ModelError
from robustbench_safety.records import Attack, pixel_fraction
from robustbench_safety.streams import stream_key

__all__ = ["ATTACKS", "auto_attack", "autoattack_library", "autoattack_version", "check_classes"]

#: Of the standard version, in their order; the last is a black box: it sees logits and no gradients.
ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")

#: The loss of APGD-T compares the classes that come first, third and fourth.
_FEWEST_CLASSES = 4
_TARGETS = 9
_NORMS = {"linf": "Linf", "l2": "L2"}

Network = Callable[[torch.Tensor], torch.Tensor]


def autoattack_library() -> Any:  # the library has no types
    """Return the module pyautoattack.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return importlib.import_module("pyautoattack")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "attack 'autoattack' needs the extra 'attacks'",
            expected="the package pyautoattack",
            found="not installed",
            fix="uv pip install 'robustbench-safety[attacks]'; in a checkout: uv pip install '.[attacks]'",
        ) from error


def autoattack_version() -> str:
    """Return the library's name and version, for the record."""
    return f"pyautoattack {metadata.version('pyautoattack')}"


def check_classes(n_classes: int) -> None:
    """Refuse a model with too few classes for AutoAttack.

    Raises:
        ModelError: It has three or fewer.
    """
    if n_classes < _FEWEST_CLASSES:
        raise ModelError(
            "AutoAttack cannot be run on this model",
            expected=f"{_FEWEST_CLASSES} classes or more: the loss of APGD-T compares the first four",
            found=f"{n_classes} classes",
            fix="attack it with pgd",
        )


def auto_attack(
    network: Network,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    *,
    sample_ids: Sequence[str],
    seed: int,
) -> tuple[torch.Tensor, dict[str, int]]:
    """Return adversarial images, and how many images each of the four attacks broke.

    Args:
        network: In evaluation mode, of four classes or more.
        images: float32 [N, 3, H, W] in [0, 1].
        labels: True classes int64 [N].
        attack: Norm and eps.
        sample_ids: N; what is drawn depends on the ids of the whole batch, in order, and on the seed.
        seed: Of the suite.

    Returns:
        float32 [N, 3, H, W] in [0, 1]. An image that is wrong from the start, or that nothing breaks, is
        returned as it is.

    Raises:
        MissingDependencyError: pyautoattack is not installed.
        ModelError: There are too few classes.

    Conventions:
        The library's settings for its standard version: 100 iterations of APGD on the cross entropy; of APGD
        on the targeted DLR loss and of FAB against 9 classes each (against all others where there are fewer
        than ten); 5,000 queries of Square. The four are called one after another here, and not through the
        library's own loop, which would set the interpreter's trace function and does not say what each broke;
        the tests compare the pixels of both.

    Source:
        Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
        Parameter-Free Attacks, 2020.
    """
    # The library flattens images by views, which channels last would refuse.
    clean = images.contiguous()
    broken: dict[str, int] = {}
    with _own_draws(images.device), torch.no_grad():
        logits = network(clean)
        perturb = _attacks(network, attack, logits.shape[1], images.device, _draws(attack, sample_ids, seed))
        right = logits.argmax(dim=1) == labels
        adversarial = clean.clone()
        for name in ATTACKS:
            (left,) = right.nonzero(as_tuple=True)
            broken[name] = 0
            if len(left) == 0:
                continue
            found = perturb[name](clean[left], labels[left])
            wrong = network(found).argmax(dim=1) != labels[left]
            adversarial[left[wrong]] = found[wrong]
            right[left[wrong]] = False
            broken[name] = int(wrong.sum())
    return adversarial.contiguous(memory_format=torch.channels_last), broken


def _draws(attack: Attack, sample_ids: Sequence[str], seed: int) -> int:
    """Return the seed of the library's draws: a whole number below 2^63."""
    key = stream_key(seed, "attack", attack.condition_name(seed), *sample_ids)
    return int.from_bytes(key[:8], "big") >> 1


Perturb = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _attacks(
    network: Network, attack: Attack, n_classes: int, device: torch.device, seed: int
) -> dict[str, Perturb]:
    """Return the four attacks of the library's object, set as its own loop sets them."""
    check_classes(n_classes)
    library = autoattack_library().AutoAttack(
        network,
        norm=_NORMS[attack.norm],
        eps=pixel_fraction(attack.eps),
        seed=seed,
        version="standard",
        device=device,
    )
    # It warns of gradients that are 0 on standard error; what we measure says more of them.
    silent = logging.Logger("autoattack")
    silent.disabled = True
    for one in (library.apgd, library.apgd_targeted):
        one.logger = silent
    library.apgd.loss = "ce"
    targets = min(_TARGETS, n_classes - 1)
    library.apgd_targeted.n_target_classes = library.fab.n_target_classes = targets
    library.fab.targeted = True
    attacks = (library.apgd, library.apgd_targeted, library.fab, library.square)
    for one in attacks:
        one.seed = seed
    return {name: cast(Perturb, one.perturb) for name, one in zip(ATTACKS, attacks, strict=True)}


@contextmanager
def _own_draws(device: torch.device) -> Iterator[None]:
    """Give back torch's global random state as it was: the library seeds it."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
