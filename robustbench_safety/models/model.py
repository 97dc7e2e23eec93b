"""What a family is asked for, what it hands over, and what a loaded model is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from robustbench_safety.models.classifier import Classifier
from robustbench_safety.models.features import LastLayer, penultimate
from robustbench_safety.records import (
    CheckpointInfo,
    Combine,
    HeadClasses,
    ModelFile,
    ModelOutputs,
    ModelSpec,
    Precision,
    Preprocessing,
    ZeroShot,
)

__all__ = ["Asked", "Built", "Model", "Trust"]


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What the user lets run, on the command line and nowhere else."""

    pickle: bool = False
    """Old pickles that need code to be run."""
    code: bool = False
    """Programs: .pt2, TorchScript, and a ``python:`` network that a model file names."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What somebody asks a family to build."""

    architecture: str
    """What stands behind ``family:``."""
    file: ModelFile = field(default_factory=lambda: ModelFile(model="unnamed:unnamed"))
    """Everything else that was asked for; its defaults where only a name was given."""
    folder: Path = Path()
    """That paths in the model file are relative to."""
    checkpoint: Path | None = None
    """Weights that were handed in; None where the family is to bring its own."""
    suite_label_space: str | None = None
    """What the suite speaks; for families that can speak any label space. A declared one goes before it."""
    trust: Trust = field(default_factory=Trust)
    from_file: bool = False
    """Whether a model file asks: what somebody typed is theirs, what a file says may be a stranger's."""
    trail: tuple[Path, ...] = ()
    """Model files that this comes from, the outermost first: an ensemble's members may have files."""

    @property
    def label_space(self) -> str | None:
        """The label space that the model file declares."""
        return self.file.label_space

    @property
    def pretrained(self) -> bool:
        """Whether the family is to bring its own weights."""
        return self.checkpoint is None


@dataclass(frozen=True, kw_only=True)
class Built:
    """A network as its family builds it. Where ``loaded`` is None, the checkpoint goes in afterwards."""

    network: nn.Module
    """Takes normalised images float32 [N, 3, H, W] and returns logits [N, outputs]."""
    preprocessing: Preprocessing
    label_space: str | None
    """Name of the label space it speaks; None where only the user can know."""
    training_data: str | None = None
    trained_on: tuple[str, ...] = ()
    augmentations: tuple[str, ...] = ()
    published_accuracy: Mapping[str, float] = field(default_factory=dict)
    """Top-1 by data set, where the weights are the family's own and their authors state it."""
    code_digest: str | None = None
    """sha256 of what makes the network beside its weights: the source file of a user's own code, or the part
    of a configuration that describes it."""
    key_aliases: tuple[tuple[str, str], ...] = ()
    """Parts of tensor names as (other spelling in published checkpoints, spelling in this network)."""
    loaded: CheckpointInfo | None = None
    """Where the family has put the checkpoint's weights in itself: where they came from."""
    state: Mapping[str, torch.Tensor] | None = None
    """Tensors of the fingerprint, where they are others than the network's (CLIP's text tower among them)."""
    weights_digest: str | None = None
    """The fingerprint itself, where it is not taken of tensors."""
    parameters: int | None = None
    """Where it is not what the network's own parameters count."""
    gradients: bool = True
    head_classes: HeadClasses | None = None
    """Which of a larger head's outputs the network returns, where the family has selected them."""
    columns: tuple[int, ...] | None = None
    """Outputs to select, in the label space's order, where the family has not selected them itself."""
    zero_shot: ZeroShot | None = None
    probe: CheckpointInfo | None = None
    members: tuple[ModelSpec, ...] = ()
    combine: Combine | None = None
    outputs: ModelOutputs | None = None
    """What its logits were made of, where it is not what the model file says: an ensemble's probabilities."""
    architecture: str | None = None
    """What a record calls it, where that is not what was typed: the last part of a path, a hub's commit."""
    trusted_code: bool = False
    """Whether it could only be built by running a program that was handed in."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A network that is ready to be scored, with the snapshot of what it is."""

    spec: ModelSpec
    network: Classifier
    """In evaluation mode, parameters frozen. Float [N, 3, H, W] in [0, 1] -> logits [N, K]."""
    n_classes: int
    """K, the classes of the label space."""
    name: str
    """Shown on the leaderboard unless the caller gives another."""
    last_layer: LastLayer | None = None
    """Weight and bias that make the logits of the penultimate features; None where they cannot be had."""
    precision: Precision | None = None
    """That the model file asks for."""
    published_accuracy: Mapping[str, float] = field(default_factory=dict)
    """Top-1 by data set, as the weights' authors state it."""

    def features(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return penultimate features [N, D] and logits [N, K] from one pass.

        Args:
            images: float32 [N, 3, H, W] in [0, 1].

        Raises:
            ModelError: The family cannot give them (``last_layer`` is None).
        """
        return penultimate(self.network, self.last_layer, images, name=self.spec.name)
