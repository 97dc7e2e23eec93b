"""The ResNet of MLPerf Tiny, made in Keras: weights by name, exported here, scored as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import pad, relu

from robustbench_safety.errors import ModelError
from robustbench_safety.models import load_model
from tests.models.cifar_test_set import count_right
from tests.models.graphs.exporting import export_onnx, model_file


class Conv(nn.Module):
    """A convolution with TensorFlow's padding 'same': at stride 2 a row below and a column to the right."""

    def __init__(
        self, n_in: int, n_out: int, kernel: int = 3, stride: int = 1, *, normed: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride)
        self.norm = nn.BatchNorm2d(n_out, eps=1e-3) if normed else nn.Identity()
        left = (kernel - stride) // 2 if kernel > stride else 0
        right = max(kernel - stride, 0) - left
        self.padding = (left, right, left, right)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(self.conv(pad(x, self.padding)))
        return y


class ResNet8(nn.Module):
    """ResNet v1 with one block in each of three stacks, as mlcommons/tiny defines it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Conv(3, 16)
        self.blocks = nn.ModuleList()
        for n_in, n_out in ((16, 16), (16, 32), (32, 64)):
            stride = 1 if n_in == n_out else 2
            block = nn.ModuleList([Conv(n_in, n_out, stride=stride), Conv(n_out, n_out)])
            if stride == 2:
                block.append(Conv(n_in, n_out, 1, 2, normed=False))
            self.blocks.append(block)
        self.dense = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = relu(self.first(images))
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            shortcut = block[2](x) if len(block) == 3 else x
            x = relu(block[1](relu(block[0](x))) + shortcut)
        return torch.softmax(self.dense(x.mean(dim=(2, 3))), dim=1)


def published(shared_data: Path) -> ResNet8:
    """Return the network with its weights: Keras numbers layers in the order in which they were made."""
    network = ResNet8().eval()
    with np.load(shared_data / "checkpoints" / "resnet8_weights.npz") as stored:
        weights = {name: torch.from_numpy(stored[name]) for name in stored.files}

    def numbered(layer: str, n: int) -> str:
        return f"{layer}_{n}" if n else layer

    convolutions = [module for module in network.modules() if isinstance(module, Conv)]
    norms = [module.norm for module in convolutions if isinstance(module.norm, nn.BatchNorm2d)]
    with torch.no_grad():
        for n, module in enumerate(convolutions):
            kernel, bias = (weights.pop(f"{numbered('conv2d', n)}/{part}") for part in ("kernel", "bias"))
            module.conv.weight.copy_(kernel.permute(3, 2, 0, 1))  # HWIO to OIHW
            assert module.conv.bias is not None
            module.conv.bias.copy_(bias)
        for n, norm in enumerate(norms):
            names = ("gamma", "beta", "moving_mean", "moving_variance")
            for ours, theirs in zip(("weight", "bias", "running_mean", "running_var"), names, strict=True):
                norm.state_dict()[ours].copy_(weights.pop(f"{numbered('batch_normalization', n)}/{theirs}"))
        network.dense.weight.copy_(weights.pop("dense/kernel").T)
        network.dense.bias.copy_(weights.pop("dense/bias"))
    assert not weights
    return network


@pytest.mark.realdata
def test_mlperfs_resnet8_gets_its_published_accuracy_to_the_image(shared_data: Path, tmp_path: Path) -> None:
    network = published(shared_data)
    export_onnx(network, tmp_path / "resnet8.onnx")
    # It takes pixels of 0 to 255, and ends in a softmax: both have to be said.
    file = model_file(tmp_path, "onnx:resnet8.onnx", size=32, std=(1 / 255,) * 3)
    with pytest.raises(ModelError, match=r"write `outputs: probabilities` in a model file"):
        load_model(file)
    with file.open("a") as handle:
        handle.write("outputs: probabilities\n")
    model = load_model(file)
    assert model.spec.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert count_right(model.network, shared_data) == 8_719
