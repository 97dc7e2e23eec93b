"""Files of digests: written as ``sha256sum`` writes them, read strictly, compared with a dataset."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robustbench_safety.data import Dataset, load_dataset
from robustbench_safety.data.verifying.digest_files import read_digests, write_digests
from robustbench_safety.data.verifying.verify import verify_dataset
from robustbench_safety.errors import DataError, FileFormatError, StorageError, UsageError

MakeDataset = Callable[..., Dataset]
MakeFolder = Callable[[Path, int], None]
ZEROS = "0" * 64


@pytest.fixture
def whole(make_dataset: MakeDataset, make_folder: MakeFolder, tmp_path: Path) -> Dataset:
    """Return a dataset of two pictures for each of the classes a, b, c, all there."""
    make_folder(tmp_path / "mine", 2)
    return make_dataset(layout={"type": "image_folder"}, samples=6)


def found(dataset: Dataset, digests: Path, *, quick: bool = True) -> list[tuple[str, str]]:
    """Return kind and sentence of every finding."""
    report = verify_dataset(dataset, quick=quick, digests=digests)
    return [(finding.kind, finding.where) for finding in report.findings]


def test_every_file_stands_sorted_with_its_sha256(whole: Dataset, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    n = write_digests(whole, tmp_path / "sums", advance=lambda done, total: told.append((done, total)))
    lines = (tmp_path / "sums").read_text().splitlines()
    assert n == len(lines) == 6
    assert [line[66:] for line in lines] == [f"{key}/img_{i}.png" for key in "abc" for i in range(2)]
    for line in lines:
        assert line[:66] == hashlib.sha256((whole.folder / line[66:]).read_bytes()).hexdigest() + "  "
    assert told == [(done, 6) for done in range(1, 7)]


def test_the_file_does_not_depend_on_the_number_of_threads(whole: Dataset, tmp_path: Path) -> None:
    for n in range(130):
        (whole.folder / "a" / f"more_{n}.png").write_bytes(bytes([n]))
    whole = Dataset(
        manifest=whole.manifest.model_copy(update={"samples": 136}), data=whole.data, classes=whole.classes
    )
    for workers in (1, 5):
        write_digests(whole, tmp_path / f"sums-{workers}", workers=workers)
    assert (tmp_path / "sums-1").read_bytes() == (tmp_path / "sums-5").read_bytes()


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_takes_the_file_and_we_take_its_own(whole: Dataset) -> None:
    sums = whole.folder / "SHA256SUMS"
    write_digests(whole, sums)
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=whole.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 6
    listed = [f"./{path.relative_to(whole.folder)}" for path in whole.folder.rglob("*.png")]
    for flag in ("--text", "--binary"):
        own = subprocess.run(
            ["sha256sum", flag, *listed], cwd=whole.folder, capture_output=True, check=True
        ).stdout
        sums.write_bytes(own)
        assert found(whole, sums) == []


@pytest.mark.parametrize("quick", [True, False])
def test_what_was_written_is_found_again_whether_images_are_decoded_or_not(
    whole: Dataset, tmp_path: Path, *, quick: bool
) -> None:
    write_digests(whole, tmp_path / "sums")
    report = verify_dataset(whole, quick=quick, digests=tmp_path / "sums")
    assert (report.ok, report.findings, report.hashed) == (True, (), 6)


@pytest.mark.parametrize("quick", [True, False])
def test_changed_missing_and_additional_files_are_named(
    whole: Dataset, tmp_path: Path, *, quick: bool
) -> None:
    write_digests(whole, tmp_path / "sums")
    a, b, c = (whole.folder / key / "img_0.png" for key in "abc")
    shutil.copy(whole.folder / "a" / "img_1.png", a)
    b.rename(b.with_name("img_9.png"))
    assert found(whole, tmp_path / "sums", quick=quick) == [
        ("digest", f"{b} is missing"),
        ("digest", f"{b.with_name('img_9.png')} is additional"),
        ("digest", f"{a} was changed"),
    ]
    report = verify_dataset(whole, quick=quick, digests=tmp_path / "sums")
    assert report.findings[2].found == f"sha256 {hashlib.sha256(a.read_bytes()).hexdigest()}"
    assert report.findings[2].expected == f"sha256 {read_digests(tmp_path / 'sums')['a/img_0.png']}"
    assert not report.ok
    c.unlink()
    assert ("digest", f"{c} is missing") in found(whole, tmp_path / "sums", quick=quick)


def test_a_full_check_reads_each_image_once(
    whole: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_digests(whole, tmp_path / "sums")
    again: list[Path] = []

    def watched(path: Path) -> str:
        again.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr("robustbench_safety.data.verifying.digest_files.file_digest", watched)
    assert verify_dataset(whole, digests=tmp_path / "sums").hashed == 6
    assert again == []
    assert verify_dataset(whole, digests=tmp_path / "sums", quick=True).hashed == 6
    assert len(again) == 6


def test_listed_files_that_no_condition_reads_are_compared_too(whole: Dataset, tmp_path: Path) -> None:
    write_digests(whole, tmp_path / "sums")
    (whole.folder / "README").write_bytes(b"one")
    with (tmp_path / "sums").open("a") as sums:
        sums.write(f"{hashlib.sha256(b'one').hexdigest()}  README\n")
    assert found(whole, tmp_path / "sums") == [("stray", str(whole.folder / "README"))]
    (whole.folder / "README").write_bytes(b"two")
    shutil.copy(whole.folder / "a" / "img_1.png", whole.folder / "a" / "img_0.png")
    for quick in (True, False):
        assert found(whole, tmp_path / "sums", quick=quick)[1:] == [
            ("digest", f"{whole.folder / name} was changed") for name in ("README", "a/img_0.png")
        ]


def test_the_images_of_a_list_are_listed_with_it_and_read_once(
    whole: Dataset, make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole.folder / "list.txt").write_text("".join(f"{key}/img_1.png 0\n" for key in "abc"))
    layout = {"type": "image_list", "file": "list.txt", "format": "words", "image": "0"}
    dataset = make_dataset(layout={**layout, "label": "1", "labels": "index"}, samples=3)
    write_digests(dataset, tmp_path / "sums")
    names = ["a/img_1.png", "b/img_1.png", "c/img_1.png", "list.txt"]
    assert list(read_digests(tmp_path / "sums")) == names
    shutil.copy(whole.folder / "a" / "img_1.png", whole.folder / "c" / "img_1.png")
    again: list[Path] = []

    def watched(path: Path) -> str:
        again.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr("robustbench_safety.data.verifying.digest_files.file_digest", watched)
    changed = ("digest", f"{whole.folder / 'c' / 'img_1.png'} was changed")
    assert found(dataset, tmp_path / "sums", quick=False) == [changed]
    assert again == [whole.folder / "list.txt"]


def test_what_the_datasets_library_reads_is_hashed_as_it_is_listed(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    rows = {"image": [b"no picture"] * 2, "label": ["a", "b"]}
    pq.write_table(pa.table(rows), tmp_path / "mine" / "test.parquet")
    layout = {"type": "hugging_face", "split": "test", "image": "image", "label": "label", "labels": "key"}
    dataset = make_dataset(layout=layout, samples=2)
    (tmp_path / "sums").write_text(f"{ZEROS}  test.parquet\n")
    report = verify_dataset(dataset, digests=tmp_path / "sums")
    kinds = [finding.kind for finding in report.findings]
    assert kinds == ["undecodable", "undecodable", "digest"]
    assert report.findings[2].where == f"{tmp_path / 'mine' / 'test.parquet'} was changed"


def test_files_of_labels_are_listed(make_dataset: MakeDataset, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "images.npy", np.zeros((12, 4, 4, 3), dtype=np.uint8))
    np.save(tmp_path / "mine" / "labels.npy", np.zeros(12, dtype=np.int64))
    assert write_digests(make_dataset(), tmp_path / "sums") == 2
    assert list(read_digests(tmp_path / "sums")) == ["images.npy", "labels.npy"]
    assert found(make_dataset(), tmp_path / "sums") == []
    np.save(tmp_path / "mine" / "labels.npy", np.ones(12, dtype=np.int64))
    changed = tmp_path / "mine" / "labels.npy"
    assert found(make_dataset(), tmp_path / "sums") == [("digest", f"{changed} was changed")]


def test_labels_for_another_dataset_are_listed(tmp_path: Path) -> None:
    dataset = load_dataset("cifar-10h", data=tmp_path)
    dataset.folder.mkdir()
    counts = dataset.folder / "cifar10h-counts.npy"
    np.save(counts, np.ones((10_000, 10), dtype=np.int64))
    assert write_digests(dataset, tmp_path / "sums") == 1
    assert found(dataset, tmp_path / "sums") == []
    (tmp_path / "sums").write_text(f"{ZEROS}  another\n")
    missing = dataset.folder / "another"
    assert found(dataset, tmp_path / "sums") == [
        ("digest", f"{missing} is missing"),
        ("digest", f"{counts} is additional"),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{ZEROS} a/b.png", "64 hex digits"),
        (f"{ZEROS[1:]}  a/b.png", "64 hex digits"),
        (f"SHA256 (a/b.png) = {ZEROS}", "64 hex digits"),
        (f"\\{ZEROS}  a\\nb.png", "64 hex digits"),
        ("", "64 hex digits"),
        (f"{ZEROS}  a\\nb.png", "a path below"),
        (f"{ZEROS}  a.png\r", "a path below"),
        (f"{ZEROS}  /etc/passwd", "a path below"),
        (f"{ZEROS}  a/../../b.png", "a path below"),
        (f"{ZEROS}  ./first.png", "each file once"),
        (f"{ZEROS}  {'x' * 9000}", "64 hex digits"),
    ],
)
def test_a_line_of_another_form_is_refused_by_its_number(tmp_path: Path, line: str, expected: str) -> None:
    sums = tmp_path / "sums"
    sums.write_bytes(f"{ZEROS}  first.png\n{line}\n".encode())
    with pytest.raises(FileFormatError) as raised:
        read_digests(sums)
    number = 3 if len(line) > 8192 else 2
    assert raised.value.what == f"{sums}, line {number} is wrong"
    assert raised.value.expected.startswith(expected)


def test_upper_case_and_a_missing_last_line_feed_are_taken(tmp_path: Path) -> None:
    (tmp_path / "sums").write_text(f"{'A' * 64} *one name.png")
    assert read_digests(tmp_path / "sums") == {"one name.png": "a" * 64}


def test_an_empty_or_missing_file_of_digests_is_refused(whole: Dataset, tmp_path: Path) -> None:
    (tmp_path / "sums").write_bytes(b"")
    with pytest.raises(FileFormatError, match="holds no digest"):
        verify_dataset(whole, digests=tmp_path / "sums")
    with pytest.raises(StorageError, match="cannot be read"):
        verify_dataset(whole, digests=tmp_path / "none")


@pytest.mark.parametrize("name", ["back\\slash.png", "line\nfeed.png", "carriage\rreturn.png"])
def test_a_name_that_cannot_be_written_down_is_refused_and_nothing_is_written(
    whole: Dataset, tmp_path: Path, name: str
) -> None:
    (whole.folder / "a" / "img_0.png").rename(whole.folder / "a" / name)
    with pytest.raises(DataError, match="cannot be written down"):
        write_digests(whole, tmp_path / "sums")
    assert not (tmp_path / "sums").exists()


def test_a_name_that_is_no_utf_8_comes_back(whole: Dataset, tmp_path: Path) -> None:
    odd = b"/a/caf\xe9.png"
    (whole.folder / "a" / "img_0.png").rename(Path(str(whole.folder) + odd.decode(errors="surrogateescape")))
    write_digests(whole, tmp_path / "sums")
    assert odd[1:] in (tmp_path / "sums").read_bytes()
    assert found(whole, tmp_path / "sums") == []


def test_a_set_that_is_not_whole_or_has_no_files_is_not_written_down(whole: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="digits has no folder of its own"):
        write_digests(load_dataset("digits", data=tmp_path), tmp_path / "sums")
    (whole.folder / "a" / "img_0.png").unlink()
    with pytest.raises(DataError, match="does not hold the images of mine"):
        write_digests(whole, tmp_path / "sums")
    assert not (tmp_path / "sums").exists()
