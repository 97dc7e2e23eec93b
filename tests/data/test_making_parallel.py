"""Generated images on disk: class folders of JPEGs and clips, killed and resumed, whatever the workers."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from sklearn.datasets import load_sample_images

from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.data.base import ArrayReader, FileReader
from robustbench_safety.data.making import make_dataset
from robustbench_safety.data.verifying.verify import verify_dataset
from robustbench_safety.errors import DataError, StorageError, UsageError
from robustbench_safety.files import write_yaml
from robustbench_safety.labels import class_digest

KEYS = ["cat", "dog"]
COMMON = "version: 1\ntitle: T\nlabel_space: pets\nsamples: 4\nlicence: own\ncitation: own\n"


def described(folder: Path, kind: str, conditions: str, *, variant: str = "tiny", more: str = "") -> Dataset:
    """Return a generated dataset of four photographs in two class folders."""
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "pets.yaml").write_text(
        f"name: pets\ndigest: {class_digest(KEYS)}\nsource: here\nclasses: {KEYS}\n"
    )
    for key, photograph in zip(KEYS, load_sample_images().images, strict=True):
        (folder / "photographs" / key).mkdir(parents=True, exist_ok=True)
        for i in range(2):
            crop = photograph[50 * i : 50 * i + 300, 100 * i : 100 * i + 280]
            Image.fromarray(np.ascontiguousarray(crop)).save(folder / "photographs" / key / f"p{i}.png")
    (folder / "photographs.yaml").write_text(
        f"name: photographs\nrole: clean\nlayout: {{type: image_folder}}\nfolder: photographs\n{COMMON}"
        "conditions: [{kind: clean, names: [clean], levels: [0]}]\n"
    )
    (folder / "mine.yaml").write_text(
        f"name: mine\nrole: {kind}\n{COMMON}pre_cropped: true\n"
        f"layout: {{type: generated, source: photographs, variant: {variant}{more}}}\n"
        f"conditions: [{{kind: {kind}, {conditions}}}]\n"
    )
    return load_dataset("mine", data=DataRoot(root=folder, beside=folder))


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tables(file: io.BytesIO) -> dict[int, list[int]]:
    """Return the tables of a JPEG file that its quality chose."""
    picture = Image.open(file)
    assert isinstance(picture, JpegImageFile)
    return {number: list(table) for number, table in picture.quantization.items()}


def quiet(_done: int, _total: int) -> None:
    return


def test_corruptions_of_photographs_go_to_class_folders_as_jpeg_85_and_read_back_to_the_same_pixels(
    tmp_path: Path,
) -> None:
    made = described(
        tmp_path, "corruption", "names: [contrast, shot_noise], levels: [1, 4]", more=", saved_as: jpeg85"
    )
    manifest = make_dataset(made, tmp_path / "files", name="files", seed=3, workers=1, advance=quiet)
    assert (tmp_path / "files" / "shot_noise" / "4" / "dog" / "p1.JPEG").is_file()
    write_yaml(tmp_path / "files.yaml", manifest)
    stored = load_dataset("files", data=made.data)
    assert verify_dataset(stored, digests=tmp_path / "files" / "SHA256SUMS").findings == ()
    for one, other in zip(stored.manifest.all_conditions(), made.manifest.all_conditions(), strict=True):
        files, fly = stored.open(one, seed=3), made.open(other, seed=3)
        assert isinstance(files, FileReader)
        assert isinstance(fly, ArrayReader)
        assert list(files.sample_ids) == list(fly.sample_ids)
        assert files.labels.tolist() == fly.labels.tolist()
        indices = np.arange(4)
        contents = files.stored(indices)
        decoded = np.stack([files.decode(i, contents[i]) for i in range(4)])
        assert np.array_equal(decoded, fly.block(indices, fly.stored(indices)))
        # The tables of a JPEG file are those of its quality.
        again = io.BytesIO()
        Image.fromarray(decoded[0]).save(again, "JPEG", quality=85)
        assert tables(io.BytesIO(bytes(contents[0]))) == tables(again)


def test_sha256sums_hold_every_file_as_sha256sum_writes_them(tmp_path: Path) -> None:
    made = described(tmp_path, "corruption", "names: [contrast], levels: [1]")
    make_dataset(made, tmp_path / "files", name="files", workers=1, advance=quiet)
    files = content(tmp_path / "files")
    lines = files.pop("SHA256SUMS").decode()
    files.pop("made.json")
    assert len(files) == 4
    assert lines == "".join(
        f"{hashlib.sha256(value).hexdigest()}  {name}\n" for name, value in sorted(files.items())
    )


def test_the_bytes_do_not_depend_on_the_workers_nor_on_what_was_there(tmp_path: Path) -> None:
    made = described(tmp_path, "corruption", "names: [contrast, shot_noise], levels: [1]")
    make_dataset(made, tmp_path / "one", name="files", workers=1, advance=quiet)
    told: list[tuple[int, int]] = []
    make_dataset(made, tmp_path / "two", name="files", workers=2, advance=lambda *counts: told.append(counts))
    assert told == [(4, 8), (8, 8)]
    expected = content(tmp_path / "one")
    assert content(tmp_path / "two") == expected
    # A file that was cut short is made again, and one that is whole is not touched.
    cut, kept = (tmp_path / "one" / f"contrast/1/cat/p{i}.JPEG" for i in range(2))
    cut.write_bytes(cut.read_bytes()[:-40])
    before = kept.stat().st_mtime_ns
    make_dataset(made, tmp_path / "one", name="files", workers=1, advance=quiet)
    assert content(tmp_path / "one") == expected
    assert kept.stat().st_mtime_ns == before


def test_clips_of_photographs_go_to_videos_that_read_back_nearly_the_same(tmp_path: Path) -> None:
    pytest.importorskip("av")
    made = described(
        tmp_path, "sequence", "names: [gaussian_noise, brightness], levels: [1]", variant="cifar"
    )
    manifest = make_dataset(made, tmp_path / "files", name="files", format="mp4", workers=1, advance=quiet)
    assert (tmp_path / "files" / "brightness" / "dog" / "p1.mp4").is_file()
    write_yaml(tmp_path / "files.yaml", manifest)
    stored = load_dataset("files", data=made.data)
    assert verify_dataset(stored, digests=tmp_path / "files" / "SHA256SUMS").findings == ()
    (_, condition), (_, original) = stored.manifest.all_conditions(), made.manifest.all_conditions()
    files, fly = stored.open(condition, seed=0), made.open(original, seed=0)
    assert isinstance(files, FileReader)
    assert isinstance(fly, ArrayReader)
    indices = np.arange(1)
    clip = files.decode(0, files.stored(indices)[0])
    expected = fly.block(indices, fly.stored(indices))
    assert clip.shape == expected.shape == (31, 32, 32, 3)
    assert np.abs(clip.astype(float) - expected).mean() < 6  # H.264 at quality 20


def test_every_difficulty_of_a_sequence_has_a_file_of_its_own(tmp_path: Path) -> None:
    made = described(tmp_path, "sequence", "names: [gaussian_noise], levels: [1, 3]", variant="cifar")
    manifest = make_dataset(made, tmp_path / "files", name="files", workers=1, advance=quiet)
    assert {path.name for path in (tmp_path / "files").glob("*.npy")} == {
        "labels.npy", "gaussian_noise.npy", "gaussian_noise_3.npy"}  # fmt: skip
    assert np.load(tmp_path / "files" / "labels.npy").tolist() == [0, 0, 1, 1]
    write_yaml(tmp_path / "files.yaml", manifest)
    assert verify_dataset(load_dataset("files", data=made.data)).findings == ()


def test_a_folder_among_the_clean_images_is_refused_and_none_is_made(tmp_path: Path) -> None:
    dataset = described(tmp_path, "corruption", "names: [contrast], levels: [1]")
    clean = dataset.source().folder
    for out in (clean, clean / "made", next(clean.iterdir()) / "made", clean / "no" / ".." / "made"):
        with pytest.raises(UsageError, match="lies among the clean images"):
            make_dataset(dataset, out, name="files", advance=quiet)
    assert not list(clean.rglob("made*"))


def test_conditions_in_class_folders_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    made = described(tmp_path, "corruption", "names: [contrast, saturate, pixelate], levels: [1, 2]")
    files = tmp_path / "files"
    for name in ("pixelate", "contrast"):
        manifest = make_dataset(
            made, files, name="files", conditions=[name], format="jpeg", workers=1, advance=quiet
        )
    assert manifest.conditions[0].names == ("contrast", "pixelate")
    write_yaml(tmp_path / "files.yaml", manifest)
    stored = load_dataset("files", data=made.data)
    assert verify_dataset(stored, digests=files / "SHA256SUMS").findings == ()
    assert len((files / "SHA256SUMS").read_text().splitlines()) == 2 * 2 * 4


def test_images_made_of_other_pictures_under_the_same_manifest_are_never_mixed_in(tmp_path: Path) -> None:
    made = described(tmp_path, "corruption", "names: [contrast], levels: [1]")
    files = tmp_path / "files"
    make_dataset(made, files, name="files", workers=1, advance=quiet)
    before = content(files)
    # The same pictures in another place are the same, and one other picture is not.
    moved = tmp_path / "moved"
    (tmp_path / "photographs").rename(moved)
    data = DataRoot(root=tmp_path, beside=tmp_path, folders={"photographs": moved})
    elsewhere = load_dataset("mine", data=data)
    make_dataset(elsewhere, files, name="files", workers=1, advance=quiet)
    Image.new("RGB", (80, 80), "red").save(moved / "cat" / "p1.png")
    with pytest.raises(DataError, match=r"made otherwise; expected clean_images .*; name another folder"):
        make_dataset(elsewhere, files, name="files", workers=1, advance=quiet)
    assert content(files) == before


def test_a_format_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    made = described(tmp_path, "corruption", "names: [contrast], levels: [1]")
    with pytest.raises(UsageError, match="cannot be written as mp4; expected npy or jpeg"):
        make_dataset(made, tmp_path / "files", name="files", format="mp4", advance=quiet)
    assert not (tmp_path / "files").exists()


SLOW = """
import sys, time
from pathlib import Path
from robustbench_safety.data import DataRoot, load_dataset, making_parts
from robustbench_safety.data.making import make_dataset

jpeg = making_parts._jpeg
def slow(image):
    time.sleep(0.3)
    return jpeg(image)
making_parts._jpeg = slow

folder = Path(sys.argv[1])
made = load_dataset("mine", data=DataRoot(root=folder, beside=folder))
make_dataset(made, folder / "files", name="files", workers=1, advance=lambda _done, _total: None)
"""


def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    made = described(tmp_path, "corruption", "names: [contrast, shot_noise], levels: [1, 2]")
    files = tmp_path / "files"
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)])
    try:
        deadline = time.monotonic() + 120
        while len(list(files.rglob("*.JPEG"))) < 3:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(StorageError, match="is being made by another process"):
            make_dataset(made, files, name="files", workers=1, advance=quiet)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    first = {path: path.stat().st_mtime_ns for path in files.rglob("*.JPEG")}
    assert 3 <= len(first) < 16
    assert not (files / "SHA256SUMS").exists()
    make_dataset(made, files, name="files", workers=1, advance=quiet)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    make_dataset(made, tmp_path / "whole", name="files", workers=1, advance=quiet)
    assert content(files) == content(tmp_path / "whole")
