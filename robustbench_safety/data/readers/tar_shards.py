"""Pictures in tar files: WebDataset's form, in which members that share a name are one sample."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_safety.data.base import (
    FileReader,
    Indices,
    Place,
    Stored,
    check_class_counts,
    check_count,
    checked_labels,
)
from robustbench_safety.data.pictures import decode_image, is_picture
from robustbench_safety.data.readers.places import globbed
from robustbench_safety.errors import DataError
from robustbench_safety.files import reads
from robustbench_safety.records import DatasetManifest, TarShardsLayout

__all__ = ["TarShardsReader"]

#: The largest picture of ImageNet has 15 MB.
_LARGEST_FILE = 64 * 2**20
_LARGEST_LABEL = 1024
#: A name or a list of attributes that goes before a member; tar allows gigabytes.
_LARGEST_HEADER = 2**20
#: Picture, label, and what else is known of a sample; above a thousand, so that folders may count as well.
_MEMBERS_OF_A_SAMPLE = 16
_MEMBERS_BESIDE = 10_000
#: Classes that an error shows.
_SHOWN = 5
_BLOCK = tarfile.BLOCKSIZE
#: First bytes of compressed files, in which nothing can be read without what goes before it.
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}
_FIX = "take the published shards again, or correct the layout in the manifest"


@dataclass(frozen=True, kw_only=True)
class _Member:
    """Where the bytes of a member lie."""

    shard: Path
    name: str
    key: str
    """Name up to the first dot of its last part: what the members of a sample share."""
    ending: str
    """What follows that dot."""
    start: int
    size: int

    @property
    def where(self) -> Path:
        """Shard and member, as one path to show."""
        return self.shard / self.name


class TarShardsReader(FileReader):
    """The pictures of all shards: class by class where their names are paths, else by name.

    So the same files in folders and in shards have the same ids, the same order and the same data digest,
    however they were spread over shards. Nothing is unpacked.
    """

    def __init__(self, place: Place, layout: TarShardsLayout) -> None:
        self._shards = globbed(place, layout.shards)
        where = place.folder / layout.shards
        labelled = layout.labels != "none" and bool(place.classes)
        pictures, texts = _indexed(self._shards, place.manifest, layout.label if labelled else None)
        check_count(where, place.manifest, len(pictures))
        # With its ending, as a folder is listed: "a-b.png" goes before "a.png".
        pictures.sort(key=lambda picture: picture.name)
        groups = _classes(place, layout, pictures, texts) if labelled else _first_folders(pictures)
        self.class_sorted = not labelled or all("/" in picture.key for picture in pictures)
        if labelled:
            check_class_counts(where, place.manifest, groups, place.classes)
            if self.class_sorted:
                order = np.argsort(groups, kind="stable")
                pictures, groups = [pictures[i] for i in order], groups[order]
        self._pictures, self._groups = pictures, groups
        self.sample_ids = [picture.key for picture in pictures]
        self.labels = checked_labels(where, place.manifest, groups, place.classes)

    def stored(self, indices: Indices) -> Sequence[Stored]:
        """Return the encoded pictures; each shard is opened once."""
        return _contents([self._pictures[i] for i in indices])

    def decode(self, index: int, stored: Stored) -> NDArray[np.uint8]:
        """Return uint8 [H, W, 3]; a damaged picture is named."""
        return decode_image(stored, self._pictures[index].where)

    def files(self) -> Sequence[Path]:
        """Return the shards."""
        return self._shards


def _wrong(where: Path | str, what: str, expected: str, found: str) -> DataError:
    return DataError(f"{where} {what}", expected=expected, found=found, fix=_FIX)


def _indexed(
    shards: Sequence[Path], manifest: DatasetManifest, label: str | None
) -> tuple[list[_Member], dict[str, _Member]]:
    """Return the pictures of all shards, and by key the members that hold the label."""
    most = _MEMBERS_OF_A_SAMPLE * max(manifest.samples, *manifest.samples_also, 0) + _MEMBERS_BESIDE
    pictures: dict[str, _Member] = {}
    texts: dict[str, _Member] = {}
    n = 0
    for shard in shards:
        for member in _members(shard):
            n += 1
            if n > most:
                raise _wrong(shard, "has too many members", f"at most {most} for this dataset", "more")
            if member is None:
                continue
            if member.ending == label:
                _add(texts, member, _LARGEST_LABEL)
            elif is_picture(member.name):
                _add(pictures, member, _LARGEST_FILE)
    for key, text in texts.items():
        if key not in pictures:
            raise _wrong(text.where, "labels no picture", f"a picture {key}", "none in any shard")
    return list(pictures.values()), texts


def _add(members: dict[str, _Member], member: _Member, largest: int) -> None:
    before = members.setdefault(member.key, member)
    if before is not member:
        found = f"{before.where} before"
        raise _wrong(member.where, f"is a second one for sample {member.key}", "one for each sample", found)
    if member.size > largest:
        raise _wrong(member.where, "is too large", f"at most {largest} bytes", str(member.size))


# ------------------------------------------------------------------------------------------------- labels


def _first_folders(pictures: Sequence[_Member]) -> NDArray[np.int64]:
    """Return the number of the first folder that each picture lies in."""
    numbers: dict[str, int] = {}
    folders = (picture.key.split("/", 1)[0] if "/" in picture.key else "" for picture in pictures)
    return np.array([numbers.setdefault(folder, len(numbers)) for folder in folders], dtype=np.int64)


def _classes(
    place: Place, layout: TarShardsLayout, pictures: Sequence[_Member], texts: dict[str, _Member]
) -> NDArray[np.int64]:
    """Return the class of each picture: of the folder that it lies in, or as the label beside it says."""
    found = [picture.key.rpartition("/")[0].rpartition("/")[2] for picture in pictures]
    if layout.label is not None:
        for picture in pictures:
            if picture.key not in texts or texts[picture.key].shard != picture.shard:
                expected = f"{picture.key}.{layout.label} in the same shard"
                raise _wrong(picture.where, "has no label", expected, "none")
        contents = _contents([texts[picture.key] for picture in pictures])
        # A label that is no text is no class.
        found = [content.decode(errors="replace").strip() for content in contents]
    names = place.classes if layout.labels == "key" else [str(index) for index in range(len(place.classes))]
    known = {name: index for index, name in enumerate(names)}
    for picture, label in zip(pictures, found, strict=True):
        if label not in known:
            space = place.manifest.subset or place.manifest.label_space
            expected = f"one of {', '.join(names[:_SHOWN])} ..."
            raise _wrong(picture.where, f"is of no class of {space}", expected, repr(label))
    return np.array([known[label] for label in found], dtype=np.int64)


# ------------------------------------------------------------------------------------------------- shards


class _Headers(io.FileIO):
    """A shard whose headers are read and nothing else; no call reads more than a header may have."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next ``size`` bytes."""
        if size is None or not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


def _members(shard: Path) -> Iterator[_Member | None]:
    """Yield the files of a shard, their contents unread, and None for what does not count.

    Raises:
        DataError: It is compressed, damaged or cut short, or holds links, devices or holes.
    """
    end = 0
    with reads(shard), _Headers(shard) as handle:
        start = handle.read(6)
        for magic, name in _COMPRESSED.items():
            if start.startswith(magic):
                raise DataError(
                    f"{shard} is compressed",
                    expected="a plain tar file, of which single members can be read",
                    found=name,
                    fix="decompress it; pictures are compressed already",
                )
        handle.seek(0)
        try:
            with tarfile.open(fileobj=handle, mode="r:", encoding="utf-8", errors="strict") as archive:
                for info in archive:
                    # It would lead back to a header that was read before, and so round for ever.
                    if info.size < 0:
                        raise tarfile.ReadError(f"a member of {info.size} bytes")
                    end = info.offset_data + (-(-info.size // _BLOCK) * _BLOCK if info.isreg() else 0)
                    yield _checked_member(shard, info)
        # tarfile raises all of these on damaged headers.
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
            raise _wrong(shard, "is damaged", "a whole tar file", str(error)) from error
        # Where a header is damaged or missing, tarfile takes what it has for all there is.
        handle.seek(end)
        if handle.read(_BLOCK) != bytes(_BLOCK):
            raise _wrong(shard, "is damaged", f"the end of a tar file at byte {end}", "something else")


def _checked_member(shard: Path, info: tarfile.TarInfo) -> _Member | None:
    """Return a file; None for a folder, and for what is hidden."""
    name = info.name.removeprefix("./")
    if info.isdir():
        return None
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or "\\" in name:
        raise _wrong(shard, "has a member that would lie elsewhere", "paths below it", repr(info.name))
    if any(part.startswith(".") for part in parts):
        return None
    if not info.isreg() or info.issparse():
        raise _wrong(shard / name, "is no plain file", "files and folders", f"tar type {info.type!r}")
    folder, slash, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return _Member(
        shard=shard,
        name=name,
        key=f"{folder}{slash}{stem}",
        ending=ending,
        start=info.offset_data,
        size=info.size,
    )


def _contents(members: Sequence[_Member]) -> list[bytes]:
    """Return the bytes of members, shard by shard: one is open at a time, and only while it is read."""
    places: dict[Path, list[int]] = {}
    for i, member in enumerate(members):
        places.setdefault(member.shard, []).append(i)
    contents = [b""] * len(members)
    for shard, here in places.items():
        with reads(shard), shard.open("rb") as handle:
            for i in here:
                handle.seek(members[i].start)
                contents[i] = handle.read(members[i].size)
                if len(contents[i]) != members[i].size:
                    found = f"{len(contents[i])} bytes"
                    raise _wrong(members[i].where, "is cut short", f"{members[i].size} bytes", found)
    return contents
