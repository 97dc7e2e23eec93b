"""Jobs: opened and checked before the first forward pass, joined by class key, and let go again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.errors import DataError
from robustbench_safety.evaluation import score
from robustbench_safety.jobs import Job, prepare, stored_columns
from robustbench_safety.labels import class_digest, class_map_digest
from robustbench_safety.records import Attack, Condition, Preprocessing

#: The network's classes; a dataset has some of them in an order of its own.
PETS = ["cat", "dog", "fox", "owl"]
MAP = {"bird": ["owl"], "canine": ["fox", "dog"]}

MakeSpace = Callable[[str, Sequence[str]], None]
FIELDS = "version: 1\ntitle: T\nfolder: mine\nsamples: 6\nlicence: own\ncitation: own\n"
CLEAN = "conditions: [{kind: clean, names: [clean], levels: [0]}]\n"


def fill(folder: Path, classes: Sequence[str], n: int = 3, side: int = 8) -> None:
    draws = np.random.default_rng(0)
    for key in classes:
        (folder / key).mkdir(parents=True)
        for i in range(n):
            pixels = draws.integers(0, 256, size=(side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / key / f"{i}.png")


@pytest.fixture
def make_space(tmp_path: Path) -> MakeSpace:
    """Return a function that writes a label space beside one's own manifests."""

    def make(name: str, classes: Sequence[str]) -> None:
        (tmp_path / "labels").mkdir(exist_ok=True)
        listed = "".join(f"  - {key}\n" for key in classes)
        (tmp_path / "labels" / f"{name}.yaml").write_text(
            f"name: {name}\ndigest: {class_digest(classes)}\nsource: here\nclasses:\n{listed}"
        )

    return make


def opened(folder: Path, fields: str) -> Dataset:
    (folder / "mine.yaml").write_text(f"name: mine\n{FIELDS}{fields}")
    return load_dataset("mine", data=DataRoot(root=folder, beside=folder))


@pytest.fixture
def own(tmp_path: Path, make_space: MakeSpace) -> Dataset:
    """Six pictures of two of the network's classes, in another order."""
    make_space("pets", PETS)
    make_space("two", ["owl", "dog"])
    fill(tmp_path / "mine", ["owl", "dog"])
    return opened(tmp_path, f"role: clean\nlayout: {{type: image_folder}}\nlabel_space: two\n{CLEAN}")


@pytest.fixture
def mapped(tmp_path: Path, make_space: MakeSpace) -> Dataset:
    """Six pictures of two classes, each of which stands for some of the network's."""
    make_space("pets", PETS)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "kinds.yaml").write_text(
        f"name: kinds\nlabel_space: pets\nsource: here\ncount: 2\ndigest: {class_map_digest(MAP)}\n"
        f"classes: {{bird: [owl], canine: [fox, dog]}}\n"
    )
    fill(tmp_path / "mine", ["bird", "canine"])
    return opened(
        tmp_path,
        f"role: shift\nlayout: {{type: image_folder}}\nlabel_space: pets\nclass_map: kinds\n{CLEAN}",
    )


def clean_job(dataset: Dataset, label_space: str = "pets", limit: int | None = None) -> Job:
    return prepare(dataset, dataset.manifest.all_conditions()[0], label_space=label_space, limit=limit)


def test_labels_are_joined_by_class_key_and_not_by_index(own: Dataset) -> None:
    images = clean_job(own).open()
    # The dataset's classes 0 and 1, owl and dog, are the network's 3 and 1.
    assert images.reader.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.labels.tolist() == [3, 3, 3, 1, 1, 1]
    assert images.labels.dtype == np.int64
    assert images.label_keys == ["owl"] * 3 + ["dog"] * 3


def test_a_class_that_stands_for_several_is_stored_as_the_first_of_them(mapped: Dataset) -> None:
    images = clean_job(mapped).open()
    assert images.label_keys == ["bird"] * 3 + ["canine"] * 3
    # owl is the network's class 3; of fox and dog, fox comes first in the map: 2.
    assert images.labels.tolist() == [3, 3, 3, 2, 2, 2]


def test_images_out_of_distribution_have_no_label(tmp_path: Path, make_space: MakeSpace) -> None:
    make_space("pets", PETS)
    fill(tmp_path / "mine", ["x", "y"])
    dataset = opened(
        tmp_path, f"role: ood\nlayout: {{type: image_folder, folders: any}}\nlabel_space: null\n{CLEAN}"
    )
    images = clean_job(dataset).open()
    assert images.labels.tolist() == [-1] * 6
    assert images.label_keys == [""] * 6


def test_classes_that_the_model_does_not_know_are_refused_by_name(
    own: Dataset, make_space: MakeSpace
) -> None:
    make_space("birds", ["owl", "hen"])
    with pytest.raises(
        DataError,
        match="mine has classes that the model does not know; expected classes of birds; "
        r"found 1 others, e\.g\. 'dog'",
    ):
        clean_job(own, "birds")


def test_a_map_into_classes_that_the_model_does_not_know_is_refused(
    mapped: Dataset, make_space: MakeSpace
) -> None:
    make_space("others", ["owl", "dog"])
    with pytest.raises(DataError, match=r"found 1 others, e\.g\. 'fox'"):
        clean_job(mapped, "others")


def test_a_wrong_label_space_is_told_before_any_forward_pass(own: Dataset, tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    # The suite is for the network's ten digits, and its second dataset has pets.
    suite.write_text(
        "name: suite\nversion: 1\ntitle: T\nlabel_space: digits\nseed: 0\ncells:\n"
        "  - {id: a, dataset: digits, metric: error_rate}\n"
        "  - {id: b, dataset: mine, metric: error_rate}\ncolumns: [a, b]\n"
    )
    predictions = tmp_path / "predictions"
    with pytest.raises(DataError, match="mine has classes that the model does not know"):
        score(
            "python:tests.golden.tiny:build",
            suite=suite,
            data=DataRoot(root=tmp_path, beside=tmp_path),
            predictions=predictions,
            batch_size=8,
            device="cpu",
        )
    assert not predictions.exists()


@pytest.mark.parametrize("harm", ["short", "folder"])
def test_images_that_are_not_those_of_the_manifest_are_refused_when_the_job_is_made(
    own: Dataset, harm: str
) -> None:
    if harm == "short":
        (own.folder / "owl" / "2.png").unlink()
    else:
        (own.folder / "owl").rename(own.folder / "owls")
    with pytest.raises(DataError, match="mine"):
        clean_job(own)


def test_images_are_checked_again_when_their_turn_comes(own: Dataset) -> None:
    job = clean_job(own)
    (own.folder / "owl" / "2.png").unlink()
    with pytest.raises(DataError, match="does not hold the images of mine; expected 6 images; found 5"):
        job.open()


def test_a_job_counts_samples_and_frames_and_keeps_a_limit() -> None:
    dataset = load_dataset("digits-p")
    condition = next(c for c in dataset.manifest.all_conditions() if c.name == "translate")
    whole = prepare(dataset, condition, label_space="digits")
    some = prepare(dataset, condition, label_space="digits", limit=7, seed=3)
    assert (whole.samples, whole.limit, whole.images) == (850, None, 850 * whole.frames)
    assert whole.frames > 1
    assert (some.samples, some.limit, some.seed, some.images) == (7, 7, 3, 7 * some.frames)
    assert some.open().indices.tolist() == list(range(7))


def test_a_limit_goes_round_the_classes_of_folders(own: Dataset) -> None:
    job = clean_job(own, limit=4)
    assert job.samples == 4
    # Two of each class: images 0 and 1 of owl, 3 and 4 of dog.
    assert job.open().indices.tolist() == [0, 1, 3, 4]


def test_a_job_keeps_no_listing(own: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[weakref.ref[object]] = []
    plain = Dataset.open

    def watched(self: Dataset, condition: Condition, *, seed: int) -> object:
        reader = plain(self, condition, seed=seed)
        readers.append(weakref.ref(reader))
        return reader

    monkeypatch.setattr(Dataset, "open", watched)
    job = clean_job(own)
    images = job.open()
    gc.collect()
    assert readers[0]() is None
    assert readers[1]() is images.reader
    assert images.reader is not job.open().reader


def preprocessing(side: int) -> Preprocessing:
    return Preprocessing(
        input_size=(side, side),
        resize=None,
        crop="center",
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


def test_the_loader_of_a_job_shows_its_images_and_only_as_many_as_asked(own: Dataset) -> None:
    job = clean_job(own, limit=4)
    images = job.open()
    parts = list(job.loader(images, preprocessing(8), block=3, workers=1))
    assert [(part.start, part.samples) for part in parts] == [(0, 3), (3, 1)]
    (first,) = job.loader(images, preprocessing(8), block=3, workers=1, most=1)
    assert first.images.shape == (1, 8, 8, 3)
    assert np.array_equal(first.images[0], parts[0].images[0])
    stored = np.asarray(Image.open(own.folder / "owl" / "0.png"))
    assert np.array_equal(first.images[0], stored)


@pytest.mark.parametrize(
    ("fields", "part", "side"),
    [
        # The part of the 8x8 picture that is resized to the input.
        ("border: 1\nresize_to_input: true\n", np.s_[1:7, 1:7], 4),
        ("resize_to_input: true\n", np.s_[0:8, 0:8], 4),
        ("pre_cropped: true\n", np.s_[0:8, 0:8], 4),
        ("", np.s_[2:6, 2:6], 4),
        ("border: 2\n", np.s_[2:6, 2:6], 4),
    ],
)
def test_the_loader_of_a_job_follows_the_manifest(
    own: Dataset, tmp_path: Path, fields: str, part: tuple[slice, slice], side: int
) -> None:
    dataset = opened(
        tmp_path, f"role: clean\nlayout: {{type: image_folder}}\nlabel_space: two\n{fields}{CLEAN}"
    )
    job = clean_job(dataset)
    (block,) = job.loader(job.open(), preprocessing(side), block=1, workers=1, most=1)
    picture = np.asarray(Image.open(own.folder / "owl" / "0.png"))[part]
    expected = Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR)
    assert np.array_equal(block.images[0], np.asarray(expected))


@pytest.mark.parametrize(
    ("kind", "n_classes", "kept"),
    [
        ("corruption", 20, "logits"),
        ("corruption", 21, "summary"),
        ("sequence", 1000, "summary"),
        ("clean", 1000, "logits"),
        ("attack", 1000, "logits"),
    ],
)
def test_logits_are_kept_but_for_the_many_rows_of_many_classes(kind: str, n_classes: int, kept: str) -> None:
    condition = Condition.model_validate({"dataset": "a", "kind": kind, "name": "b", "level": 1})
    assert stored_columns(condition, n_classes) == kept


def test_an_audit_draws_the_same_images_in_every_condition_of_a_dataset() -> None:
    ids = []
    for name in ("digits", "digits-c", "digits-p"):
        dataset = load_dataset(name)
        for condition in dataset.manifest.all_conditions()[:2]:
            images = prepare(dataset, condition, label_space="digits", limit=20, drawn_by=5).open()
            ids.append([images.reader.sample_ids[i] for i in images.indices])
    assert len(ids[0]) == 20
    assert all(one == ids[0] for one in ids)
    assert ids[0] != [f"{i:05d}" for i in range(20)]
    digits = load_dataset("digits")
    clean = digits.manifest.all_conditions()[0]
    other = prepare(digits, clean, label_space="digits", limit=20, drawn_by=6).open()
    assert [other.reader.sample_ids[i] for i in other.indices] != ids[0]
    whole = prepare(digits, clean, label_space="digits", limit=9000, drawn_by=5)
    assert whole.samples == 850


def test_an_audit_draws_from_the_images_that_an_attack_has_drawn() -> None:
    digits = load_dataset("digits")
    attack = Attack(name="pgd", norm="linf", eps="2/255", steps=2, step="1/255", images=40)
    condition = Condition(dataset="digits", kind="attack", name=attack.condition_name(0), level=0)

    def indices(limit: int | None, drawn_by: int | None) -> set[int]:
        job = prepare(digits, condition, label_space="digits", attack=attack, limit=limit, drawn_by=drawn_by)
        return set(job.open().indices.tolist())

    attacked = indices(None, None)
    assert len(attacked) == 40
    assert indices(30, 5) < attacked
    assert indices(500, 5) == attacked
