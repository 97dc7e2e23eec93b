"""Images of one's own: what `rbs data new` finds out, and that its manifest reads them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from robustbench_safety.data import DataRoot, Reader, load_dataset
from robustbench_safety.data.describing.describe import Described, OwnRole, describe
from robustbench_safety.errors import DataError, RobustbenchSafetyError, UsageError
from robustbench_safety.files import read_yaml, write_yaml
from robustbench_safety.records import ClassSubset, DatasetManifest, LabelSpace


def picture(value: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((6, 7, 3), value % 256, np.uint8)).save(out, "PNG")
    return out.getvalue()


def folders(root: Path, *names: str, n: int = 2) -> Path:
    for i, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for j in range(n):
            (root / name / f"img_{j}.png").write_bytes(picture(20 * i + j))
    return root


def opened(found: Described, tmp_path: Path) -> Reader:
    """Write the manifest and its lists, and read the images through them as a user would."""
    own = tmp_path / "own"
    name = found.manifest.name
    write_yaml(own / f"{name}.yaml", found.manifest)
    if found.label_space is not None:
        write_yaml(own / "labels" / f"{name}.yaml", found.label_space)
    if found.subset is not None:
        write_yaml(own / "subsets" / f"{name}.yaml", found.subset)
    assert read_yaml(own / f"{name}.yaml", DatasetManifest) == found.manifest
    dataset = load_dataset(name, data=DataRoot(root=found.data_root, beside=own))
    return dataset.open(dataset.manifest.all_conditions()[0], seed=0)


def described(source: Path | str, role: OwnRole = "clean", **options: object) -> Described:
    return describe(str(source), name="mine", role=role, **options)  # type: ignore[arg-type]


def test_class_folders_make_a_label_space_of_their_own(tmp_path: Path) -> None:
    found = described(folders(tmp_path / "photos", "dog", "cat"))
    assert isinstance(found.label_space, LabelSpace)
    assert found.label_space.classes == ("cat", "dog")
    assert (found.manifest.samples, found.manifest.samples_per_class) == (4, 2)
    reader = opened(found, tmp_path)
    assert reader.sample_ids == ["cat/img_0", "cat/img_1", "dog/img_0", "dog/img_1"]
    assert reader.labels.tolist() == [0, 0, 1, 1]


def test_class_folders_of_unequal_size_state_no_count_a_class(tmp_path: Path) -> None:
    folders(tmp_path / "photos", "dog", "cat")
    (tmp_path / "photos" / "cat" / "img_9.png").write_bytes(picture(9))
    found = described(tmp_path / "photos")
    assert (found.manifest.samples, found.manifest.samples_per_class) == (5, None)
    assert len(opened(found, tmp_path).sample_ids) == 5


def test_some_classes_of_a_known_space_make_a_subset_in_its_order(tmp_path: Path) -> None:
    found = described(folders(tmp_path / "photos", "truck", "cat"), label_space="cifar-10")
    assert found.label_space is None
    assert isinstance(found.subset, ClassSubset)
    assert found.subset.classes == ("cat", "truck")
    assert found.manifest.subset == "mine"
    assert opened(found, tmp_path).labels.tolist() == [0, 0, 1, 1]


def test_numbered_folders_are_classes_by_number_and_not_by_text(tmp_path: Path) -> None:
    numbers = [str(n) for n in range(100)]
    found = described(folders(tmp_path / "photos", *numbers, n=1), label_space="cifar-100")
    assert found.subset is None
    reader = opened(found, tmp_path)
    assert reader.sample_ids[:3] == ["0/img_0", "1/img_0", "2/img_0"]
    assert reader.labels.tolist() == list(range(100))


def test_folders_that_are_no_classes_of_the_space_are_named(tmp_path: Path) -> None:
    source = folders(tmp_path / "photos", "cat", "lion")
    with pytest.raises(DataError, match=r"expected classes of cifar-10; found 1 others, e\.g\. 'lion'"):
        described(source, label_space="cifar-10")


def test_pictures_of_no_class_are_taken_at_any_depth(tmp_path: Path) -> None:
    folders(tmp_path / "photos", "deep/er", "b")
    (tmp_path / "photos" / "top.png").write_bytes(picture(1))
    found = described(tmp_path / "photos", "ood", companion="cifar-10")
    assert found.manifest.label_space is None
    assert found.manifest.companion == "cifar-10"
    reader = opened(found, tmp_path)
    assert reader.sample_ids == ["b/img_0", "b/img_1", "deep/er/img_0", "deep/er/img_1", "top"]
    assert reader.labels.tolist() == [-1] * 5


def test_a_stack_and_its_labels_are_told_by_their_shapes(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    folder.mkdir()
    np.save(folder / "pictures.npy", np.zeros((5, 4, 6, 3), np.uint8))
    np.save(folder / "answers.npy", np.array([3, 1, 0, 9, 2]))
    for source in (folder, folder / "pictures.npy"):
        found = described(source, label_space="cifar-10")
        assert found.manifest.image_size == (4, 6)
        assert opened(found, tmp_path).labels.tolist() == [3, 1, 0, 9, 2]
    with pytest.raises(UsageError, match="the classes of mine are not known"):
        described(folder)


def test_a_stack_without_labels_is_out_of_distribution_or_refused(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    folder.mkdir()
    np.save(folder / "pictures.npy", np.zeros((5, 4, 6, 3), np.uint8))
    assert opened(described(folder, "ood"), tmp_path).labels.tolist() == [-1] * 5
    with pytest.raises(
        UsageError, match=r"one \.npy of whole numbers, the labels, beside the images; found none"
    ):
        described(folder, label_space="cifar-10")
    np.save(folder / "more.npy", np.zeros((5, 4, 6, 3), np.uint8))
    with pytest.raises(UsageError, match=r"one stack of images; found more\.npy, pictures\.npy"):
        described(folder, "ood")


def shard(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_shards_with_class_numbers_and_with_class_folders(tmp_path: Path) -> None:
    shard(
        tmp_path / "numbers" / "a-0.tar",
        {"x.png": picture(1), "x.cls": b"3", "y.png": picture(2), "y.cls": b"1"},
    )
    found = described(tmp_path / "numbers", label_space="cifar-10")
    reader = opened(found, tmp_path)
    assert (reader.sample_ids, reader.labels.tolist()) == (["x", "y"], [3, 1])
    shard(tmp_path / "folders" / "a-0.tar", {"dog/x.png": picture(1)})
    shard(tmp_path / "folders" / "a-1.tar", {"cat/y.png": picture(2)})
    found = described(tmp_path / "folders")
    reader = opened(found, tmp_path)
    assert reader.sample_ids == ["cat/y", "dog/x"]
    assert reader.labels.tolist() == [0, 1]


def test_a_parquet_file_with_class_names_goes_by_the_names(tmp_path: Path) -> None:
    (tmp_path / "table" / "data").mkdir(parents=True)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["truck", "cat"])}
    )
    rows = {"image": [{"bytes": picture(i), "path": None} for i in range(3)], "label": [0, 1, 1]}
    table = datasets.Dataset.from_dict(rows, features=features)
    table.to_parquet(tmp_path / "table" / "data" / "test-0.parquet")
    found = described(tmp_path / "table", label_space="cifar-10")
    assert found.subset is not None
    assert found.subset.classes == ("cat", "truck")
    assert opened(found, tmp_path).labels.tolist() == [1, 0, 0]


def test_a_parquet_file_with_bare_numbers_needs_a_label_space(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    pq.write_table(pa.table({"image": [picture(1), picture(2)], "label": [7, 0]}), folder / "a.parquet")
    assert opened(described(folder, label_space="cifar-10"), tmp_path).labels.tolist() == [7, 0]
    with pytest.raises(UsageError, match="the classes of mine are not known"):
        described(folder)
    pq.write_table(pa.table({"image": [picture(1)]}), folder / "a.parquet")
    with pytest.raises(UsageError, match="a column of labels"):
        described(folder, label_space="cifar-10")


def test_a_folder_that_the_datasets_library_saved_is_read_by_it(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["b", "a"])})
    rows = {"image": [{"bytes": picture(i), "path": None} for i in range(3)], "label": [0, 1, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    found = described(tmp_path / "saved")
    assert found.label_space is not None
    assert found.label_space.classes == ("b", "a")
    assert opened(found, tmp_path).labels.tolist() == [0, 1, 1]


def test_a_list_of_files_with_images_elsewhere(tmp_path: Path) -> None:
    folders(tmp_path / "all" / "images", "x")
    (tmp_path / "all" / "lists").mkdir()
    (tmp_path / "all" / "lists" / "test.txt").write_text("x/img_1.png 4\nx/img_0.png 2\n")
    found = described(
        tmp_path / "all" / "lists" / "test.txt", label_space="cifar-10", images=tmp_path / "all" / "images"
    )
    reader = opened(found, tmp_path)
    assert reader.labels.tolist() == [4, 2]
    assert reader.sample_ids == ["x/img_1", "x/img_0"]


@pytest.mark.parametrize("kind", ["empty", "text", "absent", "pictures without folders", "broken tar"])
def test_what_cannot_be_described_is_told(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    if kind == "text":
        source = tmp_path / "source.doc"
        source.write_text("hello")
    elif kind != "absent":
        source.mkdir()
    if kind == "pictures without folders":
        (source / "a.png").write_bytes(picture(1))
    if kind == "broken tar":
        (source / "a.tar").write_bytes(b"x" * 1000)
    with pytest.raises(RobustbenchSafetyError) as raised:
        described(source)
    assert str(source) in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_manifest_with_names_like_numbers_reads_back(tmp_path: Path) -> None:
    found = described(folders(tmp_path / "photos", "1e3", "null", "no", "07"))
    assert found.label_space is not None
    assert found.label_space.classes == ("07", "1e3", "no", "null")
    assert opened(found, tmp_path).labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
