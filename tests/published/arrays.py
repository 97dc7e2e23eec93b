"""Small copies of what is published as arrays, clips, shards and tables."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.io import savemat

from tests.published.manifests import only, write, write_manifest, write_subset
from tests.published.photographs import corrupted, encoded, picture
from tests.published.writer import FEW, WNIDS, Copies, put, validation_name

__all__ = [
    "CIFAR_LABELS",
    "CIFAR_P",
    "N_CIFAR",
    "cifar_image",
    "clip_frames",
    "python2_pickle",
    "write_arrays",
]

Pixels = NDArray[np.uint8]

N_CIFAR = 100
#: In no order, as in the published batch: rows cut one off would have other labels.
CIFAR_LABELS: NDArray[np.int64] = np.random.default_rng(11).permutation(np.arange(N_CIFAR) % 10)
#: Frames of the sequences that the copies have.
CIFAR_P = {"gaussian_noise": 31, "gaussian_noise_2": 31, "motion_blur": 21, "translate": 16}
_N_CLIPS = 12


def write_arrays(copies: Copies) -> None:
    """Write every set of arrays, clips, shards and tables."""
    for write_copy in _WRITERS:
        write_copy(copies)


def _saved(path: Path, array: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


# ------------------------------------------------------------------------------------------------- CIFAR


def cifar_image(row: int, *, offset: tuple[int, int] = (0, 0)) -> Pixels:
    """Return uint8 [32, 32, 3]: the picture of the row's class with some of another's in it."""
    label = int(CIFAR_LABELS[row])
    shown = picture(label, shake=12, seed=row, offset=offset, size=(32, 32))
    other = picture((label + 1 + row % 9) % 10, offset=offset, size=(32, 32))
    return np.rint(0.56 * shown + 0.44 * other).astype(np.uint8)


def _cifar_images() -> Pixels:
    return np.stack([cifar_image(row) for row in range(N_CIFAR)])


def _text(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def python2_pickle(pixels: Pixels, labels: Sequence[int]) -> bytes:
    """Return the dictionary of uint8 [N, 3072] and labels as Python 2 and its NumPy pickled it."""
    put_away = iter(b"r" + i.to_bytes(4, "little") for i in range(1, 10_000))
    array = [
        b"cnumpy.core.multiarray\n_reconstruct\n" + next(put_away) + b"cnumpy\nndarray\n" + next(put_away),
        b"K\x00\x85" + _text(b"b") + b"\x87R" + next(put_away),
        b"(K\x01J" + len(pixels).to_bytes(4, "little") + b"M\x00\x0c\x86cnumpy\ndtype\n" + next(put_away),
        _text(b"u1") + b"K\x00K\x01\x87R" + next(put_away) + b"(K\x03" + _text(b"|"),
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + pixels.size.to_bytes(4, "little"),
        pixels.tobytes() + b"tb",
    ]
    listed = b"".join(b"K" + bytes([label]) for label in labels)
    names = b"".join(_text(b"image_%05d.png" % i) + next(put_away) for i in range(len(pixels)))
    batch = b"\x80\x02}q\x01(" + _text(b"batch_label") + next(put_away) + _text(b"testing batch 1 of 1")
    listed = _text(b"labels") + next(put_away) + b"]" + next(put_away) + b"(" + listed + b"e"
    names = _text(b"filenames") + next(put_away) + b"]" + next(put_away) + b"(" + names + b"eu."
    return b"".join([batch, listed, _text(b"data") + next(put_away), *array, names])


def _write_cifar(copies: Copies) -> None:
    folder = copies.folder("cifar-10")
    rows = _cifar_images().transpose(0, 3, 1, 2).reshape(N_CIFAR, 3072)
    put(folder, "test_batch", python2_pickle(rows, CIFAR_LABELS.tolist()))
    for name in ("batches.meta", "data_batch_1", "readme.html"):
        put(folder, name, b"not read")
    write_manifest(copies.own, "cifar-10", folder, samples=N_CIFAR)


def _write_cifar_c(copies: Copies) -> None:
    folder, clean = copies.folder("cifar-10-c"), _cifar_images()
    for name in ("gaussian_noise", "fog"):
        levels = [corrupted(image, name, level) for level in range(1, 6) for image in clean]
        _saved(folder / f"{name}.npy", np.stack(levels))
    _saved(folder / "labels.npy", np.tile(CIFAR_LABELS, 5).astype(np.uint8))
    every = range(1, 6)
    write_manifest(
        copies.own, "cifar-10-c", folder, samples=N_CIFAR,
        conditions=only("corruption", gaussian_noise=every, fog=every))  # fmt: skip


def clip_frames(name: str, row: int) -> Pixels:
    """Return a clip [F, 32, 32, 3]: noise on a picture that stands still, else a picture that moves."""
    frames = []
    for frame in range(CIFAR_P[name]):
        if "noise" in name:
            level = (2 if name.endswith("_2") else 1) * 5
            noise = np.random.default_rng([row, frame]).normal(0, 24 * level, size=(32, 32, 3))
            shown = np.clip(np.rint(cifar_image(row) + (noise if frame else 0)), 0, 255)
            frames.append(shown.astype(np.uint8))
        else:
            frames.append(cifar_image(row, offset=(0, frame % 12 - 6)))
    return np.stack(frames)


def _write_cifar_p(copies: Copies) -> None:
    folder = copies.folder("cifar-10-p")
    for name in CIFAR_P:
        _saved(folder / f"{name}.npy", np.stack([clip_frames(name, row) for row in range(_N_CLIPS)]))
    conditions = [
        {"kind": "sequence", "names": ["gaussian_noise", "motion_blur", "translate"], "levels": [1]},
        {"kind": "sequence", "names": ["gaussian_noise"], "levels": [2]},
    ]
    write_manifest(copies.own, "cifar-10-p", folder, samples=_N_CLIPS, conditions=conditions)


def _write_cifar_10_1(copies: Copies) -> None:
    folder = copies.folder("cifar-10.1-v6")
    for version, counts in (("v4", [3, 2, 1, 3, 2, 2, 2, 1, 4, 1]), ("v6", [2] * 10)):
        labels = np.repeat(np.arange(10), counts).astype(np.int32)
        images = [picture(int(k), shake=20, seed=500 + i, size=(32, 32)) for i, k in enumerate(labels)]
        _saved(folder / f"cifar10.1_{version}_data.npy", np.stack(images))
        _saved(folder / f"cifar10.1_{version}_labels.npy", labels)
    write_manifest(copies.own, "cifar-10.1-v4", folder, samples=21)
    write_manifest(copies.own, "cifar-10.1-v6", folder, samples=20, samples_per_class=2)


def _write_cifar_10h(copies: Copies) -> None:
    """Of fifty people most agree with the label; of every fourth image as many with what is mixed in."""
    counts = np.zeros((N_CIFAR, 10), dtype=np.int64)
    for row, label in enumerate(CIFAR_LABELS.tolist()):
        shared = 25 if row % 4 == 0 else 3 + row % 5
        counts[row, label] = 50 - shared
        counts[row, (label + 1 + row % 9) % 10] += shared
    folder = copies.folder("cifar-10h")
    _saved(folder / "cifar10h-counts.npy", counts)
    write_manifest(copies.own, "cifar-10h", folder, samples=N_CIFAR)


# ------------------------------------------------------------------------------------------------- digits


def _write_svhn(copies: Copies) -> None:
    """Images along the last axis; 10 stands for the digit 0."""
    folder = copies.folder("svhn")
    folder.mkdir(parents=True)
    images = np.stack([picture(400 + i, shake=8, size=(32, 32)) for i in range(60)], axis=-1)
    labels = (np.arange(60) * 7 % 10 + 1).astype(np.uint8)[:, None]
    savemat(folder / "test_32x32.mat", {"X": images, "y": labels}, do_compression=True)
    write_manifest(copies.own, "svhn", folder, samples=60)


def _write_mnist(copies: Copies) -> None:
    folder = copies.folder("mnist")
    grey = np.stack([picture(500 + i, size=(28, 28)).mean(axis=2).astype(np.uint8) for i in range(50)])
    labels = (np.arange(50) * 3 % 10).astype(np.uint8)
    for name, array in (("t10k-images-idx3-ubyte.gz", grey), ("t10k-labels-idx1-ubyte.gz", labels)):
        head = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        put(folder, name, gzip.compress(head + array.tobytes(), mtime=0))
    write_manifest(copies.own, "mnist", folder, samples=50)


# ------------------------------------------------------------------------------------------------- clips


def imagenet_frames(name: str, index: int, seed: int, frames: int) -> Iterator[Pixels]:
    """Yield the frames [224, 224, 3] of a clip before it is encoded."""
    shown = picture(index, shake=8, seed=seed, size=(224, 224))
    for frame in range(frames):
        if "noise" in name:
            noise = np.random.default_rng([seed, frame]).normal(0, 30, size=(28, 28, 1))
            large = np.repeat(np.repeat(noise, 8, axis=0), 8, axis=1)
            yield np.clip(shown + (large if frame else 0), 0, 255).astype(np.uint8)
        else:
            yield picture(index, shake=4, seed=seed, offset=(0, frame // 3 - 6), size=(224, 224))


def _video(frames: Iterator[Pixels]) -> bytes:
    """Return an H.264 clip of one frame a second, as OpenCV wrote the published ones."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(1), options={"preset": "ultrafast", "crf": "12"}
        )
        stream.height = stream.width = 224
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()


def _write_p(copies: Copies) -> None:
    folder = copies.folder("imagenet-p")
    write_subset(copies.own, "few", FEW)
    for name, frames in (("gaussian_noise", 31), ("gaussian_noise_2", 31), ("translate", 41)):
        for wnid in FEW:
            index = WNIDS.index(wnid)
            for turn in range(2):
                video = _video(imagenet_frames(name, index, turn, frames))
                put(folder / name / wnid, f"{validation_name(index + turn)}.mp4", video)
    conditions = only("sequence", gaussian_noise=[1, 2], translate=[1])
    write_manifest(
        copies.own, "imagenet-p", folder, samples=2 * len(FEW), samples_per_class=2, subset="few",
        conditions=conditions)  # fmt: skip


# --------------------------------------------------------------------- one set in three layouts


THREE = ("three-folder", "three-tar", "three-parquet")


def _write_three(copies: Copies) -> None:
    """The same files in class folders, in tar shards and in Parquet files."""
    samples = []
    for wnid in FEW:
        for number in range(7):
            name = f"{wnid}/img_{number}"
            samples.append((name, wnid, encoded(picture(WNIDS.index(wnid), seed=number, shake=8))))
    for name, _, content in samples:
        folder, _, stem = name.rpartition("/")
        put(copies.root / "three-folder" / folder, f"{stem}.jpg", content)
    for shard, part in enumerate((samples[:10], samples[10:])):
        path = copies.root / "three-tar" / f"shard-{shard:06d}.tar"
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for name, _, content in part:
                member = tarfile.TarInfo(f"{name}.jpg")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        table = pa.table(
            {
                "image": [{"bytes": content, "path": f"{name}.jpg"} for name, _, content in part],
                "label": [key for _, key, _ in part],
                "id": [name for name, _, _ in part],
            }
        )
        path = copies.root / "three-parquet" / f"test-{shard:05d}-of-00002.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table, path, row_group_size=4)
    write_subset(copies.own, "three", FEW)
    layouts: tuple[dict[str, object], ...] = (
        {"type": "image_folder"},
        {"type": "tar_shards", "shards": "*.tar", "label": None, "labels": "key"},
        {"type": "parquet", "files": "*.parquet", "image": "image", "label": "label", "labels": "key",
         "sample_id": "id"},
    )  # fmt: skip
    for name, layout in zip(THREE, layouts, strict=True):
        fields = {
            "name": name, "version": 1, "title": name, "role": "shift", "layout": layout, "folder": name,
            "conditions": [{"kind": "clean", "names": ["clean"], "levels": [0]}],
            "label_space": "imagenet-1k", "subset": "three", "samples": 21, "samples_per_class": 7,
            "licence": "BSD", "citation": "scikit-learn",
        }  # fmt: skip
        write(copies.own / f"{name}.yaml", fields)


_WRITERS: tuple[Callable[[Copies], None], ...] = (
    _write_cifar, _write_cifar_c, _write_cifar_p, _write_cifar_10_1, _write_cifar_10h, _write_svhn,
    _write_mnist, _write_p, _write_three,
)  # fmt: skip
