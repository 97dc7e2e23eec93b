"""Perturbation sequences: clips in a stack, or one video each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import (
    ArrayReader,
    FileReader,
    Indices,
    Place,
    Stored,
    array_ids,
    check_class_counts,
    check_count,
    checked_labels,
    release_pages,
)
from robustbench_safety.data.readers.image_folder import (
    class_folders,
    first_repeated,
    listed,
    without_ending,
)
from robustbench_safety.data.readers.npy import check_size, open_npy, open_npy_labels, wrong_array
from robustbench_safety.data.readers.places import located
from robustbench_safety.errors import DataError, MissingDependencyError
from robustbench_safety.files import read_bytes
from robustbench_safety.records import ClipsLayout, ImageFolderLayout

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["NpyClipsReader", "VideoReader"]

#: A clip of ImageNet-P has less than 1 MB.
_LARGEST_FILE = 64 * 2**20
#: Pixels of a whole clip; one of ImageNet-P has 31 x 224 x 224 = 1.6 million.
_LARGEST_CLIP = 80_000_000
#: ImageNet-P is H.264; MPEG-4 is what builds of ffmpeg without x264 can write. FFmpeg has hundreds of other
#: decoders, some of them long unattended, and a file chooses which of them it meets.
_CODECS = ("h264", "mpeg4")
#: Parts of ffmpeg that have a say in the pixels: decoding, and from YUV to RGB.
_LIBRARIES = ("libavcodec", "libswscale")


class NpyClipsReader(ArrayReader):
    """A memory-mapped stack of clips, as CIFAR-10-P is stored."""

    def __init__(self, place: Place, layout: ClipsLayout) -> None:
        manifest = place.manifest
        path = located(place, layout.path, layout.groups)
        self._paths = [path]
        self.frames = _frames(place, layout)
        clips = open_npy(path)
        shape = clips.shape
        if len(shape) != 5 or shape[4] != 3 or clips.dtype != np.uint8:
            raise wrong_array(path, "uint8 [N, F, H, W, 3]", clips)
        if shape[1] != self.frames:
            raise wrong_array(path, f"{self.frames} frames a clip", clips)
        check_size(path, place, (shape[2], shape[3]))
        check_count(path, manifest, shape[0])
        self._clips = cast(NDArray[np.uint8], clips)
        self.sample_ids = array_ids(shape[0])
        self.labels = np.full(shape[0], -1, dtype=np.int64)
        if layout.labels is not None:
            path = located(place, layout.labels)
            self._paths.append(path)
            found = open_npy_labels(path, shape[0])
            self.labels = checked_labels(path, manifest, found, place.classes)
            check_class_counts(path, manifest, self.labels, place.classes)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the slice of each clip, frame by frame and row by row."""
        clips = [self._clips[i].tobytes() for i in indices]
        release_pages(self._clips)
        return clips

    def block(self, indices: Indices, stored: Sequence[Stored]) -> NDArray[np.uint8]:  # noqa: ARG002
        """Return the frames of each clip in turn: uint8 [n * F, H, W, 3]."""
        return np.frombuffer(b"".join(stored), dtype=np.uint8).reshape(-1, *self._clips.shape[2:])

    def files(self) -> Sequence[Path]:
        """Return the file of the clips and that of the labels."""
        return self._paths


class VideoReader(FileReader):
    """``<class>/<clip>.mp4``, in the order of the class index and then of the file name.

    Builds of ffmpeg differ in what they make of H.264, some drop the last frame: a clip that does not give
    exactly the frames it should have is an error.
    """

    class_sorted = True

    def __init__(self, place: Place, layout: ClipsLayout) -> None:
        self.decoder = _decoder()
        self.frames = _frames(place, layout)
        self._size = place.manifest.image_size
        self._root = located(place, layout.path, layout.groups)
        folders = class_folders(self._root, place, ImageFolderLayout(type="image_folder"))
        self._names, groups = listed(self._root, folders, _is_clip)
        labels = np.array(groups, dtype=np.int64)
        self.sample_ids = [without_ending(name) for name in self._names]
        if repeated := first_repeated(self.sample_ids):
            raise DataError(
                f"{self._root} holds two clips {repeated} that differ in their ending alone",
                expected="one file for each sample id",
                fix="remove one of them",
            )
        check_class_counts(self._root, place.manifest, labels, place.classes)
        check_count(self._root, place.manifest, len(self._names))
        self.labels = checked_labels(self._root, place.manifest, labels, place.classes)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the encoded files."""
        return [read_bytes(self._root / self._names[i], largest=_LARGEST_FILE) for i in indices]

    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        """Return uint8 [F, H, W, 3], red first; a file that is damaged or of another length is named."""
        return _decoded(self._root / self._names[index], stored, self.frames, self._size)

    def files(self) -> Sequence[Path]:
        """Return the videos."""
        return [self._root / name for name in self._names]


def _frames(place: Place, layout: ClipsLayout) -> int:
    return layout.frames_of.get(place.condition.name, layout.frames)


def _is_clip(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(".mp4")


def _decoder() -> str:
    """Return the versions of what decodes.

    Raises:
        MissingDependencyError: PyAV is not there.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            "clips that are stored as videos need PyAV",
            expected="the extra 'video'",
            found=str(error),
            fix="pip install 'robustbench-safety[video]'",
        ) from error
    libraries = [f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in _LIBRARIES]
    return ", ".join([f"pyav {av.__version__}", *libraries])


def _decoded(path: Path, stored: Stored, n: int, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Return uint8 [n, H, W, 3].

    Raises:
        DataError: It is damaged, or has another number of frames or another size.
    """
    import av

    # Without it, memory for whatever size a header claims is taken before a pixel has been seen. It counts
    # the edges that decoders put around a frame, and is no exact bound.
    options = {"max_pixels": str(_LARGEST_CLIP)}
    clip: list[NDArray[np.uint8]] = []
    try:
        # The container is named, so that a playlist that calls itself .mp4 opens no other file.
        with av.open(
            io.BytesIO(stored), "r", format="mp4", options=options, metadata_errors="ignore"
        ) as video:
            stream = _checked_stream(path, video, n, size)
            height, width = stream.codec_context.height, stream.codec_context.width
            stream.codec_context.options = options
            # Clips are decoded side by side; threads within one would only get in each other's way.
            stream.codec_context.thread_count = 1
            for frame in video.decode(stream):
                if len(clip) == n:
                    raise _refused(path, f"{n} frames", "more")
                if frame.is_corrupt:  # the decoder has painted over what it could not read
                    raise _refused(path, "a whole clip", f"frame {len(clip)} is damaged")
                if (frame.height, frame.width) != (height, width):  # it may change on the way
                    raise _refused(
                        path, f"frames of {height}x{width}", f"one of {frame.height}x{frame.width}"
                    )
                clip.append(cast(NDArray[np.uint8], frame.to_ndarray(format="rgb24", threads=1)))
    # FFmpeg's own errors, and what PyAV raises where a header holds nonsense.
    except (av.FFmpegError, ValueError, OverflowError, MemoryError) as error:
        raise _refused(path, "a whole clip", f"{len(stored)} bytes: {error}") from error
    if len(clip) != n:
        raise _refused(path, f"{n} frames", str(len(clip)), "try another version of PyAV, or ")
    return np.stack(clip)


def _checked_stream(path: Path, video: InputContainer, n: int, size: tuple[int, int] | None) -> VideoStream:
    """Return the one stream of pictures, if it is of a kind and size that may be decoded."""
    streams = video.streams.video
    if len(streams) != 1:
        raise _refused(path, "one stream of pictures", str(len(streams)))
    context = streams[0].codec_context
    # Whatever PyAV's types say, there is no context where ffmpeg knows no decoder.
    codec = getattr(context, "name", "an unknown codec")
    if codec not in _CODECS:
        raise _refused(path, " or ".join(_CODECS), codec)
    # Some decoders state no size where it is beyond max_pixels.
    if not 0 < n * context.width * context.height <= _LARGEST_CLIP:
        shape = f"{context.height}x{context.width}" if context.width else "no size or a larger one"
        raise _refused(path, f"at most {_LARGEST_CLIP:,} pixels", f"{n} frames of {shape}")
    if size is not None and (context.height, context.width) != size:
        raise _refused(path, f"frames of {size[0]}x{size[1]}", f"frames of {context.height}x{context.width}")
    return streams[0]


def _refused(path: Path, expected: str, found: str, fix: str = "") -> DataError:
    return DataError(
        f"{path} cannot be decoded",
        expected=expected,
        found=found,
        fix=f"{fix}unpack it from the published archive again",
    )
