"""Penultimate features and the last layer, found by watching which layer makes the logits.

Every family gets them the same way: one image goes through, and the linear layer (or 1x1 convolution) whose
output is, value for value, what the network returns is the last layer; its input are the features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from robustbench_safety.errors import ModelError
from robustbench_safety.models.classifier import Classifier

__all__ = ["LastLayer", "find_last_layer", "penultimate"]


@dataclass(frozen=True, kw_only=True)
class LastLayer:
    """The last layer: logits = features @ weight.T + bias."""

    module: str
    """Its name within the wrapped network."""
    weight: torch.Tensor
    """float [K, D], the rows of the label space's classes."""
    bias: torch.Tensor
    """float [K]; 0 where the layer has none."""


def find_last_layer(classifier: Classifier, image: torch.Tensor) -> LastLayer | None:
    """Return the layer that makes the logits, None where no layer of the network makes them alone.

    Args:
        classifier: In evaluation mode; returns logits, not the logarithms of probabilities.
        image: One image float32 [1, 3, H, W] in [0, 1].
    """
    outputs: dict[str, torch.Tensor] = {}
    layers = {name: layer for name, layer in classifier.network.named_modules() if _is_linear(layer)}

    def keep(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def note(_layer: nn.Module, _inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            outputs.pop(name, None)  # a layer that runs twice stands where it ran last
            outputs[name] = output

        return note

    handles = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            logits = classifier(image)
    finally:
        for handle in handles:
            handle.remove()
    kept = classifier.columns
    # The last first: a network may hold its head twice, and the one that ran last made the logits.
    for name, output in reversed(outputs.items()):
        flat = output.flatten(1)
        found = flat if kept is None or flat.shape[1] <= int(kept.max()) else flat[:, kept]
        if found.shape == logits.shape and torch.equal(found, logits):
            return _last_layer(name, layers[name], kept)
    return None


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (
        isinstance(layer, nn.Conv2d) and set(layer.kernel_size) == {1} and layer.groups == 1
    )


def _last_layer(name: str, layer: nn.Module, kept: torch.Tensor | None) -> LastLayer:
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, torch.Tensor)  # noqa: S101  # nn.Module's attributes have no types
    weight = weight.detach().flatten(1)
    bias = bias.detach() if isinstance(bias, torch.Tensor) else torch.zeros_like(weight[:, 0])
    if kept is not None:
        weight, bias = weight[kept], bias[kept]
    return LastLayer(module=name, weight=weight, bias=bias)


def penultimate(
    classifier: Classifier, last_layer: LastLayer | None, images: torch.Tensor, *, name: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features [N, D] that go into the last layer, and the logits [N, K].

    Raises:
        ModelError: There is no such layer.
    """
    if last_layer is None:
        raise ModelError(
            f"{name} gives no penultimate features",
            expected="a network that ends in a linear layer",
            fix="choose a detector that needs logits alone",
        )
    seen: list[torch.Tensor] = []
    layer = classifier.network.get_submodule(last_layer.module)
    handle = layer.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        # Not the call itself: what torch.compile has made of it runs without hooks.
        logits = classifier.forward(images)
    finally:
        handle.remove()
    return seen[-1].flatten(1), logits
