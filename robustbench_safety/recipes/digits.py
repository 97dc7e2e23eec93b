"""Train the two checkpoints of ``rbs demo``: ``python -m robustbench_safety.recipes.digits [FOLDER]``.

One is trained on the plain digits, the other with noise and mixing. Seeded, and on one thread: on
the same library versions the same files come out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional

from robustbench_safety.data.builtin import DigitsReader, Split
from robustbench_safety.demo import DEMO_MODELS
from robustbench_safety.devices import to_pixels
from robustbench_safety.files import write_bytes
from robustbench_safety.models.digits import build_network

__all__ = ["main", "train"]

_SEED = 0
_EPOCHS = 120
_BATCH = 64
_LEARNING_RATE = 4e-3
_WEIGHT_DECAY = 5e-4

#: Standard deviation of the noise is drawn from [0, this] for each image, in the pixel range [0, 1].
_MOST_NOISE = 0.3
#: A mixed image keeps at least this share of itself.
_LEAST_KEPT = 0.6


def digits(split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images float32 [N, 3, 32, 32] in [0, 1] and labels int64 [N]."""
    reader = DigitsReader(split)
    everything = np.arange(len(reader.labels))
    block = torch.from_numpy(reader.block(everything, reader.stored(everything)))
    return to_pixels(block, torch.device("cpu")), torch.from_numpy(reader.labels)


def noise_and_mixing(images: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    """Mix each image with another of its batch or with noise, then add noise; the label stays.

    As in PixMix (Hendrycks et al., 2022) what is mixed in says nothing of the label; other digits, faded, and
    coarse noise stand for its fractals.
    """
    n = len(images)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(n, 1, 1, 1, generator=draws) * (high - low) + low

    others = images[torch.randperm(n, generator=draws)]
    coarse = torch.rand(n, 3, 8, 8, generator=draws)
    pattern = functional.interpolate(coarse, size=images.shape[2:], mode="bilinear", align_corners=False)
    partner = torch.where(uniform(0, 1) < 0.5, others, pattern)
    kept = torch.where(uniform(0, 1) < 0.5, uniform(_LEAST_KEPT, 1), torch.ones(n, 1, 1, 1))
    mixed = kept * images + (1 - kept) * partner
    # Contrast and brightness are left alone: the corruptions that change them stay unseen in training.
    noise = torch.randn(images.shape, generator=draws) * uniform(0, _MOST_NOISE)
    return (mixed + noise).clamp(0, 1)


def train(*, augmented: bool) -> nn.Module:
    """Return a trained network in evaluation mode; it takes images normalised to [-1, 1]."""
    images, labels = digits("train")
    network = build_network(_SEED)
    draws = torch.Generator().manual_seed(_SEED)
    steps = _EPOCHS * (len(images) // _BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_LEARNING_RATE, total_steps=steps)
    network.train()
    for _ in range(_EPOCHS):
        order = torch.randperm(len(images), generator=draws)
        for chosen in torch.split(order[: len(order) // _BATCH * _BATCH], _BATCH):
            batch = images[chosen]
            if augmented:
                batch = noise_and_mixing(batch, draws)
            loss = functional.cross_entropy(network((batch - 0.5) / 0.5), labels[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature
            optimizer.step()
            schedule.step()
    return network.eval()


def main(folder: Path | None = None) -> None:
    """Train both and write them to ``folder``, or over the shipped ones."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on more, sums in another order would give other weights
    try:
        images, labels = digits("tune")
        for model, augmented in zip(DEMO_MODELS, (False, True), strict=True):
            network = train(augmented=augmented)
            with torch.inference_mode():
                right = int((network((images - 0.5) / 0.5).argmax(dim=1) == labels).sum())
            path = model.checkpoint if folder is None else folder / model.checkpoint.name
            write_bytes(path, save(network.state_dict()))
            print(f"{path}: {right} of {len(labels)} tune images right")  # noqa: T201
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
