"""Each published structure is read end to end: ids, classes, pixels; against Pillow, NumPy and PyAV."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.data import Dataset, Loader, Reader, Transform, load_dataset, stored_digest
from robustbench_safety.data.base import ArrayReader, FileReader
from robustbench_safety.data.label_sets import read_labels
from robustbench_safety.records import Condition, Preprocessing
from tests.published.arrays import (
    CIFAR_LABELS,
    CIFAR_P,
    N_CIFAR,
    THREE,
    cifar_image,
    clip_frames,
    imagenet_frames,
)
from tests.published.manifests import classes_of
from tests.published.network import seen
from tests.published.photographs import corrupted, picture
from tests.published.writer import (
    FEW,
    ROBIN_IID,
    STYLES,
    WNIDS,
    Copies,
    categories_of,
    regrouped,
    validation_name,
)

Pixels = NDArray[np.uint8]


def condition_of(dataset: Dataset, name: str = "clean", level: int = 0) -> Condition:
    return next(one for one in dataset.manifest.all_conditions() if (one.name, one.level) == (name, level))


def opened(copies: Copies, dataset: str, name: str = "clean", level: int = 0) -> tuple[Dataset, Reader]:
    found = load_dataset(dataset, data=copies.data)
    return found, found.open(condition_of(found, name, level), seed=0)


def pixels_of(reader: Reader, index: int) -> Pixels:
    indices = np.array([index])
    stored = reader.stored(indices)
    if isinstance(reader, FileReader):
        return reader.decode(index, stored[0])
    block = reader.block(indices, stored)
    assert block.dtype == np.uint8
    return (block if reader.frames > 1 else block[0]).astype(np.uint8)


def pillow(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


# ------------------------------------------------------------------------------------------ class folders


@pytest.mark.parametrize(
    ("dataset", "condition", "below", "classes", "ood"),
    [
        ("imagenet-1k", ("clean", 0), "val", "labels/imagenet-1k", False),
        ("imagenet-a", ("clean", 0), "", "subsets/imagenet-a", False),
        ("imagenet-o", ("clean", 0), "", "subsets/imagenet-o", True),
        ("imagenet-r", ("clean", 0), "", "subsets/imagenet-r", False),
        ("imagenet-sketch", ("clean", 0), "", "labels/imagenet-1k", False),
        ("imagenet-g-v1", ("clean", 0), "val", "labels/imagenet-1k", False),
        ("objectnet", ("clean", 0), "images", "maps/objectnet", False),
        ("cue-conflict", ("clean", 0), "", "maps/sixteen-classes", False),
        ("textures", ("clean", 0), "images", "labels/dtd", True),
        ("imagenet-c", ("gaussian_noise", 5), "gaussian_noise/5", "labels/imagenet-1k", False),
        ("imagenet-c", ("fog", 1), "fog/1", "labels/imagenet-1k", False),
        ("imagenet-c-bar", ("sparkles", 2), "sparkles/2", "labels/imagenet-1k", False),
        ("tiny-imagenet-c", ("brightness", 5), "brightness/5", "labels/tiny-imagenet", False),
    ],
)
def test_class_folders_give_every_image_its_name_its_class_and_pillows_pixels(
    copies: Copies,
    dataset: str,
    condition: tuple[str, int],
    below: str,
    classes: str,
    ood: bool,  # noqa: FBT001
) -> None:
    root = copies.folder(dataset) / below
    expected = [
        (key, path)
        for key in classes_of(classes)
        for path in sorted((root / key).iterdir())
        if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    ]
    found, reader = opened(copies, dataset, *condition)
    assert len(reader.sample_ids) == found.manifest.samples == len(expected)
    assert list(reader.sample_ids) == [f"{key}/{path.stem}" for key, path in expected]
    assert found.label_keys(reader) == ["" if ood else key for key, _ in expected]
    for index in range(0, len(expected), 37):
        path = expected[index][1]
        assert bytes(reader.stored(np.array([index]))[0]) == path.read_bytes()
        assert np.array_equal(pixels_of(reader, index), pillow(path))


def test_folder_10_of_imagenet_v2_is_class_10(copies: Copies) -> None:
    found, reader = opened(copies, "imagenet-v2-matched-frequency")
    assert np.array_equal(reader.labels, np.arange(1000))
    assert [name.partition("/")[0] for name in reader.sample_ids] == [str(number) for number in range(1000)]
    assert found.label_keys(reader)[10] == WNIDS[10]
    (path,) = (copies.folder("imagenet-v2-matched-frequency") / "10").iterdir()
    assert reader.sample_ids[10] == f"10/{path.stem}"
    assert np.array_equal(pixels_of(reader, 10), pillow(path))


@pytest.mark.parametrize(
    ("dataset", "stray"),
    [
        ("imagenet-a", "README.txt"),
        ("imagenet-o", "README.txt"),
        ("imagenet-r", "README.txt"),
        ("textures", "images/waffled/.directory"),
        ("objectnet", "mappings/folder_to_objectnet_label.json"),
        ("cifar-10", "data_batch_1"),
        ("imagenet-g-v1", f"train/{WNIDS[0]}/0.jpeg"),
    ],
)
def test_what_the_archive_holds_beside_the_images_does_no_harm(
    copies: Copies, dataset: str, stray: str
) -> None:
    path = copies.folder(dataset) / stray
    assert path.is_file()
    found, reader = opened(copies, dataset)
    assert path not in reader.files()
    assert len(reader.sample_ids) == found.manifest.samples


def test_the_200_folders_of_objectnet_outside_imagenet_are_left_alone(copies: Copies) -> None:
    folders = {path.name for path in (copies.folder("objectnet") / "images").iterdir()}
    assert len(folders) == 313
    found, reader = opened(copies, "objectnet")
    assert {name.partition("/")[0] for name in reader.sample_ids} == set(found.classes)
    assert len(found.classes) == 113


def test_imagenet_c_below_its_groups_is_the_same_data(copies: Copies, tmp_path: Path) -> None:
    regrouped(copies, tmp_path / "imagenet-c")
    assert sorted(path.name for path in (tmp_path / "imagenet-c").iterdir()) == ["noise", "weather"]
    flat = load_dataset("imagenet-c", data=copies.data)
    grouped = load_dataset("imagenet-c", data=Copies(root=tmp_path, own=copies.own).data)
    digests = set()
    for condition in flat.manifest.all_conditions():
        first, second = flat.open(condition, seed=0), grouped.open(condition, seed=0)
        assert first.sample_ids == second.sample_ids
        everything = np.arange(0, 1000, 9)
        digest = stored_digest(first, everything, flat.label_keys(first))
        assert digest == stored_digest(second, everything, grouped.label_keys(second))
        digests.add(digest)
    assert len(digests) == 4, "no condition stands for another"


def test_every_condition_of_imagenet_c_shows_the_validation_images_in_their_order(copies: Copies) -> None:
    clean = opened(copies, "imagenet-1k")[1].sample_ids
    for name in ("gaussian_noise", "fog"):
        for level in (1, 5):
            assert opened(copies, "imagenet-c", name, level)[1].sample_ids == clean


def test_the_red_border_of_objectnet_is_not_seen(copies: Copies) -> None:
    found, reader = opened(copies, "objectnet")
    wanted = Preprocessing(
        input_size=(32, 32), resize=(32, 32), crop=None, interpolation="bilinear",
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # fmt: skip
    with_border = Transform(wanted, pre_cropped=False)
    without = Transform(wanted, pre_cropped=False, border=found.manifest.border)
    for index in range(0, len(reader.sample_ids), 10):
        stored = pixels_of(reader, index)
        assert (stored[0] == (255, 0, 0)).all()
        assert (stored[:, -1] == (255, 0, 0)).all()
        shown = without(stored)
        inner = Image.fromarray(stored[2:-2, 2:-2]).resize((32, 32), Image.Resampling.BILINEAR)
        assert np.array_equal(shown, np.asarray(inner))
        assert not (stored[2:-2, 2:-2] == (255, 0, 0)).all(axis=-1).any(), "no border is left"
        assert not np.array_equal(shown, with_border(stored))


def test_the_style_of_an_imagenet_r_image_is_read_from_its_name(copies: Copies) -> None:
    found, reader = opened(copies, "imagenet-r")
    (name, styles), = found.columns(reader.sample_ids).items()  # fmt: skip
    assert name == "style"
    assert set(styles) == set(STYLES)
    assert [style == "art" for style in styles] == ["/art_" in sample_id for sample_id in reader.sample_ids]


def test_shape_and_texture_of_a_cue_conflict_image_are_read_from_its_name(copies: Copies) -> None:
    found, reader = opened(copies, "cue-conflict")
    columns = found.columns(reader.sample_ids)
    assert columns["shape"] == found.label_keys(reader)
    # Eight images a shape, in the order of their numbers.
    assert list(zip(columns["shape"], columns["texture"], strict=True)) == [
        categories_of(number) for number in range(128)
    ]


# -------------------------------------------------------------------------------------------------- lists


def test_tiny_imagenet_is_joined_to_its_classes_by_the_list(copies: Copies) -> None:
    found, reader = opened(copies, "tiny-imagenet")
    lines = (copies.folder("tiny-imagenet") / "val" / "val_annotations.txt").read_text().splitlines()
    wanted = [tuple(line.split("\t")[:2]) for line in lines]
    assert (
        list(zip((f"{i}.JPEG" for i in reader.sample_ids), found.label_keys(reader), strict=True)) == wanted
    )
    assert found.classes == tuple(sorted(found.classes)), "not the order of wnids.txt"
    for index in (0, 63, 150):
        path = copies.folder("tiny-imagenet") / "val" / "images" / wanted[index][0]
        assert np.array_equal(pixels_of(reader, index), pillow(path))


@pytest.mark.parametrize(
    ("dataset", "images"),
    [
        ("openood-cifar10-texture", "images_classic"),
        ("openood-imagenet-ninco", "images_largescale"),
    ],
)
def test_an_openood_list_gives_its_images_in_its_order_and_no_others(
    copies: Copies, dataset: str, images: str
) -> None:
    found, reader = opened(copies, dataset)
    file = {"images_classic": "cifar10/test_texture.txt", "images_largescale": "imagenet/test_ninco.txt"}[
        images
    ]
    listed = (copies.root / "openood" / "benchmark_imglist" / file).read_text().splitlines()
    paths = [line.rpartition(" ")[0] for line in listed]
    assert list(reader.sample_ids) == [path.removesuffix(".jpg") for path in paths]
    assert (reader.labels == -1).all()
    assert found.manifest.samples == len(paths) < len(list((copies.root / "openood" / images).rglob("*.jpg")))
    for index in (0, 7, 20):
        assert np.array_equal(
            pixels_of(reader, index), pillow(copies.root / "openood" / images / paths[index])
        )


@pytest.mark.parametrize(
    ("dataset", "part", "n"),
    [("robin-iid-test", "iid_test", ROBIN_IID), ("robin-context", "nuisances/context", 104)],
)
def test_robin_is_read_from_its_table_and_lines_that_stand_twice_once(
    copies: Copies, dataset: str, part: str, n: int
) -> None:
    found, reader = opened(copies, dataset)
    folder = copies.folder(dataset) / part
    lines = [line.split(",") for line in (folder / "labels.csv").read_text().splitlines()[1:]]
    assert found.manifest.samples == len(lines)
    assert len(reader.sample_ids) == n
    assert found.label_keys(reader) == [label for _, label, _ in lines[:n]]
    for index in (0, 9, n - 1):
        image, label, _ = lines[index]
        assert np.array_equal(pixels_of(reader, index), pillow(folder / "Images" / label / image))


# ------------------------------------------------------------------------------------------------- arrays


def test_the_official_cifar_batch_gives_images_and_labels_row_by_row(copies: Copies) -> None:
    _, reader = opened(copies, "cifar-10")
    assert list(reader.sample_ids) == [f"{row:05d}" for row in range(N_CIFAR)]
    assert np.array_equal(reader.labels, CIFAR_LABELS)
    for row in (0, 41, N_CIFAR - 1):
        assert np.array_equal(pixels_of(reader, row), cifar_image(row))


@pytest.mark.parametrize("name", ["gaussian_noise", "fog"])
@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_a_severity_of_cifar_10_c_is_its_own_rows_in_the_order_of_the_test_set(
    copies: Copies, name: str, level: int
) -> None:
    assert len(np.load(copies.folder("cifar-10-c") / "labels.npy")) == 5 * N_CIFAR
    _, reader = opened(copies, "cifar-10-c", name, level)
    assert isinstance(reader, ArrayReader)
    everything = np.arange(N_CIFAR)
    images = reader.block(everything, reader.stored(everything))
    wanted = np.stack([corrupted(cifar_image(row), name, level) for row in range(N_CIFAR)])
    assert np.array_equal(images, wanted)
    assert np.array_equal(reader.labels, CIFAR_LABELS)
    assert reader.sample_ids == opened(copies, "cifar-10")[1].sample_ids


@pytest.mark.parametrize("file", list(CIFAR_P))
def test_the_sequences_of_cifar_10_p_have_31_frames_motion_blur_21_and_translate_16(
    copies: Copies, file: str
) -> None:
    name, level = (file.removesuffix("_2"), 2 if file.endswith("_2") else 1)
    _, reader = opened(copies, "cifar-10-p", name, level)
    assert reader.frames == {"motion_blur": 21, "translate": 16}.get(name, 31)
    for row in (0, 11):
        assert np.array_equal(pixels_of(reader, row), clip_frames(file, row))


@pytest.mark.parametrize(("version", "n"), [("v4", 21), ("v6", 20)])
def test_both_versions_of_cifar_10_1_are_read_from_one_folder(copies: Copies, version: str, n: int) -> None:
    _, reader = opened(copies, f"cifar-10.1-{version}")
    folder = copies.folder("cifar-10.1-v6")
    assert np.array_equal(reader.labels, np.load(folder / f"cifar10.1_{version}_labels.npy"))
    assert len(reader.labels) == n
    assert np.array_equal(pixels_of(reader, n - 1), np.load(folder / f"cifar10.1_{version}_data.npy")[-1])


def test_svhn_is_read_along_its_last_axis_and_10_is_the_digit_0(copies: Copies) -> None:
    found, reader = opened(copies, "svhn")
    assert len(reader.sample_ids) == 60
    assert (reader.labels == -1).all()
    assert np.array_equal(reader.groups, (np.arange(60) * 7 % 10 + 1) % 10)
    assert found.classes[0] == "0"
    for index in (0, 59):
        assert np.array_equal(pixels_of(reader, index), picture(400 + index, shake=8, size=(32, 32)))


def test_mnist_is_unpacked_and_grey_becomes_rgb(copies: Copies) -> None:
    _, reader = opened(copies, "mnist")
    assert len(reader.sample_ids) == 50
    assert (reader.labels == -1).all()
    assert np.array_equal(reader.groups, np.arange(50) * 3 % 10)
    for index in (0, 49):
        grey = picture(500 + index, size=(28, 28)).mean(axis=2).astype(np.uint8)
        assert np.array_equal(pixels_of(reader, index), np.stack([grey] * 3, axis=-1))


# ------------------------------------------------------------------------------------------------- videos


@pytest.mark.parametrize(
    ("name", "level", "folder", "frames"),
    [("gaussian_noise", 1, "gaussian_noise", 31), ("gaussian_noise", 2, "gaussian_noise_2", 31),
     ("translate", 1, "translate", 41)],
)  # fmt: skip
def test_a_clip_of_imagenet_p_has_31_frames_and_translate_41_each_in_its_place(
    copies: Copies, name: str, level: int, folder: str, frames: int
) -> None:
    found, reader = opened(copies, "imagenet-p", name, level)
    paths = [path for wnid in FEW for path in sorted((copies.folder("imagenet-p") / folder / wnid).iterdir())]
    assert list(reader.sample_ids) == [f"{path.parent.name}/{path.stem}" for path in paths]
    assert found.label_keys(reader) == [path.parent.name for path in paths]
    assert reader.frames == frames
    clip = pixels_of(reader, 2)
    with av.open(str(paths[2])) as video:
        wanted = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
    assert clip.shape == (frames, 224, 224, 3)
    assert np.array_equal(clip, wanted)
    # What was encoded: colours and order would show.
    index = WNIDS.index(FEW[1])
    turn = int(paths[2].stem != validation_name(index))
    made = np.stack(list(imagenet_frames(folder, index, turn, frames))).astype(int)
    gaps = np.abs(made[:, None, ::8, ::8] - clip[None, :, ::8, ::8]).mean(axis=(2, 3, 4))
    assert gaps[np.arange(frames), np.arange(frames)].max() < 8
    assert (gaps.min(axis=1) == gaps[np.arange(frames), np.arange(frames)]).mean() > 0.3


# ------------------------------------------------------------------------------------------------- labels


def test_reassessed_labels_are_joined_by_the_number_in_the_name(copies: Copies) -> None:
    look_up = read_labels(load_dataset("imagenet-real", data=copies.data))
    lists = json.loads((copies.folder("imagenet-real") / "real.json").read_text())
    _, reader = opened(copies, "imagenet-1k")
    right = look_up(reader.sample_ids).right
    for index, sample_id in enumerate(reader.sample_ids):
        number = int(sample_id.rpartition("_")[2])
        assert np.flatnonzero(right[index]).tolist() == sorted(lists[number - 1])
    lengths = right.sum(axis=1)
    assert {0, 1, 2} == set(lengths.tolist())


def test_counts_of_people_become_shares_row_by_row(copies: Copies) -> None:
    look_up = read_labels(load_dataset("cifar-10h", data=copies.data))
    counts = np.load(copies.folder("cifar-10h") / "cifar10h-counts.npy")
    found = look_up(["00099", "00000", "00041"])
    assert found.shares == pytest.approx(counts[[99, 0, 41]] / 50)
    assert found.right.sum(axis=1).tolist() == [1, 2, 1], "of equal counts both are right"


# ---------------------------------------------------------------------------------------- every one, once


def test_folder_tar_and_parquet_give_the_same_ids_and_the_same_data_digest(copies: Copies) -> None:
    found = [opened(copies, name) for name in THREE]
    ids = [list(reader.sample_ids) for _, reader in found]
    assert ids[0] == ids[1] == ids[2]
    assert ids[0][:2] == [f"{FEW[0]}/img_0", f"{FEW[0]}/img_1"]
    digests = {stored_digest(reader, np.arange(21), dataset.label_keys(reader)) for dataset, reader in found}
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["imagenet-r", *THREE])
def test_every_image_is_given_once_and_in_its_place_whatever_the_number_of_workers(
    copies: Copies, name: str
) -> None:
    found, reader = opened(copies, name)
    n = len(reader.sample_ids)
    wanted = Preprocessing(
        input_size=(32, 32), resize=32, crop="center", interpolation="bilinear",
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # fmt: skip
    transform = Transform(wanted, pre_cropped=False)
    expected = np.stack([seen(pixels_of(reader, index), resize=32) for index in range(n)])
    digests = set()
    for workers in (1, 4):
        loader = Loader(reader, np.arange(n), found.label_keys(reader), transform, block=23, workers=workers)
        blocks = list(loader)
        assert [block.start for block in blocks] == list(range(0, n, 23))
        assert sum(block.samples for block in blocks) == n
        assert np.array_equal(np.concatenate([block.images.numpy() for block in blocks]), expected)
        digests.add(loader.data_digest())
    assert digests == {stored_digest(reader, np.arange(n), found.label_keys(reader))}
