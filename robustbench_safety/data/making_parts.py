"""One part of a generated dataset to disk: files that nobody else writes, each whole or not there."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_safety.data.base import ArrayReader
from robustbench_safety.data.generated import GeneratedReader
from robustbench_safety.data.store import Dataset
from robustbench_safety.errors import DataError, MissingDependencyError
from robustbench_safety.files import file_digest, read_bytes, writes
from robustbench_safety.records import Condition, expanded

__all__ = ["PARTS", "Format", "Part", "Plan", "Written", "opened", "place_of", "write_part"]

#: ``npy``: a stack of all levels of a corruption, or of the clips of a sequence (CIFAR-C, CIFAR-P); ``jpeg``:
#: a picture a file in class folders (ImageNet-C); ``mp4``: a clip a file in class folders (ImageNet-P).
Format = Literal["npy", "jpeg", "mp4"]

#: Folder of files that are not whole yet.
PARTS = ".parts"
#: Images made at a time.
_TOGETHER = 256
#: Of the authors' files; Pillow's own chroma subsampling (protocols 2.1).
_QUALITY = 85
#: What every whole JPEG file ends with.
_END_OF_IMAGE = b"\xff\xd9"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is made, where and how; the same for every part."""

    dataset: Dataset
    out: Path
    seed: int
    format: Format


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some images of one condition, or all of the conditions that share a file."""

    conditions: tuple[Condition, ...]
    start: int
    stop: int

    @property
    def images(self) -> int:
        """Images or clips in it."""
        return len(self.conditions) * (self.stop - self.start)


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a part left on disk."""

    images: int
    digests: tuple[tuple[str, str], ...]
    """Path below the dataset's folder, with '/', and sha256 of every file."""


def opened(plan: Plan, condition: Condition) -> GeneratedReader:
    """Return the images of a condition, as they are before they are stored."""
    dataset = plan.dataset
    if plan.format == "jpeg":
        # Written as JPEG they go the way through it that they would otherwise only be shown to have gone.
        layout = dataset.manifest.layout.model_copy(update={"saved_as": "array"})
        dataset = replace(dataset, manifest=dataset.manifest.model_copy(update={"layout": layout}))
    reader = dataset.open(condition, seed=plan.seed)
    if not isinstance(reader, GeneratedReader):
        raise DataError(f"{condition.path} cannot be written", expected="images that are made on the fly")
    return reader


def place_of(plan: Plan, condition: Condition) -> str:
    """Return the file of a condition below the dataset's folder, or the topmost folder of its files."""
    name = "{name}" if condition.kind == "corruption" else "{name}{suffix}"
    return expanded(name, condition.name, condition.level) + (".npy" if plan.format == "npy" else "")


def write_part(plan: Plan, part: Part) -> Written:
    """Write the files of a part that are not there yet; torch should have one thread.

    Raises:
        DataError: The clean images are missing or damaged, or two of a class share a name.
        StorageError: The folder cannot be written.
        MissingDependencyError: What writes videos is not installed.
    """
    digests = [_write_stack(plan, part)] if plan.format == "npy" else list(_write_files(plan, part))
    return Written(images=part.images, digests=tuple(digests))


@contextmanager
def _whole(plan: Plan, name: str) -> Iterator[Path]:
    """Give a path to write to; when the block ends well, move it to ``name``, in one step."""
    path, temporary = plan.out / name, plan.out / PARTS / name.replace("/", "-")
    with writes(path):
        yield temporary
        temporary.replace(path)


# ------------------------------------------------------------------------------------------------- stacks


def _write_stack(plan: Plan, part: Part) -> tuple[str, str]:
    """Write the levels of one corruption one after another, or the clips of one sequence."""
    first = part.conditions[0]
    name = place_of(plan, first)
    if not (plan.out / name).exists():
        reader = opened(plan, first)
        with _whole(plan, name) as temporary:
            _fill(temporary, [reader, *map(reader.other, part.conditions[1:])])
    return name, file_digest(plan.out / name)


def _fill(path: Path, readers: Sequence[ArrayReader]) -> None:
    n = len(readers[0].sample_ids)
    one = np.zeros(1, np.int64)
    shape = readers[0].block(one, readers[0].stored(one)).shape[1:]
    clip = (readers[0].frames,) if readers[0].frames > 1 else ()
    stack = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=(n * len(readers), *clip, *shape)
    )
    for level, reader in enumerate(readers):
        for start in range(0, n, _TOGETHER):
            indices = np.arange(start, min(start + _TOGETHER, n))
            pixels = reader.block(indices, reader.stored(indices))
            rows = slice(level * n + start, level * n + start + len(indices))
            stack[rows] = pixels.reshape(len(indices), *clip, *pixels.shape[1:])
    stack.flush()
    with path.open("rb") as written:
        os.fsync(written.fileno())


# -------------------------------------------------------------------------------------------------- files


def _write_files(plan: Plan, part: Part) -> Iterator[tuple[str, str]]:
    """Write one file for each image or clip; yield name and digest of each, of those kept too."""
    (condition,) = part.conditions
    reader = opened(plan, condition)
    names = _file_names(plan, condition, reader)
    if part.start == 0:
        # A class without an image has a folder too: it stands for an index.
        for key in plan.dataset.classes:
            with writes(plan.out):
                (plan.out / _folder(plan, condition) / key).mkdir(parents=True, exist_ok=True)
    together = max(1, _TOGETHER // reader.frames // 4)
    for start in range(part.start, part.stop, together):
        here = range(start, min(start + together, part.stop))
        known = {i: digest for i in here if (digest := _kept(plan.out / names[i])) is not None}
        if missing := [i for i in here if i not in known]:
            indices = np.array(missing, dtype=np.int64)
            pixels = np.asarray(reader.block(indices, reader.stored(indices)), dtype=np.uint8)
            clips = pixels.reshape(len(missing), reader.frames, *pixels.shape[1:])
            for i, clip in zip(missing, clips, strict=True):
                known[i] = _write_file(plan, names[i], clip, noise="noise" in condition.name)
        yield from ((names[i], known[i]) for i in here)


def _folder(plan: Plan, condition: Condition) -> str:
    pattern = "{name}/{level}" if plan.format == "jpeg" else "{name}{suffix}"
    return expanded(pattern, condition.name, condition.level)


def _file_names(plan: Plan, condition: Condition, reader: ArrayReader) -> list[str]:
    """Return where every image goes: its class's folder, and the name that it has without folders."""
    ending = "JPEG" if plan.format == "jpeg" else "mp4"
    names = [
        f"{_folder(plan, condition)}/{key}/{PurePosixPath(sample_id).name}.{ending}"
        for key, sample_id in zip(plan.dataset.label_keys(reader), reader.sample_ids, strict=True)
    ]
    if len(set(names)) < len(names):
        raise DataError(
            f"{plan.dataset.name} cannot be written: two images of a class have one name",
            expected="names that differ within a class",
            found=next(name for i, name in enumerate(names) if name in names[:i]),
        )
    return names


def _kept(path: Path) -> str | None:
    """Return the digest of a file that is there, whole; None if it has to be made."""
    if not path.exists():
        return None
    content = read_bytes(path)
    # A machine that lost its power may have kept the name of a file and not all of its content.
    if path.suffix == ".JPEG" and not content.endswith(_END_OF_IMAGE):
        return None
    return hashlib.sha256(content).hexdigest() if content else None


def _write_file(plan: Plan, name: str, clip: NDArray[np.uint8], *, noise: bool) -> str:
    content = _jpeg(clip[0]) if plan.format == "jpeg" else _video(clip, noise=noise)
    path = plan.out / name
    if not path.parent.exists():
        with writes(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    # Not synced to the disk one by one: five million pictures would take hours, and _kept looks at them.
    with _whole(plan, name) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue()


def _video(clip: NDArray[np.uint8], *, noise: bool) -> bytes:
    """Return a clip as H.264 at one frame a second, with the authors' settings (protocols 2.6).

    Colours are not subsampled: what ffmpeg chooses for RGB input when told nothing, as the authors' writer
    told it nothing (inferred).
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            "clips are written as videos by PyAV",
            expected="the extra 'video'",
            found=str(error),
            fix="pip install 'robustbench-safety[video]', or write npy",
        ) from error
    kind = {"tune": "grain"} if noise else {"crf": "20"}
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=1, options={"preset": "veryslow", **kind})
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv444p"
        # The bytes depend on the number of threads, which by default is that of the machine's cores.
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, 1)
        for pixels in clip:
            video.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        video.mux(stream.encode(None))
    return content.getvalue()
