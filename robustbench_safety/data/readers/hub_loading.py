"""The ``datasets`` library asked for one split: without its code, its noise and its many kinds of errors.

It is imported when it is needed: that takes two seconds.
"""

from __future__ import annotations

import errno
import inspect
import logging
import re
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import yaml

from robustbench_safety.data.base import Place
from robustbench_safety.errors import DataError, StorageError
from robustbench_safety.files import read_bytes
from robustbench_safety.records import HuggingFaceLayout

if TYPE_CHECKING:
    import datasets

__all__ = ["failures_named", "load_split", "quiet", "source_name"]

_REPOSITORY = re.compile(r"(?!buckets/)\w[\w.-]*/\w[\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
#: Where a card's head names data files, an address among them; a home page is none.
_ELSEWHERE = re.compile(r"(?:\b(?:data_files|data_dir|path)\b|^\s*-)[^\n#]*://", re.MULTILINE)
_LARGEST_CARD = 8 * 2**20
#: Errors of the system about the cache that is written, not about what is read.
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def source_name(place: Place, layout: HuggingFaceLayout) -> str:
    """Return what is read, for errors: the name on the hub, or the folder."""
    return layout.repository or str(place.folder)


def load_split(place: Place, layout: HuggingFaceLayout) -> datasets.Dataset:
    """Return one split, mapped into memory and not read.

    Raises:
        DataError: It is not there, or not what the layout says.
        StorageError: The library's cache cannot be written.
    """
    if layout.repository is None:
        folder = _local_folder(place)
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            return _saved_split(folder, layout)
        return _loaded(str(folder), layout)
    if not _REPOSITORY.fullmatch(layout.repository):
        raise DataError(
            f"{place.manifest.name}: repository {layout.repository!r} is no name on the hub",
            expected="owner/name",
            fix="correct it in the manifest",
        )
    # The library would take a folder below the working directory for it.
    if Path(layout.repository).exists():
        raise DataError(
            f"{place.manifest.name}: there is a folder {layout.repository!r} here",
            expected="the dataset of that name on the hub",
            fix="run from another folder, or leave repository out and point --data at the local copy",
        )
    data = _loaded(layout.repository, layout)
    if layout.revision is not None:
        _check_revision(data, layout.repository, layout.revision)
    return data


def _local_folder(place: Place) -> Path:
    """Return the dataset's own folder, whole: a relative path might be taken for a name on the hub."""
    folder = place.folder.resolve()
    if not folder.is_dir():
        raise DataError(
            f"{place.manifest.name} is not in {place.folder}",
            expected="a folder that the datasets library reads",
            found="no such folder",
            fix="point --data at the folder above it",
        )
    script = folder / f"{folder.name}.py"
    if script.exists():
        raise DataError(
            f"{script} is a loading script",
            expected="data files alone: code of a dataset is not run",
            fix="convert the dataset to Parquet, or remove the script if the data files are whole without it",
        )
    card = folder / "README.md"
    head = _head(card) if card.is_file() else ""
    if re.search(r"\bdata_(?:files|dir)\b", head) and _ELSEWHERE.search(head):
        raise DataError(
            f"{card} names data files on the network",
            expected="data files in the folder: nothing is fetched when a folder is read",
            fix="remove data_files from its head, or name the dataset on the hub",
        )
    return folder


def _head(card: Path) -> str:
    """Return the YAML at the head of a dataset's card, which tells the library where its files are."""
    text = read_bytes(card, largest=_LARGEST_CARD).decode(errors="replace")
    parts = text.split("---", 2)
    return parts[1] if text.startswith("---") and len(parts) == 3 else ""


def _saved_split(folder: Path, layout: HuggingFaceLayout) -> datasets.Dataset:
    """Return a split of a folder that ``save_to_disk`` wrote."""
    import datasets

    saved = datasets.load_from_disk(str(folder))
    if isinstance(saved, datasets.DatasetDict):
        there = list(saved)
        split = saved.get(layout.split)
    else:
        # One that was saved by itself may know no name.
        there = [str(saved.split)]
        split = saved if saved.split is None or str(saved.split) == layout.split else None
    if split is None:
        raise DataError(
            f"{folder} does not hold split {layout.split!r}",
            expected=f"split {layout.split!r}",
            found=", ".join(there),
            fix="correct split in the manifest",
        )
    return split


def _loaded(path: str, layout: HuggingFaceLayout) -> datasets.Dataset:
    import datasets

    # From version 4 on the library cannot run a dataset's code at all, and has no such argument.
    no_code = {}
    if "trust_remote_code" in inspect.signature(datasets.load_dataset).parameters:
        no_code = {"trust_remote_code": False}
    return datasets.load_dataset(
        path, name=layout.config, split=layout.split, revision=layout.revision, **no_code
    )


def _check_revision(data: datasets.Dataset, repository: str, revision: str) -> None:
    """Refuse another commit's copy in the cache: without a network the library takes the latest."""
    commits = {Path(file["filename"]).parent.name for file in data.cache_files}
    commits = {commit for commit in commits if _COMMIT.fullmatch(commit)}
    if _COMMIT.fullmatch(revision) and commits - {revision}:
        raise DataError(
            f"the cached copy of {repository} is of another revision",
            expected=revision,
            found=", ".join(sorted(commits)),
            fix=f"with a network, run {_command(repository, revision=revision)}",
        )


def _command(
    repository: str, *, config: str | None = None, split: str | None = None, revision: str | None = None
) -> str:
    """Return the command that fills the library's cache."""
    named = {"name": config, "split": split, "revision": revision}
    arguments = "".join(f", {key}={value!r}" for key, value in named.items() if value is not None)
    return f'python -c "import datasets; datasets.load_dataset({repository!r}{arguments})"'


@contextmanager
def quiet() -> Iterator[None]:
    """Run a block without the library's progress bars, log lines and warnings; then all is as before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
        from huggingface_hub.utils.tqdm import disable_progress_bars as disable_hub_bars
        from huggingface_hub.utils.tqdm import progress_bar_states as hub_bars

        loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
        levels = [logger.level for logger in loggers]
        shown, hub_states = not are_progress_bars_disabled(), dict(hub_bars)
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL + 1)
            disable_progress_bars()
            disable_hub_bars()
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if shown:
                enable_progress_bars()
            hub_bars.clear()
            hub_bars.update(hub_states)


@contextmanager
def failures_named(place: Place, layout: HuggingFaceLayout) -> Iterator[None]:
    """Run a block that uses the library; whatever it raises becomes an error that says what to do.

    Raises:
        DataError: The dataset is not there, not in reach, or damaged.
        StorageError: The library's cache cannot be written.
    """
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    # What the library was seen to raise, its own errors and those of what it is made of; its error for the
    # network has the network library's as bases, which differ by version.
    except (
        DatasetsError,
        *HfHubHTTPError.__bases__,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        AssertionError,
        RuntimeError,
        ImportError,
        EOFError,
        pa.ArrowException,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        yaml.YAMLError,
    ) as error:
        raise _failure(place, layout, error) from error


def _failure(place: Place, layout: HuggingFaceLayout, error: BaseException) -> DataError | StorageError:
    chain = [error]
    while chain[-1].__cause__ is not None and len(chain) < 10:
        chain.append(chain[-1].__cause__)
    lines = (f"{type(one).__name__}: {str(one).strip().partition(chr(10))[0]}" for one in chain)
    found = ", as of ".join(dict.fromkeys(lines))[:1000]
    for one in chain:
        if isinstance(one, OSError) and one.errno in _UNWRITABLE:
            return StorageError(
                f"{source_name(place, layout)}: the cache of the datasets library cannot be used",
                found=found,
                fix="free some space, or name another folder in HF_HOME",
            )
    wanted = f"split {layout.split!r}" + (f" of {layout.config!r}" if layout.config else "")
    if layout.repository is None:
        return DataError(
            f"{place.folder} cannot be read by the datasets library",
            expected=f"{wanted}, in Parquet files, an image folder or what save_to_disk wrote",
            found=found,
            fix="take the copy again, and check split and config in the manifest",
        )
    command = _command(layout.repository, config=layout.config, split=layout.split, revision=layout.revision)
    return DataError(
        f"{layout.repository} cannot be had from the hub or the cache",
        expected=wanted,
        found=found,
        fix=f"with a network and HF_HUB_OFFLINE unset, run {command}; or download the files, leave "
        "repository out of a manifest of your own and point --data at them; check the names in it too",
    )
