"""Conditions made on the fly from the clean images of another dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety import corruptions
from robustbench_safety.data import generated, load_dataset, stored_digest
from robustbench_safety.data.base import ArrayReader
from robustbench_safety.data.builtin import DigitsReader, NoiseReader
from robustbench_safety.data.generated import GeneratedReader
from robustbench_safety.errors import DataError, FileFormatError
from robustbench_safety.records import Condition, GeneratedLayout

LAYOUT = GeneratedLayout(type="generated", source="digits", variant="cifar")


def reader_of(kind: str, name: str, level: int = 1, *, seed: int = 0) -> GeneratedReader:
    condition = Condition.model_validate({"dataset": "mine", "kind": kind, "name": name, "level": level})
    return GeneratedReader(DigitsReader("tune"), LAYOUT, condition, seed=seed)


@pytest.mark.parametrize("name", ["gaussian_noise", "defocus_blur", "jpeg_compression"])
def test_a_corrupted_image_is_what_corrupt_makes_of_the_clean_one(name: str) -> None:
    clean, made = DigitsReader("tune"), reader_of("corruption", name, 3, seed=4)
    indices = np.array([9, 2, 77])
    images = clean.block(indices, clean.stored(indices))
    ids = [clean.sample_ids[i] for i in indices]
    expected = corruptions.corrupt(images, name, 3, seed=4, sample_ids=ids)
    assert np.array_equal(made.block(indices, made.stored(indices)), expected)
    assert made.frames == 1


def test_a_clip_comes_as_its_frames_in_their_order() -> None:
    clean, made = DigitsReader("tune"), reader_of("sequence", "gaussian_noise", 1, seed=4)
    indices = np.array([9, 2])
    images = clean.block(indices, clean.stored(indices))
    ids = [clean.sample_ids[i] for i in indices]
    clips = corruptions.sequence(images, "gaussian_noise", difficulty=1, seed=4, sample_ids=ids)
    found = made.block(indices, made.stored(indices))
    assert made.frames == clips.shape[1] == corruptions.n_frames("gaussian_noise")
    assert found.shape == (2 * made.frames, 32, 32, 3)
    assert np.array_equal(found[0], images[0]), "frame 0 of noise is the clean image"
    assert np.array_equal(found[made.frames], images[1])
    assert np.array_equal(found[made.frames + 3], clips[1, 3])


@pytest.mark.parametrize(("kind", "name"), [("corruption", "shot_noise"), ("sequence", "brightness")])
def test_an_image_does_not_depend_on_its_block(kind: str, name: str) -> None:
    made = reader_of(kind, name)
    indices = np.arange(5)
    whole = made.block(indices, made.stored(indices))
    alone = made.block(indices[3:4], made.stored(indices[3:4]))
    assert np.array_equal(alone, whole[3 * made.frames : 4 * made.frames])


def test_ids_labels_and_stamp_are_the_source_s() -> None:
    clean, made = DigitsReader("tune"), reader_of("corruption", "contrast")
    assert made.sample_ids == clean.sample_ids
    assert made.labels.tolist() == clean.labels.tolist()
    assert made.stamp() == clean.stamp()


def digest(reader: ArrayReader) -> str:
    return stored_digest(reader, np.arange(3), ["x"] * len(reader.sample_ids))


def test_the_digest_covers_source_condition_seed_and_the_generator_s_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digests = [
        digest(DigitsReader("tune")),
        digest(DigitsReader("test")),
        digest(reader_of("corruption", "contrast", 1)),
        digest(reader_of("corruption", "contrast", 2)),
        digest(reader_of("corruption", "brightness", 1)),
        digest(reader_of("sequence", "brightness", 1)),
        digest(reader_of("corruption", "contrast", 1, seed=1)),
    ]
    assert digest(reader_of("corruption", "contrast", 1)) == digests[2]
    monkeypatch.setattr(corruptions, "GENERATOR_VERSION", "another")
    digests.append(digest(reader_of("corruption", "contrast", 1)))
    monkeypatch.setattr(generated, "STREAM", "another")
    digests.append(digest(reader_of("corruption", "contrast", 1)))
    assert len(set(digests)) == len(digests)


def test_images_that_went_through_jpeg_are_others_and_have_another_digest() -> None:
    clean, plain = DigitsReader("tune"), reader_of("corruption", "contrast", 3)
    condition = Condition(dataset="mine", kind="corruption", name="contrast", level=3)
    layout = LAYOUT.model_copy(update={"saved_as": "jpeg85"})
    saved = GeneratedReader(clean, layout, condition, seed=0)
    indices = np.arange(3)
    images = clean.block(indices, clean.stored(indices))
    ids = list(clean.sample_ids[:3])
    expected = corruptions.corrupt(images, "contrast", 3, sample_ids=ids, saved_as="jpeg85")
    assert np.array_equal(saved.block(indices, saved.stored(indices)), expected)
    assert not np.array_equal(plain.block(indices, plain.stored(indices)), expected)
    assert digest(saved) != digest(plain)


def test_a_sequence_through_jpeg_is_refused_on_opening() -> None:
    condition = Condition(dataset="mine", kind="sequence", name="rotate", level=1)
    layout = LAYOUT.model_copy(update={"saved_as": "jpeg85"})
    with pytest.raises(FileFormatError, match="saved_as of a sequence; expected array: clips are no JPEGs"):
        GeneratedReader(DigitsReader("tune"), layout, condition, seed=0)


@pytest.mark.parametrize(
    ("kind", "name", "level", "message"),
    [
        ("corruption", "contrst", 1, "unknown corruption 'contrst'; expected one like contrast"),
        ("corruption", "contrast", 6, "a whole number from 1 to 5; found 6"),
        ("corruption", "contrast", 0, "a whole number from 1 to 5; found 0"),
        ("sequence", "tanslate", 1, "unknown sequence 'tanslate'; expected one like translate"),
        ("sequence", "translate", 9, "1, the only one there is; found 9"),
    ],
)
def test_a_condition_that_cannot_be_made_is_refused_on_opening(
    kind: str, name: str, level: int, message: str
) -> None:
    with pytest.raises(
        FileFormatError, match=rf"mine/{kind}/{name}-{level} cannot be made; found .*{message}"
    ):
        reader_of(kind, name, level)


def test_noise_in_floats_cannot_be_corrupted() -> None:
    condition = Condition(dataset="mine", kind="corruption", name="contrast", level=1)
    with pytest.raises(DataError, match="expected 8-bit images as its source; found float32"):
        GeneratedReader(NoiseReader("blobs", 3), LAYOUT, condition, seed=0)


MANIFEST = """\
name: mine
version: 1
title: Mine
role: corruption
layout: {{type: generated, source: {source}, variant: cifar}}
conditions:
  - {{kind: corruption, names: [contrast], levels: [1]}}
label_space: {label_space}
samples: {samples}
licence: none
citation: none
"""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"label_space": "cifar-10"},
            "cannot be made from digits: classes; expected 10 classes from '0' on; found",
        ),
        ({"samples": 10_000}, "cannot be made from digits: samples; expected 850; found 10000"),
        ({"source": "digits-c"}, "cannot be made from digits-c; expected stored or builtin images"),
        ({"source": "blobs"}, "cannot be made from blobs: classes"),
    ],
)
def test_a_manifest_that_does_not_fit_its_source_is_refused(
    tmp_path: Path, fields: dict[str, object], message: str, open_beside: Callable[[Path, str], object]
) -> None:
    right: dict[str, object] = {"source": "digits", "label_space": "digits", "samples": 850}
    (tmp_path / "mine.yaml").write_text(MANIFEST.format(**right))
    open_beside(tmp_path, "mine")
    (tmp_path / "mine.yaml").write_text(MANIFEST.format(**{**right, **fields}))
    with pytest.raises(FileFormatError, match=message):
        open_beside(tmp_path, "mine")


@pytest.fixture
def open_beside() -> Callable[[Path, str], object]:
    from robustbench_safety.data import DataRoot

    def opened(folder: Path, name: str) -> object:
        dataset = load_dataset(name, data=DataRoot(root=folder, beside=folder))
        return dataset.open(dataset.manifest.all_conditions()[0], seed=0)

    return opened
