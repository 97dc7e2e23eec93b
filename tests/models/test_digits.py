"""The demo's network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robustbench_safety.errors import CheckpointError, UnknownNameError
from robustbench_safety.models import load_model
from robustbench_safety.models.digits import build_network


def test_the_network_has_fewer_than_70_000_parameters_and_fits_in_280_kb(tmp_path: Path) -> None:
    network = build_network(0)
    # Convolutions 3*16*9, 16*32*9, 32*64*9, 64*64*9; scale and shift 2*(16+32+64+64); classifier 64*10 + 10.
    expected = 432 + 4_608 + 18_432 + 36_864 + 352 + 650
    assert sum(parameter.numel() for parameter in network.parameters()) == expected == 61_338
    save_file(network.state_dict(), tmp_path / "digits.safetensors")
    assert (tmp_path / "digits.safetensors").stat().st_size < 280_000


def test_a_seed_gives_the_same_weights_and_leaves_torchs_generator_alone() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (build_network(seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["features.0.weight"], other["features.0.weight"])


def test_the_demo_network_loads_and_speaks_digits(digits_checkpoint: Path) -> None:
    model = load_model("digits:cnn", checkpoint=digits_checkpoint)
    assert (model.n_classes, model.spec.label_space, model.spec.name) == (10, "digits", "digits:cnn")
    assert model.network(torch.rand(3, 3, 32, 32)).shape == (3, 10)


def test_a_missing_checkpoint_and_an_unknown_architecture_are_clear_errors() -> None:
    with pytest.raises(CheckpointError, match="digits:cnn needs a checkpoint; give it with --checkpoint"):
        load_model("digits:cnn")
    with pytest.raises(UnknownNameError, match="unknown digits architecture 'cnm'; expected one like cnn"):
        load_model("digits:cnm")
