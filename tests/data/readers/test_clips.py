"""Perturbation sequences in stacks and in videos: order, ids, frames, colours, and what is refused."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from robustbench_safety.data.base import Place, Reader
from robustbench_safety.data.readers import clips, open_stored
from robustbench_safety.data.readers.clips import NpyClipsReader, VideoReader
from robustbench_safety.errors import DataError, FileFormatError, MissingDependencyError
from robustbench_safety.records import ClipsLayout, DatasetManifest

MakeManifest = Callable[..., DatasetManifest]
Opened = Callable[..., Reader]
Codec = Literal["libx264", "mpeg4", "mjpeg"]
NOTHING: Mapping[str, object] = {}

NAMES = ("gaussian_noise", "motion_blur", "translate")
CLIPS = np.random.default_rng(0).integers(0, 256, size=(4, 5, 6, 8, 3), dtype=np.uint8)
CODEC: Codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"


@pytest.fixture
def opened(make_manifest: MakeManifest, tmp_path: Path) -> Opened:
    """Return a function that opens one condition of clips of 5 frames."""

    def open_it(
        *,
        name: str = NAMES[0],
        classes: Sequence[str] = ("a", "b"),
        layout: Mapping[str, object] = NOTHING,
        **change: object,
    ) -> Reader:
        fields = {"type": "clips", "format": "npy", "path": "{name}.npy", "frames": 5, **layout}
        fields = {"role": "sequence", "samples": 4, "layout": fields, **change}
        fields["conditions"] = [{"kind": "sequence", "names": list(NAMES), "levels": [1]}]
        manifest = make_manifest(**fields)
        condition = next(one for one in manifest.all_conditions() if one.name == name)
        place = Place(
            manifest=manifest, folder=tmp_path / "mine", condition=condition, classes=tuple(classes)
        )
        assert isinstance(manifest.layout, ClipsLayout)
        return open_stored(place, manifest.layout)

    return open_it


@pytest.fixture
def opened_video(opened: Opened) -> Callable[..., VideoReader]:
    """Return a function that opens a folder of videos of 5 frames."""

    def open_it(*, layout: Mapping[str, object] = NOTHING, **change: object) -> VideoReader:
        fields = {"format": "video", "path": "{name}", **layout}
        reader = opened(**{"samples": 3, "layout": fields, **change})
        assert isinstance(reader, VideoReader)
        return reader

    return open_it


def save_stack(folder: Path, clips: NDArray[np.generic] = CLIPS, name: str = NAMES[0]) -> None:
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", clips)


def flat(*colours: tuple[int, int, int], height: int = 16, width: int = 24) -> NDArray[np.uint8]:
    """Return a clip [F, H, W, 3] of one colour a frame."""
    frames = np.array(colours, dtype=np.uint8)[:, None, None, :]
    return np.broadcast_to(frames, (len(colours), height, width, 3)).copy()


_FORMS = {"mjpeg": "yuvj420p"}


def encoded(clip: NDArray[np.uint8], *, codec: Codec = CODEC, form: str = "mp4", streams: int = 1) -> bytes:
    """Return a clip as ImageNet-P is stored: one frame a second, 4:2:0."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as video:
        for _ in range(streams):
            stream = video.add_stream(codec, rate=1)
            stream.height, stream.width, stream.pix_fmt = *clip.shape[1:3], _FORMS.get(codec, "yuv420p")
        for stream in video.streams.video:
            for frame in clip:
                video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            video.mux(stream.encode())
    return buffer.getvalue()


RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90)
SCENE = flat(RED, GREEN, BLUE, GREY, (200, 120, 40))


def save_videos(folder: Path, *, names: Sequence[str] = ("a/one", "a/two", "b/one")) -> None:
    for i, name in enumerate(names):
        path = folder / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(np.roll(SCENE, i, axis=0)))


def decoded(reader: VideoReader, index: int = 0) -> NDArray[np.uint8]:
    (stored,) = reader.stored(np.array([index]))
    return reader.decode(index, stored)


# ----------------------------------------------------------------------------------------------- stacks


def test_a_stack_gives_the_frames_of_each_clip_in_turn(tmp_path: Path, opened: Opened) -> None:
    save_stack(tmp_path / "mine")
    reader = opened()
    assert isinstance(reader, NpyClipsReader)
    assert (reader.frames, reader.decoder) == (5, "none")
    assert reader.sample_ids == ["00000", "00001", "00002", "00003"]
    indices = np.array([3, 1])
    stored = reader.stored(indices)
    assert [bytes(part) for part in stored] == [CLIPS[3].tobytes(), CLIPS[1].tobytes()]
    block = reader.block(indices, stored)
    assert block.shape == (10, 6, 8, 3)
    assert np.array_equal(block[:5], CLIPS[3])
    assert np.array_equal(block[5:], CLIPS[1])


def test_clips_without_labels_have_none(tmp_path: Path, opened: Opened) -> None:
    save_stack(tmp_path / "mine")
    assert opened().labels.tolist() == [-1] * 4
    assert opened(label_space="digits", classes=("a", "b")).labels.dtype == np.int64


def test_clips_may_have_labels_beside_them(tmp_path: Path, opened: Opened) -> None:
    save_stack(tmp_path / "mine")
    path = tmp_path / "mine" / "labels.npy"
    np.save(path, np.array([1, 0, 0, 1]))
    reader = opened(layout={"labels": "labels.npy"}, samples_per_class=2)
    assert reader.labels.tolist() == [1, 0, 0, 1]
    assert list(reader.files()) == [tmp_path / "mine" / "gaussian_noise.npy", path]
    np.save(path, np.array([1, 0, 1, 1]))
    with pytest.raises(DataError, match=r"labels\.npy: class a; expected 2 images; found 1, and 1 other"):
        opened(layout={"labels": "labels.npy"}, samples_per_class=2)
    np.save(path, np.array([1, 0, 2, 1]))
    with pytest.raises(DataError, match="a label lies outside label space digits"):
        opened(layout={"labels": "labels.npy"})
    np.save(path, np.array([1, 0, 1]))
    with pytest.raises(DataError, match="expected 4 whole numbers"):
        opened(layout={"labels": "labels.npy"})


def test_each_sequence_has_its_own_number_of_frames(tmp_path: Path, opened: Opened) -> None:
    layout = {"frames": 5, "frames_of": {"motion_blur": 3, "translate": 2}}
    for name, frames in zip(NAMES, (5, 3, 2), strict=True):
        save_stack(tmp_path / "mine", CLIPS[:, :frames], name)
        assert opened(name=name, layout=layout).frames == frames
    save_stack(tmp_path / "mine", CLIPS[:, :4], "translate")
    with pytest.raises(DataError, match=r"wrong array; expected 2 frames a clip; found uint8 \[4, 4, 6, 8"):
        opened(name="translate", layout=layout)


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (CLIPS.astype(np.float32), r"expected uint8 \[N, F, H, W, 3\]; found float32"),
        (CLIPS[:, 0], r"found uint8 \[4, 6, 8, 3\]"),
        (CLIPS.transpose(0, 1, 4, 2, 3), r"found uint8 \[4, 5, 3, 6, 8\]"),
        (CLIPS[:3], "expected 4 images; found 3"),
        (CLIPS.transpose(0, 1, 3, 2, 4), "wrong size; expected 6x8; found 8x6"),
    ],
)
def test_a_stack_of_another_kind_is_refused(
    tmp_path: Path, opened: Opened, clips: NDArray[np.generic], message: str
) -> None:
    save_stack(tmp_path / "mine", clips)
    with pytest.raises(DataError, match=message):
        opened(image_size=[6, 8])


def test_a_stack_may_lie_in_a_group_folder(tmp_path: Path, opened: Opened) -> None:
    (tmp_path / "mine").mkdir()
    save_stack(tmp_path / "mine" / "extra", name="translate")
    assert len(opened(name="translate", layout={"groups": {"extra": ["translate"]}}).labels) == 4
    with pytest.raises(DataError, match="translate at level 1 of dataset mine is not in"):
        opened(name="translate")


def test_a_stack_is_mapped_and_not_read(tmp_path: Path, opened: Opened) -> None:
    save_stack(tmp_path / "mine")
    reader = opened()
    assert isinstance(reader, NpyClipsReader)
    assert isinstance(reader._clips, np.memmap)


# ----------------------------------------------------------------------------------------------- videos


def test_videos_are_read_by_class_index_and_then_by_name(
    tmp_path: Path, opened_video: Callable[..., VideoReader]
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    (tmp_path / "mine" / "gaussian_noise" / "a" / "README.txt").touch()
    (tmp_path / "mine" / "gaussian_noise" / "a" / "._one.mp4").touch()
    reader = opened_video(classes=("b", "a"))
    assert reader.sample_ids == ["b/one", "a/one", "a/two"]
    assert reader.labels.tolist() == [0, 1, 1]
    assert reader.class_sorted
    assert reader.frames == 5
    (stored,) = reader.stored(np.array([2]))
    assert bytes(stored) == (tmp_path / "mine" / "gaussian_noise" / "a" / "two.mp4").read_bytes()


def test_the_frames_of_a_video_come_in_order_and_red_comes_first(
    tmp_path: Path, opened_video: Callable[..., VideoReader]
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    found = decoded(opened_video(image_size=[16, 24]))
    assert (found.dtype, found.shape) == (np.dtype(np.uint8), (5, 16, 24, 3))
    # Flat colours survive the way to YUV and back to within a few levels, pure ones to within 3.
    assert np.abs(found.astype(int) - SCENE).max() <= 4


def test_the_decoder_names_the_versions(tmp_path: Path, opened_video: Callable[..., VideoReader]) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    version = ".".join(map(str, av.library_versions["libavcodec"]))
    assert opened_video().decoder.startswith(f"pyav {av.__version__}, libavcodec {version}, libswscale ")


def test_threads_that_decode_at_once_find_the_same_pixels(
    tmp_path: Path, opened_video: Callable[..., VideoReader]
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    reader = opened_video()
    alone = [decoded(reader, i) for i in range(3)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: decoded(reader, i), [0, 1, 2] * 8))
    assert all(np.array_equal(clip, alone[i % 3]) for i, clip in enumerate(together))


@pytest.mark.parametrize(("frames", "found"), [(4, "4"), (6, "more"), (1, "1")])
def test_a_video_of_another_length_is_named(
    tmp_path: Path, opened_video: Callable[..., VideoReader], frames: int, found: str
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    path = tmp_path / "mine" / "gaussian_noise" / "b" / "one.mp4"
    path.write_bytes(encoded(flat(*[GREY] * frames)))
    reader = opened_video()
    with pytest.raises(DataError, match=rf"b/one\.mp4 cannot be decoded; expected 5 frames; found {found};"):
        decoded(reader, 2)


def test_a_video_of_another_size_is_named(tmp_path: Path, opened_video: Callable[..., VideoReader]) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    with pytest.raises(
        DataError, match=r"one\.mp4 cannot be decoded; expected frames of 24x16; found frames of 16x24"
    ):
        decoded(opened_video(image_size=[24, 16]))


def damaged(content: bytes) -> list[bytes]:
    """Return a video without its end, its beginning, its pixels, and what is none at all."""
    begin = content.index(b"mdat") + 4
    middle = content[:begin] + bytes(len(content) - begin - 900) + content[-900:]
    flipped = bytearray(content)
    for at in range(begin + 700, len(content) - 1500, 7):
        flipped[at] ^= 255
    return [
        content[: len(content) // 2],
        content[:-100],
        content[100:],
        middle,
        bytes(flipped),
        b"",
        b"no video",
    ]


@pytest.mark.parametrize("case", range(7))
def test_a_damaged_video_is_named_and_nothing_is_printed(
    tmp_path: Path,
    opened_video: Callable[..., VideoReader],
    capfd: pytest.CaptureFixture[str],
    case: int,
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    noise = np.random.default_rng(0).integers(0, 256, size=(5, 64, 64, 3), dtype=np.uint8)
    path = tmp_path / "mine" / "gaussian_noise" / "a" / "two.mp4"
    path.write_bytes(encoded(noise))
    assert decoded(opened_video(), 1).shape == noise.shape
    path.write_bytes(damaged(encoded(noise))[case])
    with pytest.raises(DataError, match=r"a/two\.mp4 cannot be decoded"):
        decoded(opened_video(), 1)
    assert capfd.readouterr() == ("", "")


def test_damage_that_the_decoder_would_paint_over_is_refused(
    tmp_path: Path, opened_video: Callable[..., VideoReader]
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    noise = np.random.default_rng(0).integers(0, 256, size=(5, 64, 64, 3), dtype=np.uint8)
    content = encoded(noise)
    reader = opened_video()
    refused = 0
    # Of single bytes changed, nearly half leave the decoder something that it cannot read.
    for at in range(content.index(b"mdat") + 1000, content.index(b"moov") - 100, 200):
        changed = bytearray(content)
        changed[at] ^= 255
        try:
            reader.decode(0, bytes(changed))
        except DataError as error:
            refused += "is damaged" in error.found
    assert refused >= 5


def mixed_sizes(height: int, width: int) -> bytes:
    """Return a video of five frames, the last two of another size than its header says."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as video:
        stream = video.add_stream("mpeg4", rate=1)
        stream.height, stream.width, stream.pix_fmt = 16, 24, "yuv420p"
        for frame in flat(GREY, GREY, GREY):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        video.mux(stream.encode())
        # An encoder that belongs to no file writes its header into the stream.
        other = av.CodecContext.create("mpeg4", "w")
        other.height, other.width, other.pix_fmt = height, width, "yuv420p"
        other.time_base, other.framerate = Fraction(1), Fraction(1)
        for pts in (3, 4):
            image = av.VideoFrame.from_ndarray(flat(RED, height=height, width=width)[0], format="rgb24")
            image.pts = pts
            for packet in other.encode(image):
                packet.stream, packet.pts, packet.dts = stream, pts, pts
                video.mux(packet)
    return buffer.getvalue()


def unknown_codec() -> bytes:
    """Return a video whose header gives the codec a name and a number that nobody has."""
    return encoded(SCENE, codec="mpeg4").replace(b"mp4v", b"zzzz").replace(b"\x20\x11", b"\xc1\x11")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encoded(SCENE, codec="mjpeg"), "expected h264 or mpeg4; found mjpeg"),
        (unknown_codec(), "found an unknown codec"),
        (mixed_sizes(32, 48), "expected frames of 16x24; found one of 32x48"),
        (encoded(SCENE, streams=2), "expected one stream of pictures; found 2"),
        (encoded(SCENE, form="matroska"), "expected a whole clip"),
        (b"#EXTM3U\n#EXTINF:5,\n/etc/hostname\n#EXT-X-ENDLIST\n", "expected a whole clip"),
        (b"ffconcat version 1.0\nfile two.mp4\n", "expected a whole clip"),
    ],
    ids=["codec", "unknown codec", "sizes", "streams", "container", "playlist", "list"],
)
def test_what_is_no_plain_clip_is_refused(
    tmp_path: Path, opened_video: Callable[..., VideoReader], content: bytes, message: str
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    (tmp_path / "mine" / "gaussian_noise" / "a" / "one.mp4").write_bytes(content)
    with pytest.raises(DataError, match=message):
        decoded(opened_video())


@pytest.mark.parametrize("codec", [CODEC, "mpeg4"])
def test_a_video_that_claims_too_many_pixels_is_refused(
    tmp_path: Path,
    opened_video: Callable[..., VideoReader],
    monkeypatch: pytest.MonkeyPatch,
    codec: Codec,
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    path = tmp_path / "mine" / "gaussian_noise" / "a" / "one.mp4"
    path.write_bytes(encoded(flat(*[GREY] * 5, height=64, width=48), codec=codec))
    assert decoded(opened_video()).shape == (5, 64, 48, 3)
    # Too many in all frames together, and already in the first.
    for bound in (5 * 64 * 48 - 1, 64 * 48 - 1):
        monkeypatch.setattr(clips, "_LARGEST_CLIP", bound)
        with pytest.raises(DataError, match=rf"expected at most {bound:,} pixels; found 5 frames of "):
            decoded(opened_video())


def test_a_video_that_grows_on_the_way_takes_no_more_memory(
    tmp_path: Path, opened_video: Callable[..., VideoReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    path = tmp_path / "mine" / "gaussian_noise" / "a" / "one.mp4"
    path.write_bytes(mixed_sizes(512, 512))
    monkeypatch.setattr(clips, "_LARGEST_CLIP", 100_000)
    # The decoder refuses by itself, before there is a frame whose size could be compared.
    with pytest.raises(DataError, match="expected a whole clip"):
        decoded(opened_video())


def test_a_file_far_too_large_for_a_clip_is_refused_unread(
    tmp_path: Path, opened_video: Callable[..., VideoReader]
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    with (tmp_path / "mine" / "gaussian_noise" / "a" / "one.mp4").open("wb") as handle:
        handle.truncate(65 * 2**20)
    with pytest.raises(FileFormatError, match=r"one\.mp4 is too large"):
        opened_video().stored(np.array([0]))


def test_folders_and_counts_of_videos_are_checked(
    tmp_path: Path, opened_video: Callable[..., VideoReader]
) -> None:
    root = tmp_path / "mine" / "gaussian_noise"
    save_videos(root)
    with pytest.raises(DataError, match="expected 4 images; found 3"):
        opened_video(samples=4)
    with pytest.raises(DataError, match="class b; expected 2 images; found 1"):
        opened_video(samples_per_class=2)
    with pytest.raises(DataError, match=r"1 missing, e\.g\. 'c' and 1 unknown, e\.g\. 'b'"):
        opened_video(classes=("a", "c"))
    (root / "b" / "one.MP4").touch()
    with pytest.raises(DataError, match="two clips b/one that differ in their ending alone"):
        opened_video(samples=4)


def test_without_pyav_a_folder_of_videos_is_not_even_opened(
    tmp_path: Path, opened_video: Callable[..., VideoReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_videos(tmp_path / "mine" / "gaussian_noise")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'robustbench-safety\[video\]'"):
        opened_video()


def test_a_stack_needs_no_pyav(tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    save_stack(tmp_path / "mine")
    monkeypatch.setitem(sys.modules, "av", None)
    assert opened().frames == 5
