"""Generated images on disk: the published layout, the same pixels, resumed and never mixed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.data.base import ArrayReader
from robustbench_safety.data.making import make_dataset
from robustbench_safety.data.verifying.verify import verify_dataset
from robustbench_safety.errors import DataError, UnknownNameError, UsageError
from robustbench_safety.files import write_yaml
from robustbench_safety.records import DatasetManifest

SMALL = {"digits-c": ["contrast", "brightness"], "digits-p": ["translate", "brightness"]}


@pytest.fixture(params=sorted(SMALL))
def generated(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    """A shipped generated dataset with fewer conditions."""
    shipped = load_dataset(request.param).manifest
    group = shipped.conditions[0]
    some = group.model_copy(update={"names": tuple(SMALL[request.param]), "levels": group.levels[:2]})
    own = tmp_path / "own"
    write_yaml(own / f"{shipped.name}.yaml", shipped.model_copy(update={"conditions": (some,)}))
    return load_dataset(shipped.name, data=DataRoot(root=tmp_path, beside=own))


def made(dataset: Dataset, out: Path, *conditions: str, seed: int = 0) -> DatasetManifest:
    return make_dataset(
        dataset, out, name="files", conditions=conditions, seed=seed, workers=1, advance=lambda *_: None
    )


def pixels(dataset: Dataset, number: int) -> np.ndarray:
    reader = dataset.open(dataset.manifest.all_conditions()[number], seed=0)
    assert isinstance(reader, ArrayReader)
    indices = np.arange(0, 850, 7)
    return reader.block(indices, reader.stored(indices))


def test_what_is_written_reads_back_to_the_same_pixels_ids_and_labels(
    generated: Dataset, tmp_path: Path
) -> None:
    manifest = made(generated, tmp_path / "files")
    write_yaml(tmp_path / "own" / "files.yaml", manifest)
    stored = load_dataset("files", data=generated.data)
    assert verify_dataset(stored).findings == ()
    conditions = generated.manifest.all_conditions()
    assert [c.path.split("/", 1)[1] for c in stored.manifest.all_conditions()] == [
        c.path.split("/", 1)[1] for c in conditions
    ]
    for i in range(len(conditions)):
        assert np.array_equal(pixels(stored, i), pixels(generated, i)), conditions[i].path


def test_the_layout_is_the_published_one(generated: Dataset, tmp_path: Path) -> None:
    made(generated, tmp_path / "files")
    names = SMALL[generated.name]
    assert {path.name for path in (tmp_path / "files").glob("*.npy")} == {
        "labels.npy", *(f"{name}.npy" for name in names)}  # fmt: skip
    first = np.load(tmp_path / "files" / f"{names[0]}.npy", mmap_mode="r")
    labels = np.load(tmp_path / "files" / "labels.npy")
    if generated.name == "digits-c":
        assert first.shape == (2 * 850, 32, 32, 3)  # one severity after the other
        assert np.array_equal(labels[:850], labels[850:])
    else:
        assert first.shape == (850, 16, 32, 32, 3)  # translate has 16 frames, the others 31
    assert first.dtype == np.uint8


def test_finished_files_are_kept_and_missing_ones_are_made(generated: Dataset, tmp_path: Path) -> None:
    made(generated, tmp_path / "files")
    first, second = (tmp_path / "files" / f"{name}.npy" for name in SMALL[generated.name])
    before = first.stat().st_mtime_ns
    content = second.read_bytes()
    second.unlink()
    made(generated, tmp_path / "files")
    assert first.stat().st_mtime_ns == before
    assert second.read_bytes() == content


def test_images_of_another_seed_are_never_mixed_in(generated: Dataset, tmp_path: Path) -> None:
    made(generated, tmp_path / "files")
    with pytest.raises(DataError, match="made otherwise; expected seed 1; found 0; name another folder"):
        made(generated, tmp_path / "files", seed=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        made(generated, tmp_path / "other")


def names_in(manifest: DatasetManifest) -> list[str]:
    return list(dict.fromkeys(condition.name for condition in manifest.all_conditions()))


def test_conditions_made_one_after_another_end_as_those_made_at_once(
    generated: Dataset, tmp_path: Path
) -> None:
    first, second = SMALL[generated.name]
    files = tmp_path / "files"
    some = made(generated, files, second)
    assert names_in(some) == [second]
    assert some.title.endswith(f"written to disk (1 of 2 {generated.manifest.role}s)")
    assert {path.name for path in files.glob("*.npy")} == {"labels.npy", f"{second}.npy"}
    listed = [line.split("  ")[1] for line in (files / "SHA256SUMS").read_text().splitlines()]
    assert listed == sorted(["labels.npy", f"{second}.npy"])
    write_yaml(tmp_path / "own" / "files.yaml", some)
    assert verify_dataset(load_dataset("files", data=generated.data)).findings == ()

    both = made(generated, files, first)
    assert names_in(both) == [first, second]  # as in the manifest that they are made by
    at_once = made(generated, tmp_path / "at-once")
    assert both == at_once.model_copy(update={"folder": "files"})
    for path in (tmp_path / "at-once").iterdir():
        assert (files / path.name).read_bytes() == path.read_bytes()

    (files / f"{first}.npy").unlink()
    assert names_in(made(generated, files, second)) == [second]


def test_headlines_are_those_of_the_conditions_that_are_there(tmp_path: Path) -> None:
    shipped = load_dataset("digits-c")
    names = [condition.name for condition in shipped.manifest.all_conditions()]
    headline = (names[0], "contrast")
    manifest = shipped.manifest.model_copy(update={"headline": headline})
    assert names[0] != "contrast"
    some = made(replace(shipped, manifest=manifest), tmp_path / "files", "contrast", "brightness")
    assert some.headline == ("contrast",)
    assert sorted(names_in(some)) == ["brightness", "contrast"]


def test_an_unknown_condition_is_refused_with_near_ones(generated: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"of digits-[cp]: 'bright'; expected one like brightness"):
        made(generated, tmp_path / "files", "bright")
    assert not (tmp_path / "files").exists()


def test_what_frost_lacks_is_told_with_the_names_that_work_without(tmp_path: Path) -> None:
    shipped = load_dataset("digits-c").manifest
    group = shipped.conditions[0].model_copy(update={"names": ("contrast", "frost", "saturate")})
    own = tmp_path / "own"
    write_yaml(own / "digits-c.yaml", shipped.model_copy(update={"conditions": (group,), "headline": ()}))
    dataset = load_dataset("digits-c", data=DataRoot(root=tmp_path, beside=own))
    with pytest.raises(DataError, match="rbs data fetch frost-textures") as raised:
        made(dataset, tmp_path / "files")
    assert str(raised.value).endswith("; or leave out frost: --name contrast --name saturate")
    assert not (tmp_path / "files").exists()
    assert names_in(made(dataset, tmp_path / "files", "contrast", "saturate")) == ["contrast", "saturate"]


def test_what_is_not_generated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dataset digits is not made by the package"):
        made(load_dataset("digits"), tmp_path / "files")
