"""Images decoded whatever is wrong with some of them; clips; files that hold many images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.data import Dataset
from robustbench_safety.data.base import FileReader, Indices, Stored, array_ids
from robustbench_safety.data.verifying.image_checks import ImageCheck, check_sample_ids
from robustbench_safety.data.verifying.ordered_pool import ordered_pool
from robustbench_safety.data.verifying.verify import verify_dataset
from robustbench_safety.errors import DataError, StorageError

MakeDataset = Callable[..., Dataset]


class SharedFile(FileReader):
    """Images of 4x4 in one file; those in ``unread`` cannot be had, those in ``damaged`` not decoded."""

    def __init__(self, n: int, *, unread: Sequence[int] = (), damaged: Sequence[int] = (), frames: int = 1):
        self.sample_ids = array_ids(n)
        self.labels = np.zeros(n, dtype=np.int64)
        self.frames = frames
        self._unread, self._damaged = unread, damaged
        self.largest_read = 0
        self.reads = 0

    def stored(self, indices: Indices) -> Sequence[Stored]:
        self.largest_read = max(self.largest_read, len(indices))
        self.reads += 1
        for index in indices.tolist():
            if index in self._unread:
                raise StorageError(f"row {index} cannot be read")
        return [b""] * len(indices)

    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        if index in self._damaged:
            raise DataError(f"row {index} cannot be decoded")
        shape = (4, 4, 3) if self.frames == 1 else (self.frames, 4, 4, 3)
        return np.zeros(shape, dtype=np.uint8)


def checked(reader: SharedFile, size: tuple[int, int] | None = None) -> tuple[list[str], ImageCheck]:
    check = ImageCheck(name="mine", reader=reader, size=size)
    with ordered_pool(3) as pool:
        return [finding.where for finding in check.run(pool, lambda _: None)], check


def test_images_that_cannot_be_read_or_decoded_are_named_in_order_and_the_rest_decoded() -> None:
    where, check = checked(SharedFile(200, unread=[70, 3], damaged=[71, 0, 199]))
    refused = {3: "read", 70: "read", 0: "decoded", 71: "decoded", 199: "decoded"}
    assert where == [f"row {i} cannot be {refused[i]}" for i in (0, 3, 70, 71, 199)]
    assert check.decoded == 195


def test_a_shared_file_that_fails_again_and_again_is_left_and_that_is_said() -> None:
    reader = SharedFile(5000, unread=range(100, 5000))
    where, check = checked(reader)
    assert where[0] == "row 100 cannot be read"
    assert where[-1] == "mine: not all images were looked at"
    assert check.decoded == 100
    assert reader.reads < 200


def test_a_wrong_size_in_a_shared_file_is_named_by_its_sample() -> None:
    assert checked(SharedFile(2), (4, 4))[0] == []
    assert checked(SharedFile(2), (4, 5))[0] == [f"mine, 0000{i} has the wrong size" for i in range(2)]
    assert checked(SharedFile(2, frames=3), (4, 4))[0] == []


def test_few_clips_are_in_memory_at_a_time() -> None:
    still, clips = SharedFile(200), SharedFile(200, frames=31)
    checked(still)
    checked(clips)
    assert still.largest_read == 64
    assert clips.largest_read == 2


def test_sample_ids_are_compared_as_sets_and_in_order() -> None:
    def said(found: list[str]) -> str | None:
        fault = check_sample_ids("fog", found, other="snow", wanted=["a", "b", "c"])
        return None if fault is None else fault.found

    assert said(["a", "b", "c"]) is None
    assert said(["a", "c", "b"]) == "the same images in another order"
    assert said(["a", "d", "e"]) == "2 missing: b, c; 2 more: d, e"
    assert said([*"abc", *"defghij"]) == "7 more: d, e, f, g, h and 2 more"


def write_video(path: Path, n: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as video:
        stream = video.add_stream("mpeg4", rate=1)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv420p"
        for level in range(n):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 10 * level, dtype=np.uint8), "rgb24")
            video.mux(stream.encode(frame))
        video.mux(stream.encode())


@pytest.fixture
def clips(make_dataset: MakeDataset, tmp_path: Path) -> Dataset:
    """Return a dataset of one sequence with two videos for each of the classes a, b, c."""
    for key in "abc":
        for number in range(2):
            write_video(tmp_path / "mine" / "tilt" / key / f"{number}.mp4", 3)
    return make_dataset(
        role="sequence",
        layout={"type": "clips", "format": "video", "path": "{name}", "frames": 3},
        conditions=[{"kind": "sequence", "names": ["tilt"], "levels": [1]}],
        samples=6,
    )


def test_clips_are_decoded(clips: Dataset) -> None:
    report = verify_dataset(clips)
    assert (report.findings, report.images, report.decoded) == ((), 6, 6)
    short = clips.folder / "tilt" / "b" / "1.mp4"
    write_video(short, 2)
    assert verify_dataset(clips, quick=True).ok
    (finding,) = verify_dataset(clips).findings
    assert (finding.kind, finding.where) == ("undecodable", f"{short} cannot be decoded")


def test_clips_of_a_set_that_is_not_whole_are_decoded_too(clips: Dataset) -> None:
    (clips.folder / "tilt" / "a" / "0.mp4").unlink()
    write_video(clips.folder / "tilt" / "b" / "1.mp4", 4)
    report = verify_dataset(clips)
    assert [finding.kind for finding in report.findings] == ["count", "undecodable"]
    assert report.findings[0].found == "5, 1 too few"


def test_a_missing_class_of_clips_is_named(clips: Dataset) -> None:
    for path in (clips.folder / "tilt" / "b").iterdir():
        path.unlink()
    (clips.folder / "tilt" / "b").rmdir()
    report = verify_dataset(clips)
    assert [finding.kind for finding in report.findings] == ["class", "count"]
    assert report.findings[0].where.endswith("class b of mine has no folder")
    assert report.decoded == 4
