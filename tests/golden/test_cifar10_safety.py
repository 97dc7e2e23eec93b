"""A published network on the first images of cifar10-safety-generated, against the record that is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.data import load_manifest
from robustbench_safety.files import read_json
from robustbench_safety.records import ScoreRecord
from tests.golden.cifar10_safety import LIMIT, PARTIAL, PARTIAL_NAME, differences, score_checkpoint

#: A hundred times 1 + 290 + 20 images: clean and corrupted ones, frames of clips, steps of the attack.
pytestmark = [pytest.mark.realdata, pytest.mark.timeout(1200)]  # a minute of one core


@pytest.fixture(scope="module")
def kept() -> ScoreRecord:
    return read_json(PARTIAL, ScoreRecord)


@pytest.fixture(scope="module")
def found(shared: Path, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> ScoreRecord:
    scratch = tmp_path_factory.mktemp("cifar10-safety")
    return score_checkpoint(PARTIAL_NAME, shared, real_data, scratch, limit=LIMIT).record


def test_no_score_of_240_images_has_moved(kept: ScoreRecord, found: ScoreRecord) -> None:
    assert found.suite == kept.suite
    assert differences(kept, found) == []


def test_the_images_are_the_same_to_the_bit(kept: ScoreRecord, found: ScoreRecord) -> None:
    # Pixels of an attack depend on the network's last bits.
    without_attack = {path: digest for path, digest in kept.data_digests.items() if "/attack/" not in path}
    assert {path: found.data_digests[path] for path in without_attack} == without_attack


def test_cifar_10_and_the_textures_of_frost_alone_fill_the_columns(found: ScoreRecord) -> None:
    for column in ("corruptions", "consistency", "adversaries", "calibration", "anomaly"):
        value = found.scores[column].value
        assert value is not None
        assert 0 < value <= 1
    for name, score in found.scores.items():
        assert score.value is not None, (name, score.reason)
        assert score.interval is not None, name
        assert score.interval.low <= score.value <= score.interval.high, name
    assert found.scores["worst_corruption"].worst in load_manifest("cifar-10-c-generated").headline
    assert found.kind == "partial"


def test_one_pass_an_image_serves_all_columns_but_the_attack(found: ScoreRecord) -> None:
    # 1 clean, 15 x 5 corrupted, 3 sets of noise; 11 sequences of 31 frames but for 21 of motion blur and 16
    # of translate; the attack's 20 steps, each forward and backward, and what comes out; 64 images at a large
    # eps, 10 steps and what comes out.
    frames = 9 * 31 + 21 + 16
    assert found.forward_passes == LIMIT * (1 + 75 + 3 + frames + 20 + 1) + 64 * 11
