"""What the commands ``rbs data`` do: call the package, print what came out."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from robustbench_safety.cli.manifest_words import archive_in_words, fields_in_words, presence
from robustbench_safety.cli.screen import messages, screen, show_rows
from robustbench_safety.data import DataRoot, Dataset, dataset_names, load_dataset
from robustbench_safety.data.describing.describe import describe
from robustbench_safety.data.fetching.fetch import fetch_dataset
from robustbench_safety.data.readers import wanted_paths
from robustbench_safety.data.verifying.digest_files import write_digests
from robustbench_safety.data.verifying.verify import verify_dataset
from robustbench_safety.errors import DataError, UsageError
from robustbench_safety.files import read_yaml, write_yaml, yaml_fields
from robustbench_safety.records import Archive, BuiltinLayout, DatasetManifest, GeneratedLayout

__all__ = ["fetch", "list_data", "make", "new", "show_dataset", "verify"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
#: Seconds between two lines of progress.
_EVERY = 5.0


def list_data(data: DataRoot) -> None:
    """Print every dataset and whether it is at hand."""
    rows = []
    for name in dataset_names(beside=data.beside):
        dataset = load_dataset(name, data=data)
        manifest = dataset.manifest
        conditions = len(manifest.all_conditions())
        images = f"{manifest.samples:,}" + (f" x {conditions}" if conditions > 1 else "")
        rows.append((
            name, manifest.role, images, manifest.label_space or "–", presence(dataset), manifest.title,
        ))  # fmt: skip
    head = ("name", "role", "images x conditions", "label space", "at hand", "title")
    show_rows(f"Datasets; data root {data.root}", head, rows)


def show_dataset(name: str, data: DataRoot) -> None:
    """Print everything that the manifest says."""
    dataset = _opened(name, data)
    rows = fields_in_words(dataset)
    layout = dataset.manifest.layout
    if isinstance(layout, GeneratedLayout):
        made = f"made on the fly from {layout.source}; `rbs data make {name} --out DIR` writes it to disk"
        rows = [(field, made if field == "how to get it" else value) for field, value in rows]
    show_rows(dataset.name, ("field", "value"), rows, longest=8000)


def fetch(name: str, data: DataRoot) -> int:
    """Fetch and unpack the archives of a dataset; return 0 when it is whole."""
    dataset = _opened(name, data)
    manifest = dataset.manifest
    screen().print(
        f"{manifest.title}\nlicence: {manifest.licence}\ncitation: {manifest.citation}", markup=False
    )
    for archive in manifest.archives:
        screen().print(archive_in_words(archive), markup=False, soft_wrap=True)
    n = 0
    for fetched in fetch_dataset(dataset, on_bytes=_SaidBytes()):
        n += 1
        found = fetched.download
        how = "was unpacked before"
        if found is not None:
            checked = "checked" if found.verified else "no published digest to check it by"
            how = f"{found.n_bytes:,} bytes, sha256 {found.sha256} ({checked}), {fetched.n_files:,} files"
        screen().print(f"{fetched.archive.file}: {how}", markup=False, soft_wrap=True)
    if not n:
        screen().print(
            f"nothing to fetch: {manifest.name} is in {dataset.folder}", markup=False, soft_wrap=True
        )
    return verify(name, data, quick=True)


def verify(
    name: str,
    data: DataRoot,
    *,
    quick: bool,
    archives: Sequence[Path] = (),
    digests: Path | None = None,
    write_digests_to: Path | None = None,
    workers: int | None = None,
) -> int:
    """Check a dataset and print what is wrong; return 1 when something is."""
    if workers is not None and workers < 1:
        raise UsageError("--workers", expected="a whole number, at least 1", found=str(workers))
    dataset = _opened(name, data)
    report = verify_dataset(
        dataset,
        quick=quick,
        archives=archives,
        digests=digests,
        workers=workers,
        advance=_SaidCounts("checked"),
    )
    for finding in report.findings:
        text = f"{finding.level}: {finding.where}"
        for part, value in (("expected", finding.expected), ("found", finding.found), ("", finding.fix)):
            text += f"; {part} {value}".replace(";  ", "; ") if value else ""
        screen().print(text, markup=False, soft_wrap=True)
    wrong = sum(finding.level == "wrong" for finding in report.findings)
    verdict = "whole" if report.ok else f"not whole: {_counted(wrong, 'fault')}"
    screen().print(
        f"{dataset.name} in {dataset.folder} is {verdict} "
        f"({_counted(report.conditions, 'condition')}, {_counted(report.images, 'image')}, "
        f"{report.decoded:,} decoded, {report.seconds:.1f} s)",
        markup=False,
        soft_wrap=True,
    )
    if write_digests_to is not None and report.ok:
        n = write_digests(dataset, write_digests_to)
        screen().print(f"{n:,} sha256 sums in {write_digests_to}", markup=False, soft_wrap=True)
    return 0 if report.ok else 1


def new(
    source: str,
    out: Path,
    *,
    name: str,
    role: Literal["clean", "shift", "ood"],
    label_space: str | None,
    companion: str | None,
    images: Path | None,
    split: str | None,
    title: str | None,
    licence: str | None,
    citation: str | None,
) -> None:
    """Write a manifest and the class lists it needs, and say how to score on it."""
    _check_name(name)
    path = out / f"{name}.yaml"
    if path.exists():
        raise UsageError(
            str(path), expected="no such file yet", found="one", fix="remove it or choose a name"
        )
    found = describe(
        source, name=name, role=role, label_space=label_space, companion=companion, images=images,
        split=split, title=title, licence=licence, citation=citation, beside=out)  # fmt: skip
    written = [path]
    if found.label_space is not None:
        written.append(out / "labels" / f"{name}.yaml")
        write_yaml(written[-1], found.label_space)
    if found.subset is not None:
        written.append(out / "subsets" / f"{name}.yaml")
        write_yaml(written[-1], found.subset)
    write_yaml(path, found.manifest)
    for made in written:
        screen().print(f"wrote {made}", markup=False, soft_wrap=True)
    at = f" --data {found.data_root}" if found.manifest.folder else ""
    screen().print(f"check it:  rbs data verify {path}{at}", markup=False, soft_wrap=True)
    if role != "ood" or companion is not None:
        screen().print(f"score:     rbs score MODEL --suite {path}{at}", markup=False, soft_wrap=True)
    else:
        say = (
            "name the in-distribution images as `companion` in it, or in a suite of your own, to score on it"
        )
        screen().print(say, markup=False, soft_wrap=True)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        expected = "a name like my-images: small letters, digits, '.', '_' and '-', at most 80"
        raise UsageError("--name", expected=expected, found=name)
    if name in dataset_names():
        fix = "choose another name, so that no number is taken for the other's"
        raise UsageError(
            "--name", expected="a new name", found=f"{name} is the name of a shipped dataset", fix=fix
        )


def make(
    name: str,
    data: DataRoot,
    out: Path,
    *,
    source: Path | None = None,
    conditions: Sequence[str] = (),
    seed: int = 0,
    format: Literal["npy", "jpeg", "mp4"] | None = None,  # noqa: A002  # what it is called in layouts
    workers: int | None = None,
) -> None:
    """Write a generated dataset to disk, and a manifest beside it."""
    from robustbench_safety.data.making import DIGESTS, make_dataset  # it loads torch

    dataset = _opened(_generated_name(name, data), data)
    if source is not None:
        dataset = _made_from(dataset, source)
    path = out.parent / f"{dataset.name}-files.yaml"
    _refuse_other_folder(path, out)
    manifest = make_dataset(
        dataset,
        out,
        name=path.stem,
        conditions=conditions,
        seed=seed,
        format=format,
        workers=workers,
        advance=_SaidCounts("images written"),
    )
    write_yaml(path, manifest)
    screen().print(f"wrote {out} and {path}", markup=False, soft_wrap=True)
    check = f"rbs data verify {path} --data {out.parent} --digests {out / DIGESTS}"
    screen().print(f"check:  {check}", markup=False, soft_wrap=True)
    screen().print(
        f"score:  rbs score MODEL --suite {path} --data {out.parent}", markup=False, soft_wrap=True
    )


def _generated_name(name: str, data: DataRoot) -> str:
    """Return the generated dataset that stands beside a published one: cifar10-c is cifar-10-c-generated."""
    made = f"{re.sub(r'^cifar(?=10)', 'cifar-', name)}-generated"
    return made if made in dataset_names(beside=data.beside) else name


def _refuse_other_folder(path: Path, out: Path) -> None:
    """Refuse to write over the manifest of images made into another folder: it would point to these."""
    if not path.exists():
        return
    folder = read_yaml(path, DatasetManifest).folder
    if folder != out.resolve().name:
        raise UsageError(
            f"--out {out}: {path} is the manifest of other images",
            expected=f"OUT {out.parent / folder}, which it describes, or one in another folder",
            found=out.name,
            fix=f"name --out {out.parent / f'{out.name}-made' / out.name} for instance",
        )


def _made_from(dataset: Dataset, folder: Path) -> Dataset:
    """Return the dataset with its clean images in ``folder``, or the published folder below or above it."""
    if not isinstance(dataset.manifest.layout, GeneratedLayout):
        raise UsageError(
            f"--from {folder}",
            expected="a dataset that is made from another's images",
            found=f"{dataset.name}",
        )
    if not folder.is_dir():
        raise UsageError(f"--from {folder}", expected="a folder", found="no such folder")
    source = dataset.source()
    if isinstance(source.manifest.layout, BuiltinLayout):
        raise UsageError(
            f"--from {folder}",
            expected="no folder: the package makes the clean images itself",
            found=f"{dataset.name}, made from {source.name}",
        )
    wanted = wanted_paths(source.place(source.manifest.all_conditions()[0]), source.manifest.layout)
    below = folder / source.manifest.folder
    found = below if below.is_dir() else _folder_of(wanted, folder)
    root = replace(dataset.data, folders={**dataset.data.folders, source.name: found})
    dataset = replace(dataset, data=root)
    source = dataset.source()
    try:
        source.check_presence(source.manifest.all_conditions()[0])
    except DataError as error:
        # The manifest's own advice is on getting it, and on another option.
        holding = f"the folder that holds {' and '.join(wanted)}" if wanted else "the folder of its images"
        fix = f"name with --from {holding}; `rbs data show {source.name}` says how to get it"
        raise DataError(error.what, expected=error.expected, found=error.found, fix=fix) from error
    return dataset


def _folder_of(wanted: Sequence[str], folder: Path) -> Path:
    """Return the folder below which all ``wanted`` paths lie: ``folder``, or one above it on their way."""
    whole = folder.absolute()
    for root in (whole, *whole.parents):
        way = whole.relative_to(root).parts
        if all((root / path).exists() and Path(path).parts[: len(way)] == way for path in wanted):
            return root
    return folder


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _opened(name: str, data: DataRoot) -> Dataset:
    """Return a dataset by name, or by the path of its manifest."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        return load_dataset(name, data=data)
    if path.suffix != ".yaml":
        raise UsageError(name, expected="a manifest whose name ends in .yaml", fix="rename it")
    # Else a shipped dataset of that name would be taken for a file that is not there.
    yaml_fields(path)
    return load_dataset(path.stem, data=replace(data, beside=path.parent))


# ------------------------------------------------------------------------------------------------ progress


class _Clock:
    """Lets a line through now and then."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def strikes(self) -> bool:
        now = time.monotonic()
        if now - self._said < _EVERY:
            return False
        self._said = now
        return True


class _SaidBytes:
    def __init__(self) -> None:
        self._clock = _Clock()

    def __call__(self, archive: Archive, n: int, total: int | None) -> None:
        if self._clock.strikes():
            of = f" of {total / 1e6:,.1f}" if total else ""
            messages().print(f"{archive.file}: {n / 1e6:,.1f}{of} MB", markup=False, soft_wrap=True)


class _SaidCounts:
    def __init__(self, what: str) -> None:
        self._what, self._clock = what, _Clock()

    def __call__(self, done: int, total: int) -> None:
        if self._clock.strikes():
            messages().print(f"{done:,} of {total:,} {self._what}", markup=False, soft_wrap=True)
