"""A finished batch of an attack is read back whole, and never for another run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.chunks import Chunk, joined_measures, read_chunk, write_chunk
from robustbench_safety.records import AttackMeasures

MEASURES = AttackMeasures(
    images=3,
    wrong=2,
    wrong_by_noise=1,
    wrong_by_noise_alone=0,
    not_risen=1,
    loss_at_start=0.1,
    loss_at_end=1.7,
)


@pytest.fixture
def chunk() -> Chunk:
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    return Chunk(digest="0" * 64, seconds=1.5, passes=63, measures=MEASURES, values={"logits": logits})


def test_a_batch_is_read_as_it_was_written(tmp_path: Path, chunk: Chunk) -> None:
    write_chunk(tmp_path / "one.npz", "key", chunk)
    found = read_chunk(tmp_path / "one.npz", "key")
    assert found is not None
    assert (found.digest, found.seconds, found.passes) == (chunk.digest, chunk.seconds, chunk.passes)
    assert found.measures == chunk.measures
    assert list(found.values) == ["logits"]
    np.testing.assert_array_equal(found.values["logits"], chunk.values["logits"])


def test_a_batch_of_another_run_damaged_or_absent_is_not_there(tmp_path: Path, chunk: Chunk) -> None:
    path = tmp_path / "one.npz"
    assert read_chunk(path, "key") is None
    write_chunk(path, "key", chunk)
    assert read_chunk(path, "other") is None
    path.write_bytes(path.read_bytes()[:-30])
    assert read_chunk(path, "key") is None


def test_a_batch_that_was_stored_before_anything_was_measured_is_done_again(tmp_path: Path) -> None:
    notes = {"note_key": "key", "note_digest": "0" * 64, "note_seconds": 1.0}
    np.savez(
        tmp_path / "old.npz", allow_pickle=False, **{name: np.array(note) for name, note in notes.items()}
    )
    assert read_chunk(tmp_path / "old.npz", "key") is None


def test_joining_does_not_depend_on_how_the_images_were_cut() -> None:
    # Four images with losses 1, 2, 3 and 6: the mean is 3, however they are cut.
    one, three = MEASURES.model_copy(update={"images": 1, "loss_at_start": 1.0}), MEASURES
    parts = [one, three.model_copy(update={"loss_at_start": 11 / 3})]
    assert joined_measures(parts).loss_at_start == pytest.approx(3, abs=1e-12)
    assert joined_measures(parts).wrong == 4
    broken = [AttackMeasures(images=2, wrong=1, broken={"apgd-ce": 1, "square": 0}) for _ in range(3)]
    joined = joined_measures(broken)
    assert joined == AttackMeasures(images=6, wrong=3, broken={"apgd-ce": 3, "square": 0})
    assert joined.loss_at_start is None
