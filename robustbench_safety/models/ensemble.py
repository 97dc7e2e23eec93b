"""The ``ensemble`` family: several models as one, by the name ``ensemble:first.yaml,second.yaml``.

The logits are the logarithm of the mean of the members' probabilities (Lakshminarayanan et al., 2017), or the
mean of their logits where the model file says ``combine: logits``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from robustbench_safety.errors import ModelError, UsageError
from robustbench_safety.files import digest_of
from robustbench_safety.models.classifier import Disagreeing
from robustbench_safety.models.loading import ask, load_asked, names_a_model_file
from robustbench_safety.models.model import Asked, Built, Model
from robustbench_safety.records import Combine, ModelSpec, Preprocessing

__all__ = ["Ensemble", "architectures", "build"]

_DEFAULT: Combine = "probabilities"
#: Each member normalises for itself.
_NO_NORMALISATION = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


class Ensemble(Disagreeing):
    """Members side by side: each takes pixels in [0, 1] and normalises them itself.

    Args:
        members: Networks [N, 3, H, W] -> logits [N, K]; two or more.
        combine: What is averaged.
    """

    def __init__(self, members: Sequence[nn.Module], combine: Combine) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._combine = combine

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, K]: the logarithm of the mean probability, or the mean of the logits."""
        return self._combined(self._member_logits(images))

    def disagreement(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits [N, K] and the members' mutual information [N] in nats.

        Mutual information of the class and the member: the entropy of the mean probability less the mean
        entropy of the members'; 0 where all agree, at most log of the number of members. Source: Depeweg et
        al. (2018); Malinin and Gales (2018), eq. 6.
        """
        logits = self._member_logits(images)
        each = logits.log_softmax(dim=2)
        mean = _mean_probability(each)
        information = _entropy(mean) - _entropy(each).mean(dim=0)
        # Rounding can put members that agree a little below zero.
        return self._combined(logits), information.clamp_min(0)

    def _member_logits(self, images: torch.Tensor) -> torch.Tensor:
        # float32 or better: in bfloat16 a probability has two digits.
        return torch.stack([member(images).float() for member in self.members])

    def _combined(self, logits: torch.Tensor) -> torch.Tensor:
        if self._combine == "logits":
            return logits.mean(dim=0)
        return _mean_probability(logits.log_softmax(dim=2))


def _mean_probability(log_probabilities: torch.Tensor) -> torch.Tensor:
    """Return the logarithm [N, K] of the mean over the members of [M, N, K]."""
    return log_probabilities.logsumexp(dim=0) - math.log(len(log_probabilities))


def _entropy(log_probabilities: torch.Tensor) -> torch.Tensor:
    entropy: torch.Tensor = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
    return entropy


def architectures() -> list[str]:
    """Return no names: an ensemble is named by its members."""
    return []


def build(asked: Asked) -> Built:
    """Load the members and put them side by side.

    Named on the command line, the members are what stands between commas: model files, or
    ``family:architecture``. In a model file they are listed in ``members``, relative to it.

    Raises:
        UsageError: Fewer than two members, a checkpoint for them all, or one that needs to be trusted.
        ModelError: The members speak different label spaces, or see different pixels.
        RobustbenchSafetyError: A member cannot be loaded.
    """
    name = asked.file.model
    if asked.checkpoint is not None:
        raise UsageError(f"{name} takes no checkpoint", fix="name each member's in its own model file")
    if asked.file.head_classes is not None:
        raise UsageError(
            f"{name} says head_classes", fix="say it in the model file of each member it is true of"
        )
    if asked.file.outputs == "probabilities":
        raise UsageError(f"{name} says outputs", fix="say it in the model file of each member it is true of")
    places = _members(asked)
    if len(places) < 2:
        raise UsageError(
            f"{name} names too few members",
            expected="two or more, e.g. ensemble:first.yaml,second.yaml",
            found=str(len(places)),
        )
    space = asked.label_space or asked.suite_label_space
    members = [
        load_asked(*ask(place, checkpoint=None, label_space=space, trust=asked.trust, inside=asked))
        for place in places
    ]
    _require_same(name, members)
    combine = asked.file.combine or _DEFAULT
    first = members[0].spec
    pixels = first.preprocessing.model_copy(update=_NO_NORMALISATION)
    _require_stated(asked, first, pixels)
    return Built(
        network=Ensemble([member.network for member in members], combine),
        preprocessing=pixels,
        label_space=first.label_space,
        weights_digest=digest_of({"members": sorted(member.spec.weights_digest for member in members)}),
        parameters=sum(member.spec.parameters for member in members),
        gradients=all(member.spec.gradients for member in members),
        members=tuple(member.spec for member in members),
        combine=combine,
        outputs="probabilities" if combine == "probabilities" else "logits",
        trained_on=tuple(sorted({data for member in members for data in member.spec.trained_on})),
        augmentations=tuple(sorted({name for member in members for name in member.spec.augmentations})),
    )


def _members(asked: Asked) -> list[str | Path]:
    listed = asked.file.members or tuple(part for part in asked.architecture.split(",") if part)
    places: list[str | Path] = []
    for member in listed:
        if names_a_model_file(member):
            places.append(asked.folder / member)
        else:
            places.append(member)
    return places


def _require_stated(asked: Asked, first: ModelSpec, pixels: Preprocessing) -> None:
    """Refuse an ensemble's file that states what its members contradict: it would go before them."""
    if asked.label_space not in (None, first.label_space):
        raise ModelError(
            f"{asked.file.model}: its members speak another label space than it states",
            expected=f"{asked.label_space}",
            found=f"{first.label_space} for {first.name}",
            fix="correct label_space, or the members",
        )
    if asked.file.preprocessing not in (None, pixels):
        raise ModelError(
            f"{asked.file.model} states a preprocessing that is not its members'",
            expected="none, or their pixels with mean 0 and std 1: each member normalises for itself",
            found=f"{asked.file.preprocessing.model_dump(mode='json')}",
            fix="leave preprocessing out, and state it in the model file of each member",
        )


def _require_same(name: str, members: Sequence[Model]) -> None:
    """Refuse members that cannot be averaged: of other classes, or that see other pixels."""
    first, *others = (member.spec for member in members)
    for other in others:
        if other.label_space != first.label_space:
            raise ModelError(
                f"{name}: its members speak different label spaces",
                expected=f"{first.label_space}, as {first.name} does",
                found=f"{other.label_space} for {other.name}",
            )
        seen = ("input_size", "resize", "crop", "interpolation")
        ours, theirs = ({f: getattr(s.preprocessing, f) for f in seen} for s in (first, other))
        if ours != theirs:
            field = next(f for f in seen if ours[f] != theirs[f])
            raise ModelError(
                f"{name}: its members see different pixels",
                expected=f"{field} {ours[field]}, as of {first.name}",
                found=f"{theirs[field]} for {other.name}",
                fix="state the same pixels in all their model files; mean and std may differ",
            )
