"""Published archives that lie on disk, against the lengths and digests of the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from robustbench_safety.data.store import Dataset
from robustbench_safety.data.verifying.findings import Finding, finding_of, some_of
from robustbench_safety.errors import StorageError
from robustbench_safety.files import reads
from robustbench_safety.records import Archive

__all__ = ["check_archive", "found_archives", "unknown_archives"]

_CHUNK = 2**20
_FIX = "remove it and fetch it again, unless it is another dataset's; else the publisher has replaced it"


def found_archives(dataset: Dataset, named: Sequence[Path]) -> list[tuple[Archive, Path]]:
    """Return each archive of the manifest with every place where it lies.

    Args:
        dataset: Whose archives are looked for, in the data root, where they are fetched to, and in the
            dataset's folder; with them the single files there whose md5 was published.
        named: Further files, known by their names. They are returned whether they exist or not.
    """
    out = [
        (Archive(file=name, md5=md5), dataset.folder / name)
        for name, md5 in dataset.manifest.file_md5.items()
        if (dataset.folder / name).is_file()
    ]
    for archive in dataset.manifest.archives:
        folders = (dataset.data.root, dataset.archive_folder, dataset.folder)
        places = [folder / archive.file for folder in folders]
        paths = [path for path in places if path.is_file()]
        paths += [path for path in named if path.name == Path(archive.file).name]
        # One file may be reached by two of these ways.
        out += [(archive, path) for path in {path.resolve(): path for path in reversed(paths)}.values()]
    return out


def unknown_archives(dataset: Dataset, named: Sequence[Path]) -> Iterator[Finding]:
    """Yield a finding for each file that is called as no archive of the manifest is."""
    known = [Path(archive.file).name for archive in dataset.manifest.archives]
    for path in named:
        if path.name not in known:
            yield Finding(
                kind="archive",
                where=f"{path} is no archive of {dataset.name}",
                expected=some_of(known) if known else "none: the manifest lists no archive",
                fix="give it its published name, or name another file",
            )


def check_archive(archive: Archive, path: Path, *, quick: bool) -> tuple[Finding | None, bool]:
    """Compare a file with what was published.

    Args:
        archive: What the manifest says.
        path: The file.
        quick: Whether to compare the length alone.

    Returns:
        How it differs, None where it is the same as far as that is known; and whether it was hashed.
    """
    try:
        with reads(path):
            n_bytes = path.stat().st_size
        if archive.bytes is not None and n_bytes != archive.bytes:
            return _differs(path, f"{archive.bytes} bytes", f"{n_bytes} bytes"), False
        digests = (("md5", archive.md5), ("sha256", archive.sha256))
        published = {name: digest for name, digest in digests if digest}
        if quick or not published:
            return None, False
        found = _digests(path, list(published))
    except StorageError as error:
        return finding_of("archive", error), False
    for name, digest in found.items():
        if digest != published[name]:
            return _differs(path, f"{name} {published[name]}", f"{name} {digest}"), True
    return None, True


def _differs(path: Path, expected: str, found: str) -> Finding:
    return Finding(
        kind="archive", where=f"{path} is not the published file", expected=expected, found=found, fix=_FIX
    )


def _digests(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Return several digests of a file; it is read once: archives are larger than the cache."""
    hashers = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with reads(path), path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            for hasher in hashers.values():
                hasher.update(chunk)
    return {name: hasher.hexdigest() for name, hasher in hashers.items()}
