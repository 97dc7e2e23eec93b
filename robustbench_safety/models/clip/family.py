"""The ``clip`` family: image towers of open_clip with a classifier made of text, or with a linear probe.

Names are open_clip's: an architecture, ``ViT-B-32``, or one of its published weights, ``ViT-B-32/openai``.
Without a checkpoint open_clip fetches the published weights. With one, it builds the network without weights
and never opens the file; a name's second part then says how the network was trained: its preprocessing, and
whether it computes QuickGELU. Without a second part the preprocessing is that on which all weights published
for the architecture agree (open_clip's default where there are none), and the architecture's own name tells
QuickGELU: ``ViT-B-32-quickgelu``.

Such a network can speak any label space: the declared one, else the suite's. The text that a model file asks
for, or the default of ``zero_shot.choose_prompts``, is kept in the spec. The features are image embeddings,
of length 1 but for a probe that was trained on others; the last layer's weight is the text embeddings times
the logit scale.
"""

from __future__ import annotations

import math

import open_clip
import torch
from torch import nn
from torch.nn import functional

from robustbench_safety.errors import ModelError, UsageError
from robustbench_safety.labels import load_label_space
from robustbench_safety.models.clip.linear_probe import read_probe
from robustbench_safety.models.clip.towers import (
    Towers,
    architectures,
    create,
    load_submitted,
    named,
    preprocessing,
)
from robustbench_safety.models.clip.zero_shot import Prompts, choose_prompts, text_features
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.models.head import read_head
from robustbench_safety.models.hub import quiet_hub
from robustbench_safety.models.model import Asked, Built
from robustbench_safety.models.weights.strict import weights_digest
from robustbench_safety.records import CheckpointInfo, LabelSpace, ProbeFile

__all__ = ["architectures", "build"]

#: The sets that open_clip carries, as text: its templates are functions.
_TEMPLATES = {
    "openai-80": tuple(write("{}") for write in open_clip.OPENAI_IMAGENET_TEMPLATES),
    "openai-7": tuple(write("{}") for write in open_clip.SIMPLE_IMAGENET_TEMPLATES),
}
#: Texts that go through the text tower at once: 0.2 GB of ViT-B-32's activations.
_TEXTS_AT_ONCE = 256


#: Above this many texts a bar shows how far the text tower is: 80,000 take minutes and more on a CPU.
_TEXTS_SHOWN = 4096


class _ImageClassifier(nn.Module):
    """Image tower and last layer."""

    def __init__(self, visual: nn.Module, head: nn.Linear, *, normalised: bool) -> None:
        super().__init__()
        self.visual, self.head = visual, head
        self._normalised = normalised

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor | tuple[torch.Tensor, ...] = self.visual(images)
        if isinstance(features, tuple):  # CoCa's tower gives its tokens beside the embedding
            features = features[0]
        if self._normalised:
            features = functional.normalize(features, dim=-1)
        logits: torch.Tensor = self.head(features)
        return logits


def build(asked: Asked) -> Built:
    """Build an image tower with its classifier, both of them loaded.

    Raises:
        UnknownNameError: open_clip has no such architecture or tag, or there is no such label space.
        UsageError: No label space is declared, or the model file asks for what does not go together.
        FileFormatError: A file of names or templates does not hold what it should.
        CheckpointError: There are no weights, or they cannot be fetched, read safely or loaded.
        ModelError: The network or its preprocessing cannot be had.
    """
    towers = named(asked)
    space = _label_space(asked, towers.name)
    probe = asked.file.probe
    # Both before the towers' weights, which can take minutes to come.
    prompts = _prompts(asked, space) if probe is None else None
    head, probe_info = (None, None) if probe is None else _probe(asked, probe, space, towers)
    network = create(towers, weights=asked.pretrained)
    loaded = None if asked.pretrained else load_submitted(network, towers, asked)
    declared = asked.file.preprocessing
    state = dict(network.state_dict())
    parameters = sum(parameter.numel() for parameter in network.parameters())
    zero_shot = None
    if prompts is not None:
        scale, bias = _logit_scale(network, towers)
        head = _text_head(_text(network, towers, prompts, weights_digest(state)), scale, bias)
        zero_shot = prompts.recorded(logit_scale=scale, logit_bias=bias)
    elif head is not None:
        state |= {f"probe.{key}": value for key, value in head.state_dict().items()}
        parameters += sum(parameter.numel() for parameter in head.parameters())
    assert head is not None and isinstance(network.visual, nn.Module)  # noqa: PT018, S101  # one of the two
    return Built(
        network=_ImageClassifier(network.visual, head, normalised=probe is None or probe.normalised),
        preprocessing=preprocessing(network, towers.name) if declared is None else declared,
        label_space=space.name,
        training_data=towers.tag if asked.pretrained else None,
        loaded=loaded,
        state=state,
        parameters=parameters,
        zero_shot=zero_shot,
        probe=probe_info,
    )


def _label_space(asked: Asked, name: str) -> LabelSpace:
    space = asked.label_space or asked.suite_label_space
    if space is None:
        raise UsageError(
            f"{name} can speak any label space, and none is declared",
            expected="the name of one, e.g. imagenet-1k",
            fix="write label_space in a model file, give --label-space to `rbs models`, or name a suite",
        )
    return load_label_space(space)


def _prompts(asked: Asked, space: LabelSpace) -> Prompts:
    if asked.file.head_classes is not None:
        raise UsageError(
            f"head_classes is not for {asked.file.model}",
            expected="a head that was trained; a classifier made of text has one output for each class",
            fix=f"leave head_classes out; names for the classes of {space.name} go into zero_shot.names",
        )
    return choose_prompts(asked.file.zero_shot, space, folder=asked.folder, published=_TEMPLATES)


def _probe(
    asked: Asked, probe: ProbeFile, space: LabelSpace, towers: Towers
) -> tuple[nn.Linear, CheckpointInfo]:
    if asked.file.zero_shot is not None:
        raise UsageError(
            f"the model file of {towers.name} asks for two classifiers",
            expected="zero_shot, made of text, or probe, a trained one",
            found="both",
            fix="leave one out",
        )
    listed = asked.file.head_classes
    outputs = len(space.classes if listed is None else read_head(listed, folder=asked.folder))
    return read_probe(
        asked.folder / probe.checkpoint,
        outputs=outputs,
        width=towers.width,
        model=towers.name,
        trust_pickle=asked.trust.pickle,
    )


def _logit_scale(network: nn.Module, towers: Towers) -> tuple[float, float]:
    """Return the factor of the cosine and what is added to it; 0 but for networks trained as SigLIP."""
    logarithm, bias = network.logit_scale, getattr(network, "logit_bias", None)
    assert isinstance(logarithm, torch.Tensor)  # noqa: S101  # nn.Module's attributes have no types
    scale = float(logarithm.detach().exp())
    if not math.isfinite(scale):
        raise ModelError(
            f"{towers.name}: its logit scale is not finite",
            expected="a logarithm, 4.6 for a scale of 100",
            found=f"{float(logarithm.detach())}",
            fix="check that the weights belong to this architecture",
        )
    return scale, 0.0 if bias is None else float(bias.detach())


def _text_head(text: torch.Tensor, scale: float, bias: float) -> nn.Linear:
    """Return the layer that makes logits [N, K] of embeddings [N, D], given text features [K, D]."""
    head = nn.Linear(text.shape[1], text.shape[0], bias=bias != 0)
    with torch.no_grad():
        head.weight.copy_(text * scale)
        if bias != 0:
            head.bias.fill_(bias)
    return head


def _text(network: nn.Module, towers: Towers, prompts: Prompts, weights: str) -> torch.Tensor:
    """Return the text features [K, D], of length 1, from the cache or open_clip's own builder."""
    key = {
        "weights": weights,
        "architecture": towers.architecture,  # tells the tokenizer
        "config": dict(towers.config),  # the same weights give other features with QuickGELU
        "names": prompts.names_digest,
        "templates": prompts.templates_digest,
        # Of these depends how sums are rounded.
        "open_clip": open_clip.__version__,
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }

    def make() -> torch.Tensor:
        with (
            foreign_code(
                f"{towers.name}: its tokenizer could not be had",
                expected="access to the network, or the tokenizer in the Hugging Face hub's cache",
                fix="run this once with a network: the tokenizer, and the text features, are then kept",
            ),
            quiet_hub(),
        ):
            tokenizer = open_clip.get_tokenizer(towers.architecture)
        with foreign_code(f"{towers.name}: its text tower failed"):
            features: torch.Tensor = open_clip.build_zero_shot_classifier(
                network,
                tokenizer,
                prompts.names,
                prompts.writers(),
                num_classes_per_batch=max(1, _TEXTS_AT_ONCE // len(prompts.templates)),
                use_tqdm=len(prompts.names) * len(prompts.templates) > _TEXTS_SHOWN,
            )
        return features.T

    return text_features(key, shape=(len(prompts.names), towers.width), make=make)
