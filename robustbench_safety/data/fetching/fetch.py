"""Published archives to a dataset's folder: download, check, unpack, remember what was unpacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from robustbench_safety.data.fetching.download import Download, download
from robustbench_safety.data.fetching.unpacking import unpack
from robustbench_safety.data.store import Dataset
from robustbench_safety.errors import DataError
from robustbench_safety.files import read_json, write_json
from robustbench_safety.records import (
    Archive,
    BuiltinLayout,
    Condition,
    Digest,
    GeneratedLayout,
    HuggingFaceLayout,
    Record,
)

__all__ = ["Fetched", "Unpacked", "fetch_dataset"]

#: The published archives hold images that are compressed already, or arrays that halve at best.
_MOST_EXPANSION = 20
_SMALL = 64 * 2**20
#: Files and folders that an archive may hold: the largest published one, of ImageNet-C, has under 2 million.
_MOST_FILES = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """One archive, fetched and unpacked."""

    archive: Archive
    download: Download | None
    """None where it was unpacked by an earlier call, and is not needed any more."""
    n_files: int


class Unpacked(Record):
    """``<file>.unpacked.json`` beside an archive: what was unpacked, so that it is not done twice."""

    file: str
    sha256: Digest
    n_files: int


def fetch_dataset(
    dataset: Dataset, *, on_bytes: Callable[[Archive, int, int | None], None]
) -> Iterator[Fetched]:
    """Fetch and unpack every archive of a dataset, one after another. What is done already is not done again.

    Args:
        dataset: Which.
        on_bytes: Told of which archive how many bytes have come, and how many there will be where known.

    Yields:
        Each archive when it is in its place; nothing where every condition is there already.

    Raises:
        DataError: It must be got by hand, what came is not the published file, or it cannot be unpacked.
        UsageError: An address is neither https nor on this machine.
        IncompleteError: The connection was cut too often; the same call goes on from there.
        StorageError: The disk is full, or a folder cannot be written.
    """
    if reason := why_by_hand(dataset):
        raise DataError(
            f"dataset {dataset.name} cannot be fetched by a command", found=reason, fix=dataset.how_to_get()
        )
    if isinstance(dataset.manifest.layout, HuggingFaceLayout):
        # Its library downloads, checks and keeps the files when they are opened.
        dataset.open(dataset.manifest.all_conditions()[0], seed=0)
        return
    present = [_is_present(dataset, condition) for condition in dataset.manifest.all_conditions()]
    # A folder of pictures is there with the first of them; files that are used as they are can be told apart.
    if all(present) and all((dataset.folder / file).exists() for file in _single_files(dataset)):
        return
    for archive in dataset.manifest.archives:
        if archive.address is not None:
            yield _fetch(dataset, archive, on_bytes, begun=any(present))


def _single_files(dataset: Dataset) -> list[str]:
    return [
        archive.file for archive in dataset.manifest.archives if archive.address and archive.unpack_to is None
    ]


def _is_present(dataset: Dataset, condition: Condition) -> bool:
    try:
        dataset.check_presence(condition)
    except DataError:
        return False
    return True


def why_by_hand(dataset: Dataset) -> str:
    """Return why a dataset cannot be fetched by a command; "" where it can."""
    manifest = dataset.manifest
    if isinstance(manifest.layout, BuiltinLayout | GeneratedLayout):
        return "nothing to fetch: the package makes it"
    if isinstance(manifest.layout, HuggingFaceLayout) and manifest.layout.repository is not None:
        return ""
    if manifest.by_hand:
        return "a licence, a login or a page for people stands before it"
    if not any(archive.address for archive in manifest.archives):
        return "no address that can be fetched is known"
    return ""


def _fetch(
    dataset: Dataset,
    archive: Archive,
    on_bytes: Callable[[Archive, int, int | None], None],
    *,
    begun: bool,
) -> Fetched:
    kept = archive.unpack_to is not None
    path = (dataset.archive_folder if kept else dataset.folder) / archive.file
    marker = path.with_name(f"{path.name}.unpacked.json")
    # Where nothing of the dataset is left, what was unpacked once has been removed since.
    done = read_json(marker, Unpacked) if kept and begun and marker.is_file() else None
    if done is not None and not path.exists():
        return Fetched(archive=archive, download=None, n_files=done.n_files)
    found = download(
        archive.address or "",
        path,
        n_bytes=archive.bytes,
        md5=archive.md5,
        sha256=archive.sha256,
        on_bytes=lambda n, total: on_bytes(archive, n, total),
    )
    if not kept:
        return Fetched(archive=archive, download=found, n_files=1)
    if done is not None and done.sha256 == found.sha256:
        return Fetched(archive=archive, download=found, n_files=done.n_files)
    n_files = unpack(
        path,
        dataset.data.root / (archive.unpack_to or ""),
        most_bytes=_MOST_EXPANSION * found.n_bytes + _SMALL,
        most_files=_MOST_FILES,
    )
    write_json(marker, Unpacked(file=archive.file, sha256=found.sha256, n_files=n_files))
    return Fetched(archive=archive, download=found, n_files=n_files)
