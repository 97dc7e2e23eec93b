"""Augmentations that hold corruptions: names are checked, overlaps found."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.augmentations import AUGMENTATIONS, check_augmentations, overlapping
from robustbench_safety.corruptions import corruption_names
from robustbench_safety.demo import DEMO_MODELS
from robustbench_safety.errors import UnknownNameError
from robustbench_safety.models import load_model


def test_every_corruption_is_an_augmentation_that_holds_itself() -> None:
    assert {name for name, held in AUGMENTATIONS.items() if held == (name,)} == set(corruption_names())


def test_every_overlap_is_with_a_corruption() -> None:
    assert {one for held in AUGMENTATIONS.values() for one in held} <= set(corruption_names())


def test_overlaps_are_with_tested_corruptions_alone_in_the_order_given() -> None:
    tested = {"contrast", "saturate", "gaussian_noise"}
    assert overlapping(["gaussian_noise", "pixmix", "augmix", "unheard-of"], tested) == {
        "gaussian_noise": ("gaussian_noise",),
        "pixmix": ("contrast", "saturate"),
    }
    assert overlapping(["pixmix"], ["fog"]) == {}


def test_a_misspelt_augmentation_is_refused_with_near_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown augmentation 'pixmx'; expected one like pixmix"):
        check_augmentations(["augmix", "pixmx"])


def test_a_model_file_s_augmentations_stand_in_the_snapshot_and_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = f"model: digits:cnn\ncheckpoint: {DEMO_MODELS[0].checkpoint}\naugmentations: [%s]\n"
    path.write_text(text % "pixmix, gaussian_noise")
    assert load_model(path).spec.augmentations == ("pixmix", "gaussian_noise")
    path.write_text(text % "pixmxi")
    with pytest.raises(
        UnknownNameError, match=r"expected one like pixmix, ipmix; correct augmentations in .*mine\.yaml"
    ):
        load_model(path)
