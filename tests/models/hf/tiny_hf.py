"""Tiny networks of transformers with random weights, saved as transformers saves them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers

#: Layers of 32 values and pictures of 32 pixels.
TRANSFORMER: dict[str, object] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
VISION: dict[str, object] = {
    "vision_config": TRANSFORMER,
    "text_config": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    },
}
CONVOLUTIONS: dict[str, object] = {"hidden_sizes": [8, 16], "depths": [1, 1]}
CONFIGS: dict[str, dict[str, object]] = {
    "beit": TRANSFORMER | {"use_relative_position_bias": True},
    "convnext": CONVOLUTIONS | {"num_stages": 2, "patch_size": 2},
    "deit": TRANSFORMER,
    "dinov2": TRANSFORMER,
    "mobilenet_v2": {"depth_multiplier": 0.35, "image_size": 32},
    "resnet": CONVOLUTIONS | {"embedding_size": 8, "layer_type": "basic"},
    "siglip": VISION,
    "swin": {"image_size": 32, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "patch_size": 2}
    | {"window_size": 4},
    "vit": TRANSFORMER,
    "vit_msn": TRANSFORMER,
}

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SQUASH: dict[str, object] = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}


def save(
    folder: Path,
    model_type: str = "vit",
    *,
    labels: Sequence[str] = CIFAR,
    preprocessor: dict[str, object] | None = SQUASH,
    architecture: str | None = None,
) -> transformers.PreTrainedModel:
    """Build a network with seed 0, save it into ``folder``, and return it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fields = CONFIGS[model_type] | {
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
            "architectures": [architecture or "AnyForImageClassification"],
        }
        config = transformers.CONFIG_MAPPING[model_type].from_dict(fields)
        network: transformers.PreTrainedModel = transformers.AutoModelForImageClassification.from_config(  # type: ignore[no-untyped-call]
            config
        ).eval()
        # transformers begins with tokens and biases of 0, which a test of their names would not tell apart.
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    network.save_pretrained(folder)
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return network


def change(path: Path, **fields: object) -> None:
    """Change fields of a JSON file; None takes one away."""
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
