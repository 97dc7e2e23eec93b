"""Files below a dataset's folder that nothing reads: they are noted, and do no harm."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path

from robustbench_safety.data.store import Dataset
from robustbench_safety.data.verifying.findings import Finding
from robustbench_safety.files import reads
from robustbench_safety.records import (
    BuiltinLayout,
    GeneratedLayout,
    HuggingFaceLayout,
    ImageFolderLayout,
    ImageListLayout,
)

__all__ = ["StrayFiles"]

#: What an image list reads it names, and the folder below which it lies is shared with other lists; what the
#: ``datasets`` library reads is its own affair.
_UNSEEN = (ImageListLayout, HuggingFaceLayout, BuiltinLayout, GeneratedLayout)


class StrayFiles:
    """Looks at one condition's folder after another, so that the names of one alone are in memory.

    Args:
        dataset: Whose folder is looked at.
        known: Further files that are no strays.
    """

    def __init__(self, dataset: Dataset, known: Iterable[Path]) -> None:
        manifest, layout = dataset.manifest, dataset.manifest.layout
        self._folder = dataset.folder
        # A dataset without a folder of its own lies among others.
        self._looks = not isinstance(layout, _UNSEEN) and self._folder != dataset.data.root
        self._leaves = isinstance(layout, ImageFolderLayout) and layout.others == "leave"
        names = {archive.file for archive in manifest.archives}
        self._extras = _any_of(manifest.extras)
        # A pattern that ends in * and matches a folder matches all that lies below it.
        self._skips = _any_of([pattern for pattern in manifest.extras if pattern.endswith("*")])
        self._known = {str(path) for path in known} | {str(self._folder / name) for name in names}
        self._done: set[str] = set()
        """Folders that were looked at, or whose content nobody can tell."""
        self._links: set[str] = set()

    def condition(self, needed: Sequence[Path], files: Iterable[Path]) -> Iterator[Finding]:
        """Yield the strays in the folders of one condition.

        Args:
            needed: The files and folders that the condition is read from.
            files: Every file that it reads.
        """
        if not self._looks:
            return
        folders = [path for path in needed if path.is_dir()]
        read = set(map(str, files))
        if not folders:
            self._known |= read
        for folder in folders:
            self._done.add(str(folder))
            yield from self._told(self._walk(str(folder), read, top=True).strays)

    def leave(self, needed: Sequence[Path]) -> None:
        """Say nothing about folders of a condition that cannot be read: which files it wants is unknown."""
        self._done |= {str(path) for path in needed if path.is_dir()}
        self._known |= {str(path) for path in needed}

    def rest(self) -> Iterator[Finding]:
        """Yield the strays outside the folders of the conditions."""
        if self._looks and self._folder.is_dir() and str(self._folder) not in self._done:
            yield from self._told(self._walk(str(self._folder), set()).strays)

    def _told(self, strays: Sequence[_Stray]) -> Iterator[Finding]:
        for stray in strays:
            hidden = Path(stray.path).name.startswith(".")
            what = f"a folder with {stray.n} files that" if stray.n is not None else "a file that"
            if hidden:
                what = "a hidden folder that" if Path(stray.path).is_dir() else "a hidden file that"
            yield Finding(
                kind="stray",
                where=stray.path,
                expected="nothing beside what the dataset is read from",
                found=f"{what} no condition reads",
                fix="it does no harm; remove it if nobody needs it",
                level="note",
            )

    def _walk(self, folder: str, read: set[str], *, top: bool = False) -> _Below:
        """Return what lies below a folder; one in which nothing is read is one stray."""
        below = _Below()
        with reads(Path(folder)), os.scandir(folder) as listing:
            entries = sorted((entry.name, entry.is_dir(), entry.is_symlink()) for entry in listing)
        for name, is_folder, is_link in entries:
            # As pathlib joins, so that the paths that readers give are found again.
            path = name if folder == "." else os.path.join(folder, name)  # noqa: PTH118
            if path in read or self._is_expected(path, name, is_folder=is_folder):
                below.known = True
            elif not is_folder:
                below.strays.append(_Stray(path=path))
            elif not (is_link and self._seen(path)):
                self._descend(path, read, below, left=top and self._leaves)
        return below

    def _descend(self, path: str, read: set[str], below: _Below, *, left: bool) -> None:
        inner = self._walk(path, read)
        if inner.known:
            below.known = True
            below.strays += inner.strays
        elif inner.strays and not left:
            below.strays.append(_Stray(path=path, n=sum(stray.n or 1 for stray in inner.strays)))

    def _is_expected(self, path: str, name: str, *, is_folder: bool) -> bool:
        if path in self._known or path in self._done:
            return True
        relative = os.path.relpath(path, self._folder).replace(os.sep, "/")
        if is_folder:
            return self._skips.match(f"{relative}/") is not None
        return self._extras.match(relative) is not None or self._extras.match(name) is not None

    def _seen(self, link: str) -> bool:
        """Tell whether a link to a folder was followed before: links can lead round in circles."""
        target = os.path.realpath(link)
        if target in self._links or f"{os.path.realpath(Path(link).parent)}/".startswith(f"{target}/"):
            return True
        self._links.add(target)
        return False


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)) or r"(?!)")


@dataclass(frozen=True, kw_only=True)
class _Stray:
    path: str
    n: int | None = None
    """Files below it, for a folder."""


@dataclass(kw_only=True)
class _Below:
    strays: list[_Stray] = field(default_factory=list)
    known: bool = False
    """Whether something there is read or expected."""
