"""The loader: every sample once, in order, hashed on the way, with no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.data import (
    DataRoot,
    Dataset,
    Loader,
    Reader,
    Transform,
    limited,
    load_dataset,
    stored_digest,
)
from robustbench_safety.data.base import ArrayReader, FileReader, Indices, Stored, array_ids
from robustbench_safety.data.builtin import DigitsReader, NoiseReader
from robustbench_safety.data.generated import GeneratedReader
from robustbench_safety.errors import DataError
from robustbench_safety.records import Condition, GeneratedLayout, Preprocessing

MakeDataset = Callable[..., Dataset]
MakeFolder = Callable[[Path, int], None]


def transform(side: int | None = None, resize: int | None = None) -> Transform:
    wanted = Preprocessing(
        input_size=None if side is None else (side, side),
        resize=resize,
        crop=None if side is None else "center",
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    return Transform(wanted, pre_cropped=False)


class Counting(ArrayReader):
    """Images whose pixels all equal their index; tells how far it has been read."""

    def __init__(self, n: int) -> None:
        self.sample_ids = array_ids(n)
        self.labels = np.zeros(n, dtype=np.int64)
        self.read = 0

    def stored(self, indices: Indices) -> Sequence[Stored]:
        self.read += len(indices)
        return [bytes([i % 256]) * 12 for i in indices]

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:
        return np.frombuffer(b"".join(stored), dtype=np.uint8).reshape(-1, 2, 2, 3)

    def stamp(self) -> str:
        return "counting"


class Clips(FileReader):
    """Clips of ``frames`` pictures; the value of a frame's pixels is 10 times the clip plus the frame."""

    def __init__(self, n: int, frames: int, *, sides: Sequence[int] = (6,)) -> None:
        self.sample_ids = array_ids(n)
        self.labels = np.zeros(n, dtype=np.int64)
        self.frames = frames
        self._sides = sides

    def stored(self, indices: Indices) -> Sequence[Stored]:
        return [bytes([i]) for i in indices]

    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        side = self._sides[index % len(self._sides)]
        frames = 10 * stored[0] + np.arange(self.frames, dtype=np.uint8)
        return np.tile(frames[:, None, None, None], (1, side, side, 3))


def loader_of(
    reader: Reader,
    indices: NDArray[np.int64] | None = None,
    *,
    block: int = 4,
    workers: int = 2,
    through: Transform | None = None,
) -> Loader:
    chosen = np.arange(len(reader.sample_ids)) if indices is None else indices
    keys = ["x"] * len(reader.sample_ids)
    return Loader(reader, chosen, keys, through or transform(), block=block, workers=workers)


@pytest.fixture
def folder(tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder) -> Reader:
    """Twenty-one pictures of different sizes."""
    make_folder(tmp_path / "mine", 7)
    dataset = make_dataset(layout={"type": "image_folder"}, samples=21)
    return dataset.open(dataset.manifest.all_conditions()[0], seed=0)


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("rbs-")]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("block", [1, 2, 5, 23, 24, 1000])
def test_every_sample_comes_once_and_in_order(block: int, workers: int) -> None:
    blocks = list(loader_of(Counting(23), block=block, workers=workers))
    assert [part.start for part in blocks] == list(range(0, 23, block))
    assert [part.samples for part in blocks] == [len(part.images) for part in blocks]
    assert torch.cat([part.images for part in blocks])[:, 0, 0, 0].tolist() == list(range(23))


def test_the_samples_asked_for_come_in_the_order_asked() -> None:
    blocks = list(loader_of(Counting(23), np.array([20, 3, 7, 7]), block=3))
    assert torch.cat([part.images for part in blocks])[:, 1, 1, 2].tolist() == [20, 3, 7, 7]


@pytest.mark.parametrize(("block", "workers"), [(1, 1), (4, 3), (21, 2)])
def test_pictures_of_any_size_are_decoded_and_brought_to_one(
    folder: Reader, block: int, workers: int
) -> None:
    through = transform(8, 9)
    found = torch.cat(
        [part.images for part in loader_of(folder, block=block, workers=workers, through=through)]
    )
    assert found.shape == (21, 8, 8, 3)
    (first,) = folder.stored(np.array([13]))
    assert not isinstance(folder, ArrayReader)
    assert np.array_equal(found[13].numpy(), through(folder.decode(13, first)))


@pytest.mark.parametrize(("block", "workers"), [(1, 1), (5, 3), (100, 2)])
def test_the_digest_does_not_depend_on_block_and_workers(folder: Reader, block: int, workers: int) -> None:
    condition = Condition(dataset="mine", kind="sequence", name="translate", level=1)
    layout = GeneratedLayout(type="generated", source="digits", variant="cifar")
    digits = DigitsReader("tune")
    clips = GeneratedReader(digits, layout, condition, seed=0)
    for reader in (folder, digits, clips, NoiseReader("blobs", 9)):
        some = np.arange(0, len(reader.sample_ids), 4)
        loader = loader_of(reader, some, block=block, workers=workers, through=transform(32, 32))
        frames = sum(len(part.images) for part in loader)
        assert frames == len(some) * reader.frames
        assert loader.data_digest() == stored_digest(reader, some, ["x"] * len(reader.sample_ids))


def test_the_digest_covers_ids_keys_and_choice_of_samples() -> None:
    reader = Counting(23)
    keys = ["x"] * 23
    digests = {
        stored_digest(reader, np.arange(23), keys),
        stored_digest(reader, np.arange(22), keys),
        stored_digest(reader, np.arange(23)[::-1], keys),
        stored_digest(reader, np.arange(23), ["y", *keys[1:]]),
    }
    assert len(digests) == 4


def test_the_digest_is_not_known_before_the_end() -> None:
    loader = loader_of(Counting(23))
    with pytest.raises(RuntimeError, match="when all blocks have been read"):
        loader.data_digest()
    next(iter(loader))
    with pytest.raises(RuntimeError, match="when all blocks have been read"):
        loader.data_digest()


def test_a_second_iteration_gives_the_same_images_and_digest() -> None:
    loader = loader_of(Counting(23))
    first = [part.images for part in loader]
    digest = loader.data_digest()
    second = [part.images for part in loader]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert loader.data_digest() == digest


def test_images_may_be_written_to() -> None:
    for reader in (Counting(5), DigitsReader("tune"), NoiseReader("blobs", 3)):
        for part in loader_of(reader, np.arange(3)):
            part.images.zero_()


def test_arrays_of_another_size_are_resized() -> None:
    reader = DigitsReader("tune")
    (part,) = loader_of(reader, np.array([4]), through=transform(24, 28))
    image = reader.block(np.array([4]), reader.stored(np.array([4])))[0]
    large = np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR))
    assert np.array_equal(part.images[0].numpy(), large[2:26, 2:26])


def test_a_damaged_picture_ends_the_iteration_with_its_name(folder: Reader, tmp_path: Path) -> None:
    (tmp_path / "mine" / "b" / "img_3.png").write_bytes(b"broken")
    blocks = iter(loader_of(folder, block=2, workers=3, through=transform(8, 9)))
    assert [next(blocks).start for _ in range(5)] == [0, 2, 4, 6, 8], "it is sample 10"
    with pytest.raises(DataError, match=r"b/img_3\.png cannot be decoded"):
        next(blocks)


def test_an_error_while_reading_reaches_the_caller() -> None:
    class Failing(Counting):
        def stored(self, indices: Indices) -> Sequence[Stored]:
            if 9 in indices:
                raise DataError("the disk is gone")
            return super().stored(indices)

    with pytest.raises(DataError, match="the disk is gone"):
        list(loader_of(Failing(23)))


def test_an_iteration_that_is_given_up_leaves_no_thread() -> None:
    for part in loader_of(Counting(1000), block=2):
        if part.start > 10:
            break


def test_the_loader_reads_only_a_few_blocks_ahead() -> None:
    reader = Counting(1000)
    iterator = iter(loader_of(reader, block=10))
    for taken in range(1, 40):
        next(iterator)
        assert reader.read <= 10 * (taken + 3)
    assert isinstance(iterator, Iterator)
    del iterator


def test_no_samples_give_no_blocks() -> None:
    assert list(loader_of(Counting(3), np.arange(0))) == []


@pytest.mark.parametrize(("block", "workers"), [(1, 1), (2, 3), (5, 2), (100, 1)])
def test_the_frames_of_decoded_clips_come_clip_by_clip_in_their_order(block: int, workers: int) -> None:
    blocks = list(loader_of(Clips(5, 3), block=block, workers=workers))
    assert [len(part.images) for part in blocks] == [3 * part.samples for part in blocks]
    images = torch.cat([part.images for part in blocks])
    assert images.shape == (15, 6, 6, 3)
    assert images[:, 0, 0, 0].tolist() == [10 * clip + frame for clip in range(5) for frame in range(3)]
    assert images[:, 5, 5, 2].tolist() == images[:, 0, 0, 0].tolist()


def test_clips_of_different_sizes_are_brought_to_one_frame_by_frame() -> None:
    reader = Clips(4, 3, sides=(6, 9))
    through = transform(4, 5)
    images = torch.cat([part.images for part in loader_of(reader, through=through)])
    assert images.shape == (12, 4, 4, 3)
    assert images[:, 2, 2, 1].tolist() == [10 * clip + frame for clip in range(4) for frame in range(3)]


def test_a_clip_of_two_frames_is_no_picture() -> None:
    # Stacked like pictures, one clip would make an array of five dimensions.
    (part,) = loader_of(Clips(1, 2), block=1)
    assert part.images.shape == (2, 6, 6, 3)
    assert part.samples == 1


def test_images_of_several_sizes_are_refused_with_the_sizes(folder: Reader) -> None:
    # Pictures i of a class are (9 + i) x 12.
    found = r"found 10x12, 11x12, 12x12, 9x12; state input_size, resize and crop in the model file"
    with pytest.raises(DataError, match=f"images of several sizes cannot share a batch; .*{found}"):
        list(loader_of(folder, block=4))


def test_at_most_five_sizes_are_listed(folder: Reader) -> None:
    with pytest.raises(DataError, match=r"found 10x12, 11x12, 12x12, 13x12, 14x12; state"):
        list(loader_of(folder, block=21))


def test_images_of_several_sizes_that_never_share_a_block_go_through(folder: Reader) -> None:
    shapes = [tuple(part.images.shape) for part in loader_of(folder, block=1)]
    assert shapes == [(1, 9 + i, 12, 3) for i in range(7)] * 3


def test_clips_of_several_sizes_are_refused_with_the_sizes() -> None:
    with pytest.raises(DataError, match=r"images of several sizes .* found 6x6, 9x9; state"):
        list(loader_of(Clips(4, 3, sides=(6, 9))))


# ---------------------------------------------------------------------------------------------- limits


def test_without_a_limit_all_samples_are_taken() -> None:
    labels = np.array([1, 0, 2])
    for limit in (None, 3, 4):
        for class_sorted in (False, True):
            assert limited(labels, limit, class_sorted=class_sorted).tolist() == [0, 1, 2]


def test_a_limit_takes_the_first_samples_of_a_mixed_set() -> None:
    assert limited(np.array([5, 5, 5, 1]), 2, class_sorted=False).tolist() == [0, 1]


@pytest.mark.parametrize("limit", range(1, 10))
def test_a_limit_goes_round_the_classes_of_a_sorted_set(limit: int) -> None:
    labels = [0, 0, 0, 0, 1, 1, 2, 2, 2]
    turns = sorted(range(9), key=lambda i: (labels[:i].count(labels[i]), labels[i]))
    found = limited(np.array(labels), limit, class_sorted=True)
    assert found.tolist() == sorted(turns[:limit])
    assert found.dtype == np.int64


def test_a_limit_of_one_each_takes_every_class_once() -> None:
    labels = np.repeat(np.arange(100), 50)
    chosen = limited(labels, 100, class_sorted=True)
    assert labels[chosen].tolist() == list(range(100))
    assert chosen.tolist() == list(range(0, 5000, 50))


def test_a_limit_goes_round_the_classes_of_an_out_of_distribution_set_too(tmp_path: Path) -> None:
    folder = tmp_path / "sorted"
    folder.mkdir()
    np.save(folder / "images.npy", np.zeros((40, 4, 4, 3), dtype=np.uint8))
    np.save(folder / "labels.npy", np.repeat(np.arange(4), 10))
    (tmp_path / "sorted.yaml").write_text(
        "name: sorted\nversion: 1\ntitle: T\nrole: ood\n"
        "layout: {type: npy, images: images.npy, labels: labels.npy, class_sorted: true}\n"
        "folder: sorted\nconditions: [{kind: clean, names: [clean], levels: [0]}]\n"
        "label_space: digits\nsamples: 40\nlicence: own\ncitation: own\n"
    )
    dataset = load_dataset("sorted", data=DataRoot(root=tmp_path, beside=tmp_path))
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert set(reader.labels) == {-1}
    assert limited(reader.groups, 6, class_sorted=reader.class_sorted).tolist() == [0, 1, 10, 11, 20, 30]
