"""A CLIP of 1.7 M parameters that open_clip knows by name, with random weights in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

WIDTH = 32
SIDE = 64


@dataclass(frozen=True)
class TinyClip:
    network: nn.Module
    """As open_clip builds it, in evaluation mode."""
    checkpoint: Path
    """Its state, as torch.save writes it."""


def config(**more: object) -> dict[str, Any]:
    vision = {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    return {"embed_dim": WIDTH, "vision_cfg": vision, "text_cfg": text, **more}


@contextmanager
def known_to_open_clip(folder: Path, **configs: dict[str, object]) -> Iterator[None]:
    """Let open_clip know architectures while the block runs."""
    factory = open_clip.factory
    paths, known = list(factory._MODEL_CONFIG_PATHS), dict(factory._MODEL_CONFIGS)
    try:
        for name, content in configs.items():
            path = folder / f"{name}.json"
            path.write_text(json.dumps(content))
            open_clip.add_model_config(path)
        yield
    finally:
        factory._MODEL_CONFIG_PATHS[:] = paths
        factory._MODEL_CONFIGS.clear()
        factory._MODEL_CONFIGS.update(known)


def make(name: str, folder: Path) -> TinyClip:
    """Build an architecture with the weights of seed 0 and a logit scale of 100, and save it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = open_clip.create_model(name, pretrained_text=False).eval()
        with torch.no_grad():
            for key, parameter in network.named_parameters():
                # Random towers say nearly the same of everything, and their GELU is nearly linear: this lets
                # the logits differ by some units, and by where they come from.
                if key == "token_embedding.weight":
                    parameter.mul_(20)
                elif ".mlp." in key:
                    parameter.mul_(5)
                elif key == "logit_scale":
                    parameter.fill_(math.log(100.0))
    path = folder / f"{name}.pth"
    torch.save(network.state_dict(), path)
    return TinyClip(network, path)
