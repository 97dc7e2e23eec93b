"""The recipe behind the demo: what it trains on, and that anyone gets the same weights."""

from __future__ import annotations

import pytest
import torch

from robustbench_safety.demo import DEMO_MODELS
from robustbench_safety.recipes import digits as recipe


def test_training_and_test_images_are_different_ones() -> None:
    train, tune = recipe.digits("train")[0], recipe.digits("tune")[0]
    test = recipe.digits("test")[0]
    assert (len(train), len(tune), len(test)) == (797, 150, 850)
    seen = {image.numpy().tobytes() for image in train}
    assert sum(image.numpy().tobytes() in seen for image in test) <= 1  # scans of 17 levels may repeat


def test_the_same_seed_trains_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "_EPOCHS", 1)
    torch.set_num_threads(1)
    first, second = (recipe.train(augmented=True).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    plain = recipe.train(augmented=False).state_dict()
    assert not torch.equal(first["classifier.weight"], plain["classifier.weight"])


def test_noise_and_mixing_keep_the_pixel_range_and_change_every_image() -> None:
    images = recipe.digits("tune")[0]
    draws = torch.Generator().manual_seed(0)
    mixed = recipe.noise_and_mixing(images, draws)
    assert float(mixed.min()) >= 0
    assert float(mixed.max()) <= 1
    assert bool((mixed != images).flatten(1).any(dim=1).all())


def test_the_shipped_checkpoints_are_small() -> None:
    for model in DEMO_MODELS:
        assert model.checkpoint.stat().st_size < 300_000
