"""Small copies of the published image sets, laid out as they are published: folders, names, stray files.

Pictures are cut from real photographs. Every copy has its manifest, the shipped one with smaller numbers.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data import DataRoot
from tests.published.manifests import classes_of, fields_of, only, write_manifest
from tests.published.photographs import corrupted, encoded, picture

__all__ = [
    "FEW",
    "ROBIN",
    "ROBIN_IID",
    "STYLES",
    "Copies",
    "categories_of",
    "validation_name",
    "write_images",
]

WNIDS = classes_of("labels/imagenet-1k")
#: Images and classes of each nuisance of ROBIN.
ROBIN = {
    "context": (104, 8), "occlusion": (120, 10), "pose": (110, 10), "shape": (105, 10), "texture": (108, 9),
    "weather": (104, 8),
}  # fmt: skip
ROBIN_IID = 120
#: Classes of what would be too slow in a thousand.
FEW = WNIDS[5:900:400]
STYLES = ("art", "cartoon", "misc", "sketch", "videogame")
#: Heights and widths that published photographs have, in small.
_SIZES = ((48, 64), (64, 48), (56, 56))
#: Pictures that go round where a thousand of their own would be slow and no score is taken.
_ROUND = 16
_PLAIN = ("first", "second", "third")
#: Manifest, folder of the images, their size, and the folders in it.
_OPENOOD = (
    ("openood-cifar10-texture", "images_classic/texture", (40, 52), ("banded", "dotted", "woven")),
    ("openood-cifar10-cifar100", "images_classic/cifar100", (32, 32), _PLAIN),
    ("openood-cifar10-tin", "images_classic/tin", (64, 64), _PLAIN),
    ("openood-cifar10-mnist", "images_classic/mnist", (28, 28), _PLAIN),
    ("openood-cifar10-svhn", "images_classic/svhn", (32, 32), _PLAIN),
    ("openood-cifar10-places365", "images_classic/places365", (48, 64), _PLAIN),
    ("openood-imagenet-ninco", "images_largescale/ninco", (48, 64), ("amphiuma means", "caracal", "pie")),
    ("openood-imagenet-ssb-hard", "images_largescale/ssb_hard", (48, 64), _PLAIN),
    ("openood-imagenet-inaturalist", "images_largescale/inaturalist", (48, 64), _PLAIN),
    ("openood-imagenet-textures", "images_classic/dtd", (48, 64), _PLAIN),
    ("openood-imagenet-openimage-o", "images_largescale/openimage_o", (48, 64), _PLAIN),
)
_GROUPS = {"gaussian_noise": "noise", "fog": "weather"}


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Where the copies and their manifests lie."""

    root: Path
    own: Path

    @property
    def data(self) -> DataRoot:
        """The data root."""
        return DataRoot(root=self.root, beside=self.own)

    def folder(self, name: str) -> Path:
        """Return the folder of a dataset."""
        return self.root / str(fields_of(name)["folder"])


def validation_name(index: int) -> str:
    """Return the name of the one validation image of a class; numbers 1 to 1000, in another order."""
    return f"ILSVRC2012_val_{(index * 389 + 17) % 1000 + 1:08d}"


def _size(index: int) -> tuple[int, int]:
    return _SIZES[index % 3]


def put(folder: Path, name: str, content: bytes) -> None:
    """Write one file."""
    path = f"{folder}/{name}"
    try:
        handle = open(path, "wb", buffering=0)  # noqa: PTH123, SIM115  # there are ten thousand of them
    except FileNotFoundError:
        folder.mkdir(parents=True)
        handle = open(path, "wb", buffering=0)  # noqa: PTH123, SIM115
    with handle:
        handle.write(content)


def write_images(copies: Copies) -> None:
    """Write every set of encoded images."""
    for write in _WRITERS:
        write(copies)


# ------------------------------------------------------------------------------------- ImageNet, clean


def _write_validation(copies: Copies) -> None:
    folder = copies.folder("imagenet-1k")
    several = [members for members in fields_of("maps/objectnet")["classes"].values() if len(members) > 1]
    # Looks like another class of the same folder of ObjectNet: right by the folder, wrong by the class.
    alike = {WNIDS.index(members[0]): WNIDS.index(members[1]) for members in several}
    for index, wnid in enumerate(WNIDS):
        shown = picture(alike.get(index, index), shake=6, seed=1, size=_size(index))
        put(folder / "val" / wnid, f"{validation_name(index)}.JPEG", encoded(shown))
    put(folder / "ILSVRC2012_devkit_t12" / "data", "meta.mat", b"MATLAB 5.0 MAT-file")
    write_manifest(copies.own, "imagenet-1k", folder, samples=1000, samples_per_class=1)


def _write_reassessed(copies: Copies) -> None:
    """Every seventh list is empty, every third has a second class, every fifth another than the folder's."""
    by_name = {validation_name(index): index for index in range(1000)}
    lists = []
    for number in range(1, 1001):
        index = by_name[f"ILSVRC2012_val_{number:08d}"]
        first = (index + 1) % 1000 if number % 5 == 0 else index
        more = [(index + 4) % 1000] if number % 3 == 0 else []
        lists.append([] if number % 7 == 0 else [first, *more])
    folder = copies.folder("imagenet-real")
    put(folder, "real.json", json.dumps(lists).encode())
    write_manifest(copies.own, "imagenet-real", folder, samples=1000)


# ------------------------------------------------------------------------------- ImageNet, other images


def _write_a(copies: Copies) -> None:
    folder = copies.folder("imagenet-a")
    for number, wnid in enumerate(classes_of("subsets/imagenet-a")):
        index = WNIDS.index(wnid)
        name = f"0.{number:06d}_digital clock _ digital clock_0.8{number:03d}.jpg"
        put(folder / wnid, name, encoded(picture(index, shake=12, seed=2, size=_size(number))))
    put(folder, "README.txt", b"ImageNet-A\n")
    write_manifest(copies.own, "imagenet-a", folder, samples=200)


def _write_o(copies: Copies) -> None:
    """Two classes in one picture: neither is where it should be."""
    folder = copies.folder("imagenet-o")
    for number, wnid in enumerate(classes_of("subsets/imagenet-o")):
        index, size = WNIDS.index(wnid), _size(number)
        first, second = picture(index, shake=16, seed=3, size=size), picture(index + 7, seed=3, size=size)
        mixed = np.rint(0.6 * first + 0.4 * second).astype(np.uint8)
        put(folder / wnid, f"n{10_000_000 + number}_{number}.JPEG", encoded(mixed))
    put(folder, "README.txt", b"ImageNet-O\n")
    write_manifest(copies.own, "imagenet-o", folder, samples=200)


def _write_r(copies: Copies) -> None:
    folder = copies.folder("imagenet-r")
    for number, wnid in enumerate(classes_of("subsets/imagenet-r")):
        for turn in range(2):
            which = (number + 2 * turn) % len(STYLES)
            # The later a style stands in the list, the harder it is.
            shown = picture(WNIDS.index(wnid), shake=4 + 4 * which, seed=4 + turn, size=_size(number + turn))
            put(folder / wnid, f"{STYLES[which]}_{number}.jpg", encoded(shown))
    put(folder, "README.txt", b"ImageNet-R\n")
    write_manifest(copies.own, "imagenet-r", folder, samples=400)


def _write_sketch(copies: Copies) -> None:
    folder = copies.folder("imagenet-sketch")
    grey = [picture(index, size=_size(index)).mean(axis=2, keepdims=True) for index in range(_ROUND)]
    files = [encoded(np.repeat(pixels, 3, axis=2).astype(np.uint8)) for pixels in grey]
    for index, wnid in enumerate(WNIDS):
        put(folder / wnid, f"sketch_{index}.JPEG", files[index % _ROUND])
    put(folder / WNIDS[0], "sketch_50888.JPEG", files[1])
    write_manifest(copies.own, "imagenet-sketch", folder, samples=1001, samples_also=[1000])


def _write_v2(copies: Copies) -> None:
    name = "imagenet-v2-matched-frequency"
    folder = copies.folder(name)
    for index in range(1000):
        shown = picture(index, shake=8, seed=6, size=_size(index))
        key = hashlib.sha1(str(index).encode(), usedforsecurity=False).hexdigest()
        put(folder / str(index), f"{key}.jpeg", encoded(shown))
    write_manifest(copies.own, name, folder, samples=1000, samples_per_class=1)
    # The two other draws of the authors.
    for seed, name in enumerate(("imagenet-v2-threshold-0.7", "imagenet-v2-top-images"), start=11):
        folder = copies.folder(name)
        files = [encoded(picture(index, shake=4, seed=seed)) for index in range(_ROUND)]
        for index in range(1000):
            put(folder / str(index), f"{index:04x}.jpeg", files[index % (_ROUND - seed)])
        write_manifest(copies.own, name, folder, samples=1000, samples_per_class=1)


def _write_g(copies: Copies) -> None:
    folder = copies.folder("imagenet-g-v1")
    files = [encoded(picture(index, seed=7, size=(64, 64))) for index in range(_ROUND)]
    for index, wnid in enumerate(WNIDS):
        put(folder / "val" / wnid, f"{index}.jpeg", files[index % _ROUND])
    put(folder / "train" / WNIDS[0], "0.jpeg", encoded(picture(0)))
    write_manifest(copies.own, "imagenet-g-v1", folder, samples=1000, samples_per_class=1)


def _write_objectnet(copies: Copies) -> None:
    """113 folders that ImageNet knows, 200 that it does not; a red frame around every photograph."""
    folder = copies.folder("objectnet")
    mapped = fields_of("maps/objectnet")["classes"]
    for number, (key, members) in enumerate(mapped.items()):
        # Any of several classes is what is shown, so any of them must count as right.
        index = WNIDS.index(members[number % len(members)])
        for turn in range(1 + (number % 3 == 0)):
            shown = picture(index, shake=6, seed=8 + turn, size=_size(number))
            put(folder / "images" / key, f"{number:04x}{turn}ba7e.png", encoded(framed(shown), "png"))
    outside = encoded(framed(picture(0)), "png")
    for number in range(200):
        put(folder / "images" / f"outside_imagenet_{number}", f"{number:04x}.png", outside)
    put(folder / "mappings", "folder_to_objectnet_label.json", b"{}")
    for name in ("README", "LICENSE"):
        put(folder, name, b"ObjectNet\n")
    write_manifest(copies.own, "objectnet", folder, samples=151)


def framed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture with its outermost pixels red."""
    out = pixels.copy()
    out[[0, -1]] = out[:, [0, -1]] = (255, 0, 0)
    return out


def categories_of(number: int) -> tuple[str, str]:
    """Return shape and texture of a cue-conflict image; some of the 128 have the same in both."""
    keys = classes_of("maps/sixteen-classes")
    return keys[number // 8], keys[(number // 8 + number % 8 * 3) % 16]


def _write_cue_conflict(copies: Copies) -> None:
    folder = copies.folder("cue-conflict")
    mapped = fields_of("maps/sixteen-classes")["classes"]
    for number in range(128):
        shape, texture = categories_of(number)
        shapes, textures = ([WNIDS.index(wnid) for wnid in mapped[key]] for key in (shape, texture))
        share = 0.35 + 0.05 * (number % 8)
        pair = (picture(those[number % len(those)], size=(56, 56)) for those in (shapes, textures))
        first, second = pair
        mixed = np.rint(share * first + (1 - share) * second).astype(np.uint8)
        put(folder / shape, f"{shape}{number % 8 + 1}-{texture}{number % 3 + 1}.png", encoded(mixed, "png"))
    write_manifest(copies.own, "cue-conflict", folder, samples=128, samples_per_class=8)


# -------------------------------------------------------------------------------- ImageNet, corruptions


def _write_c(copies: Copies) -> None:
    conditions = {"gaussian_noise": (1, 5), "fog": (1, 5)}
    _write_corruptions(copies, "imagenet-c", conditions)
    write_manifest(
        copies.own, "imagenet-c", copies.folder("imagenet-c"), samples=1000, samples_per_class=1,
        conditions=only("corruption", **conditions))  # fmt: skip
    _write_corruptions(copies, "imagenet-c-bar", {"sparkles": (2,)})
    write_manifest(
        copies.own, "imagenet-c-bar", copies.folder("imagenet-c-bar"), samples=1000, samples_per_class=1,
        conditions=only("corruption", sparkles=(2,)))  # fmt: skip


def _write_corruptions(copies: Copies, name: str, conditions: Mapping[str, Sequence[int]]) -> None:
    clean = [picture(index, size=(224, 224)) for index in range(_ROUND)]
    for corruption, levels in conditions.items():
        for level in levels:
            files = [encoded(corrupted(pixels, corruption, level)) for pixels in clean]
            for index, wnid in enumerate(WNIDS):
                folder = copies.folder(name) / corruption / str(level) / wnid
                put(folder, f"{validation_name(index)}.JPEG", files[index % _ROUND])


def regrouped(copies: Copies, folder: Path) -> None:
    """Lay out the copy of ImageNet-C below ``folder`` in the groups of its archives: noise/gaussian_noise."""
    for corruption, group in _GROUPS.items():
        shutil.copytree(
            copies.folder("imagenet-c") / corruption, folder / group / corruption, copy_function=os.link
        )


def _write_tiny(copies: Copies) -> None:
    wnids = classes_of("labels/tiny-imagenet")
    folder = copies.folder("tiny-imagenet")
    # In the list as in the published one: not class by class, and with boxes that nobody reads.
    lines = []
    for number in range(200):
        index = number * 77 % 200
        shown = picture(index, shake=10, seed=9, size=(64, 64))
        content = encoded(shown if number % 50 else np.repeat(shown[..., :1], 3, axis=2))
        put(folder / "val" / "images", f"val_{number}.JPEG", content)
        lines.append(f"val_{number}.JPEG\t{wnids[index]}\t0\t32\t44\t62\n")
    put(folder / "val", "val_annotations.txt", "".join(lines).encode())
    put(folder, "wnids.txt", "".join(f"{wnid}\n" for wnid in reversed(wnids)).encode())
    put(folder, "words.txt", b"n00001740\tentity\n")
    put(folder / "train" / wnids[0] / "images", f"{wnids[0]}_0.JPEG", encoded(picture(0, size=(64, 64))))
    put(folder / "test" / "images", "test_0.JPEG", encoded(picture(1, size=(64, 64))))
    write_manifest(copies.own, "tiny-imagenet", folder, samples=200, samples_per_class=1)
    conditions = {"gaussian_noise": (1, 5), "brightness": (1, 5)}
    for corruption, levels in conditions.items():
        for level in levels:
            for index, wnid in enumerate(wnids):
                shown = corrupted(picture(index, shake=8, seed=10, size=(64, 64)), corruption, level)
                target = copies.folder("tiny-imagenet-c") / corruption / str(level) / wnid
                put(target, f"{validation_name(index)}.JPEG", encoded(shown))
    write_manifest(
        copies.own, "tiny-imagenet-c", copies.folder("tiny-imagenet-c"), samples=200, samples_per_class=1,
        conditions=only("corruption", **conditions))  # fmt: skip


# -------------------------------------------------------------------------------- lists, textures, ROBIN


def _write_textures(copies: Copies) -> None:
    folder = copies.folder("textures")
    for number, key in enumerate(classes_of("labels/dtd")):
        for turn in range(2):
            shown = picture(100 + number, seed=turn, shake=8, size=((40, 52), (52, 40))[turn])
            put(folder / "images" / key, f"{key}_{turn + 1:04d}.jpg", encoded(shown))
    put(folder / "images" / "waffled", ".directory", b"[Dolphin]\n")
    put(folder / "imdb", "imdb.mat", b"MATLAB 5.0 MAT-file")
    put(folder / "labels", "test1.txt", b"banded/banded_0002.jpg\n")
    write_manifest(copies.own, "textures", folder, samples=94, samples_per_class=2)


def _write_openood(copies: Copies) -> None:
    """Lists that name some of the images beside them, in an order of their own."""
    folder = copies.root / "openood"
    for name, images, size, keys in _OPENOOD:
        top, start = images.rpartition("/")[2], 200 if keys != _PLAIN else 300 + 24 * len(images)
        for number in range(24):
            shown = picture(start + number, shake=8, size=size)
            put(folder / images / keys[number % 3], f"{number:04d}.jpg", encoded(shown))
        listed = [f"{top}/{keys[number % 3]}/{number:04d}.jpg -1\n" for number in range(22, 1, -1)]
        file = folder / str(fields_of(name)["layout"]["file"])
        put(file.parent, file.name, "".join(listed).encode())
        write_manifest(copies.own, name, folder, samples=21)


def _write_robin(copies: Copies) -> None:
    folder = copies.folder("robin-iid-test")
    keys = classes_of("labels/robin")
    _write_robin_part(folder / "iid_test", keys, ROBIN_IID, repeated=2)
    write_manifest(copies.own, "robin-iid-test", folder, samples=ROBIN_IID + 2, samples_also=[ROBIN_IID])
    for seed, (nuisance, (n, n_keys)) in enumerate(ROBIN.items(), start=1):
        _write_robin_part(folder / "nuisances" / nuisance, keys[:n_keys], n, repeated=0, seed=seed)
        write_manifest(copies.own, f"robin-{nuisance}", folder, samples=n)


def _write_robin_part(folder: Path, keys: Sequence[str], n: int, *, repeated: int, seed: int = 0) -> None:
    lines = ["imgs,labels,azimuth\n"]
    for number in range(n):
        key = keys[number * 3 % len(keys)]
        name = f"n{3_000_000 + number}_{number}.JPEG"
        # The later a nuisance, the farther off; every tenth picture is another's.
        of = keys.index(key) if number % 10 else (number + 1) % len(keys)
        shown = picture(300 + of, shake=4 * seed, seed=20 * seed + number, size=(40 + number % 9, 56))
        put(folder / "Images" / key, name, encoded(shown))
        lines.append(f"{name},{key},{number / 7:.4f}\n")
    lines += lines[1 : 1 + repeated]
    put(folder, "labels.csv", "".join(lines).encode())


_WRITERS: tuple[Callable[[Copies], None], ...] = (
    _write_validation, _write_reassessed, _write_a, _write_o, _write_r, _write_sketch, _write_v2, _write_g,
    _write_objectnet, _write_cue_conflict, _write_c, _write_tiny, _write_textures, _write_openood,
    _write_robin,
)  # fmt: skip
