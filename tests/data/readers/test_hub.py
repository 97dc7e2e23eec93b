"""What the datasets library reads: local folders, and names on the hub without touching the network."""

from __future__ import annotations

import errno
import io
import logging
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub.utils.tqdm import progress_bar_states
from PIL import Image

from robustbench_safety.data import Dataset
from robustbench_safety.data.base import Place
from robustbench_safety.data.loader import stored_digest
from robustbench_safety.data.readers import hub as hub_module
from robustbench_safety.data.readers.hub import HuggingFaceReader
from robustbench_safety.data.readers.hub_loading import quiet
from robustbench_safety.errors import DataError, FileFormatError, StorageError

# As the reader does: the library is imported where its warnings do no harm.
with quiet():
    import datasets
    from datasets.utils import are_progress_bars_disabled

MakeDataset = Callable[..., Dataset]
MakeFolder = Callable[[Path, int], None]

LAYOUT = {"type": "hugging_face", "split": "test", "image": "image", "label": "label", "labels": "key"}
KEYS = ["a", "b", "c", "c", "b", "a", "a", "b", "c", "a", "b", "c"]
NAMES = ["c", "a", "b"]
COMMIT, OTHER_COMMIT = "0123456789abcdef0123456789abcdef01234567", "f" * 40


def picture(i: int) -> bytes:
    pixels = np.random.default_rng(i).integers(0, 256, size=(6 + i % 3, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [picture(i) for i in range(12)]


def twelve(**columns: object) -> Any:  # the library is not typed here
    """Return the twelve pictures, with class names in another order than the classes'."""
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=NAMES),
        "id": datasets.Value("string"),
    }
    content: dict[str, object] = {
        "image": [{"bytes": content, "path": None} for content in PICTURES],
        "label": [NAMES.index(key) for key in KEYS],
        "id": [f"x/{i}" for i in range(12)],
        **columns,
    }
    with quiet():
        return datasets.Dataset.from_dict(content, features=datasets.Features(features))


def save(data: Any, folder: Path) -> None:
    with quiet():
        data.save_to_disk(str(folder))


def put_parquet(folder: Path, data: Any, name: str = "test-00000.parquet") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        data.to_parquet(str(folder / name))


def put_rows(folder: Path, cells: Sequence[object]) -> None:
    """Write rows of whatever cells as the hub stores pictures; the library would read what a path names."""
    features = b'{"info": {"features": {"image": {"_type": "Image"}}}}'
    image = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    content = pa.table({"image": image, "label": ["a"] * len(cells)})
    folder.mkdir(parents=True)
    pq.write_table(content.replace_schema_metadata({b"huggingface": features}), folder / "test.parquet")


def opened(make_dataset: MakeDataset, layout: Mapping[str, object] | None = None, **change: object) -> Any:
    dataset = make_dataset(layout={**LAYOUT, **(layout or {})}, **change)
    reader = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    assert isinstance(reader, HuggingFaceReader)
    return reader


def contents(reader: HuggingFaceReader, indices: Sequence[int] = range(12)) -> list[bytes]:
    return [bytes(part) for part in reader.stored(np.array(indices))]


@pytest.fixture(autouse=True)
def _own_cache_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the library's cache below ``tmp_path``; to reach for the network is a failure."""
    tried: list[object] = []

    def refuse(*where: object, **_: object) -> None:
        tried.append(where)
        raise OSError("no network in a test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("HF_DATASETS_CACHE", "DOWNLOADED_DATASETS_PATH", "EXTRACTED_DATASETS_PATH"):
        monkeypatch.setattr(datasets.config, name, tmp_path / "cache" / name.lower())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache" / "hub"))
    yield
    assert tried == []


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what HF_HUB_OFFLINE=1 sets when the libraries are imported."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)


# ------------------------------------------------------------------------------------------ local folders


@pytest.mark.parametrize("form", ["saved", "saved splits", "parquet"])
def test_a_local_folder_gives_pictures_as_they_are_stored_and_labels_by_name(
    tmp_path: Path, make_dataset: MakeDataset, form: str
) -> None:
    if form == "saved":
        save(twelve(), tmp_path / "mine")
    elif form == "saved splits":
        save(datasets.DatasetDict({"train": twelve().select(range(3)), "test": twelve()}), tmp_path / "mine")
    else:
        put_parquet(tmp_path / "mine", twelve())
        put_parquet(tmp_path / "mine", twelve().select(range(3)), "train-00000.parquet")
    reader = opened(make_dataset)
    assert reader.sample_ids[-1] == "00011"
    assert [("a", "b", "c")[label] for label in reader.labels] == KEYS
    assert contents(reader) == PICTURES
    assert contents(reader, [11, 3, 3]) == [PICTURES[i] for i in (11, 3, 3)]
    assert np.array_equal(reader.decode(5, PICTURES[5]), np.asarray(Image.open(io.BytesIO(PICTURES[5]))))
    assert reader.files()
    assert all(path.is_file() for path in reader.files())
    assert reader.decoder.startswith("pillow ")


def test_an_image_folder_is_read_from_its_own_files(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "mine" / "test", 2)
    reader = opened(make_dataset, samples=6)
    assert reader.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert reader.class_sorted
    assert contents(reader, range(6)) == [
        (tmp_path / "mine" / "test" / key / f"img_{i}.png").read_bytes() for key in "abc" for i in range(2)
    ]


def test_the_same_pictures_as_a_folder_and_saved_have_one_data_digest(
    tmp_path: Path, make_dataset: MakeDataset, make_folder: MakeFolder
) -> None:
    make_folder(tmp_path / "folder", 3)
    folder = make_dataset(layout={"type": "image_folder"}, folder="folder", samples=9)
    by_folder = folder.open(folder.manifest.all_conditions()[0], seed=0)
    paths = list(by_folder.files())
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    with quiet():
        data = datasets.Dataset.from_dict(
            {
                "image": [{"bytes": path.read_bytes(), "path": None} for path in paths],
                "label": [path.parent.name for path in paths],
            },
            features=features,
        ).add_column("id", list(by_folder.sample_ids))
    save(data, tmp_path / "mine")
    dataset = make_dataset(layout={**LAYOUT, "sample_id": "id"}, samples=9)
    saved = dataset.open(dataset.manifest.all_conditions()[0], seed=0)
    indices = np.arange(9)
    digests = {stored_digest(reader, indices, dataset.label_keys(reader)) for reader in (by_folder, saved)}
    assert len(digests) == 1
    assert saved.class_sorted


def test_a_column_of_plain_bytes_is_read(tmp_path: Path, make_dataset: MakeDataset) -> None:
    (tmp_path / "mine").mkdir()
    pq.write_table(pa.table({"image": PICTURES, "label": KEYS}), tmp_path / "mine" / "test.parquet")
    reader = opened(make_dataset)
    assert contents(reader) == PICTURES
    assert [("a", "b", "c")[label] for label in reader.labels] == KEYS


def test_sample_ids_come_from_their_column(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(twelve(), tmp_path / "mine")
    assert opened(make_dataset, {"sample_id": "id"}).sample_ids == [f"x/{i}" for i in range(12)]
    save(twelve(id=["x"] * 12), tmp_path / "twice")
    with pytest.raises(DataError, match="holds two images 'x'"):
        opened(make_dataset, {"sample_id": "id"}, folder="twice")


def test_numbers_are_indices_where_the_layout_says_so(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(twelve(), tmp_path / "mine")
    assert opened(make_dataset, {"labels": "index"}).labels.tolist() == [NAMES.index(key) for key in KEYS]


def test_an_out_of_distribution_set_has_no_labels(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(twelve(), tmp_path / "mine")
    reader = opened(make_dataset, role="ood")
    assert reader.labels.tolist() == [-1] * 12
    assert [("a", "b", "c")[group] for group in reader.groups] == KEYS
    layout = {"label": None, "labels": "none"}
    reader = opened(make_dataset, layout, role="ood", label_space=None, classes=())
    assert reader.labels.tolist() == [-1] * 12
    assert contents(reader) == PICTURES


def test_files_are_mapped_anew_now_and_then_and_read_the_same(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_MAPPED_BYTES", 300)
    save(twelve(), tmp_path / "mine")
    reader = opened(make_dataset)
    mapped = []
    for i in range(12):
        mapped.append(reader._rows)
        assert contents(reader, [i]) == [PICTURES[i]]
    assert 3 <= len({id(rows) for rows in mapped}) <= 1 + sum(map(len, PICTURES)) // 300


def test_a_stamp_changes_with_the_data_and_with_what_is_asked_for(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    save(datasets.DatasetDict({"test": twelve(), "other": twelve()}), tmp_path / "mine")
    before = opened(make_dataset).stamp()
    assert opened(make_dataset).stamp() == before
    assert opened(make_dataset, {"split": "other"}).stamp() != before
    changed = twelve(image=[{"bytes": content, "path": None} for content in PICTURES[::-1]])
    save(datasets.DatasetDict({"test": changed}), tmp_path / "changed")
    assert opened(make_dataset, folder="changed").stamp() != before


def test_a_stamp_tells_parts_of_one_file_apart(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put_parquet(tmp_path / "mine", twelve())
    parts = [opened(make_dataset, {"split": split}, samples=6) for split in ("test[:6]", "test[6:]")]
    assert parts[0].files() == parts[1].files()
    assert parts[0].stamp() != parts[1].stamp()
    assert contents(parts[1], range(6)) == PICTURES[6:]


def test_a_stamp_changes_with_a_file_that_was_written_over(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(twelve(), tmp_path / "mine")
    reader = opened(make_dataset)
    before = reader.stamp()
    path = Path(reader.files()[0])
    path.write_bytes(path.read_bytes() + b" ")
    assert opened(make_dataset).stamp() != before


# ---------------------------------------------------------------------------------- what is refused


def test_a_missing_split_is_named_with_those_there_are(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(datasets.DatasetDict({"train": twelve(), "valid": twelve()}), tmp_path / "mine")
    with pytest.raises(DataError, match=r"does not hold split 'test'; .* found train, valid"):
        opened(make_dataset)
    put_parquet(tmp_path / "other", twelve(), "train-00000.parquet")
    with pytest.raises(
        DataError, match=r'split \'test\', in Parquet .* found ValueError: Unknown split "test"'
    ):
        opened(make_dataset, folder="other")


def test_a_split_that_was_saved_by_itself_keeps_its_name(tmp_path: Path, make_dataset: MakeDataset) -> None:
    put_parquet(tmp_path / "source", twelve(), "train-00000.parquet")
    with quiet():
        data = datasets.load_dataset(str(tmp_path / "source"), split="train")
    save(data, tmp_path / "mine")
    assert contents(opened(make_dataset, {"split": "train"})) == PICTURES
    with pytest.raises(DataError, match=r"does not hold split 'test'; .* found train"):
        opened(make_dataset)


def test_another_number_of_rows_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(twelve().select(range(11)), tmp_path / "mine")
    with pytest.raises(DataError, match="expected 12 images; found 11"):
        opened(make_dataset)


def test_classes_with_another_number_of_images_are_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(twelve(), tmp_path / "mine")
    assert len(opened(make_dataset, samples_per_class=4).labels) == 12
    with pytest.raises(DataError, match="class a; expected 3 images; found 4"):
        opened(make_dataset, samples_per_class=3)


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(twelve(), tmp_path / "mine")
    for field in ("image", "label", "sample_id"):
        with pytest.raises(DataError, match=r"has no column 'jpg'; .* found image, label, id"):
            opened(make_dataset, {field: "jpg"})


def test_a_class_name_outside_the_label_space_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(twelve(), tmp_path / "mine")
    with pytest.raises(DataError, match=r"expected classes of digits, one like .*; found 'c'"):
        opened(make_dataset, classes=("a", "b", "cat"))


def test_a_column_of_no_pictures_is_refused(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(twelve(), tmp_path / "mine")
    with pytest.raises(DataError, match=r"column 'id' holds no encoded pictures; .* found string"):
        opened(make_dataset, {"image": "id"})


def test_a_damaged_picture_is_named_by_its_row(tmp_path: Path, make_dataset: MakeDataset) -> None:
    save(twelve(), tmp_path / "mine")
    with pytest.raises(DataError, match="mine, row 4 cannot be decoded"):
        opened(make_dataset).decode(4, b"broken")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "mine/a.png", "zip://a.png::{root}/mine/a.zip", "{root}/mine/../b"]
)
def test_a_row_that_names_a_file_outside_the_dataset_is_refused_unread(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "b").write_bytes(PICTURES[1])
    outside = path.format(root=tmp_path)
    put_rows(tmp_path / "mine", [{"bytes": PICTURES[0], "path": None}, {"bytes": None, "path": outside}])
    monkeypatch.chdir(tmp_path)
    reader = opened(make_dataset, samples=2)
    assert contents(reader, [0]) == [PICTURES[0]]
    with pytest.raises(DataError, match=r"mine, row 1 names a file outside the dataset; expected one below"):
        reader.stored(np.array([1]))


def test_a_row_may_name_a_file_of_the_dataset_s_folder(tmp_path: Path, make_dataset: MakeDataset) -> None:
    named = tmp_path / "mine" / "pictures" / "0.png"
    put_rows(tmp_path / "mine", [{"bytes": None, "path": str(named)}])
    named.parent.mkdir()
    named.write_bytes(PICTURES[3])
    reader = opened(make_dataset, samples=1)
    assert contents(reader, [0]) == [PICTURES[3]]
    with named.open("wb") as handle:
        handle.truncate(65 * 2**20)
    with pytest.raises(FileFormatError, match=r"0\.png is too large"):
        reader.stored(np.array([0]))


def test_a_row_without_a_picture_is_named(tmp_path: Path, make_dataset: MakeDataset) -> None:
    cells = [{"bytes": content, "path": None} for content in PICTURES]
    put_rows(tmp_path / "mine", [*cells[:7], None, {"bytes": None, "path": None}, *cells[9:]])
    reader = opened(make_dataset)
    for row in (7, 8):
        with pytest.raises(DataError, match=rf"mine, row {row} holds no picture; .* found null"):
            reader.stored(np.array([row]))


def test_a_loading_script_of_the_folder_s_name_is_refused_and_not_run(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    put_parquet(tmp_path / "mine", twelve())
    (tmp_path / "mine" / "mine.py").write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w')")
    with pytest.raises(DataError, match=r"mine\.py is a loading script; .* code of a dataset is not run"):
        opened(make_dataset)
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    "files",
    [
        "- config_name: default\n  data_files:\n  - split: test\n    path: https://example.org/a.parquet",
        "- config_name: default\n  data_files: 'hf://datasets/a/b/*.parquet'",
        "- config_name: default\n  data_files:\n  - split: test\n    path:\n    - 'http://example.org/a.parquet'",
    ],
)
def test_a_card_that_sends_to_the_network_for_files_is_refused_before_anything_is_opened(
    tmp_path: Path, make_dataset: MakeDataset, files: str
) -> None:
    put_parquet(tmp_path / "mine", twelve())
    (tmp_path / "mine" / "README.md").write_text(f"---\nconfigs:\n{files}\n---\n# Mine\n")
    with pytest.raises(DataError, match=r"README\.md names data files on the network"):
        opened(make_dataset)


def test_a_card_with_files_of_the_folder_and_addresses_in_its_text_does_no_harm(
    tmp_path: Path, make_dataset: MakeDataset
) -> None:
    put_parquet(tmp_path / "mine", twelve())
    head = (
        "homepage: https://example.org\nconfigs:\n- config_name: default\n"
        "  data_files:\n  - split: test\n    path: '*.parquet'"
    )
    (tmp_path / "mine" / "README.md").write_text(f"---\n{head}\n---\n- from https://example.org\n")
    assert len(opened(make_dataset).sample_ids) == 12


def at(folder: Path, make_dataset: MakeDataset) -> HuggingFaceReader:
    manifest = make_dataset(layout=LAYOUT).manifest
    place = Place(
        manifest=manifest,
        folder=folder,
        condition=manifest.all_conditions()[0],
        classes=("a", "b", "c"),
    )
    assert manifest.layout.type == "hugging_face"
    return HuggingFaceReader(place, manifest.layout)


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"mine is not in owner/name; .* found no such folder"):
        at(Path("owner/name"), make_dataset)


def test_a_folder_here_called_as_a_format_is_read_and_nothing_beside_it(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To the library "parquet" is the name of a reader, which takes what lies in the working directory.
    put_parquet(tmp_path / "parquet", twelve(), "test.parquet")
    put_parquet(tmp_path, twelve().select(range(3)), "test.parquet")
    monkeypatch.chdir(tmp_path)
    assert contents(at(Path("parquet"), make_dataset)) == PICTURES


def spoilt(folder: Path, name: str, content: bytes) -> None:
    save(twelve(), folder)
    (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data-00000-of-00001.arrow", b"hello"),
        ("data-00000-of-00001.arrow", b""),
        ("dataset_info.json", b"{"),
        ("dataset_info.json", b"[]"),
        ("dataset_info.json", b'{"features": {"image": {"_type": "Nothing"}}}'),
        ("dataset_info.json", b'{"features": 3}'),
        ("state.json", b"\xff"),
        ("state.json", b"{}"),
        ("state.json", b"[]"),
        ("state.json", b'{"_data_files": 3, "_split": 5, "_fingerprint": []}'),
        ("state.json", b'{"_data_files": [{"filename": "/absent"}]}'),
    ],
)
def test_a_damaged_saved_folder_is_refused_and_named(
    tmp_path: Path, make_dataset: MakeDataset, name: str, content: bytes
) -> None:
    spoilt(tmp_path / "mine", name, content)
    with pytest.raises(DataError, match=r"mine cannot be read by the datasets library; .* found \w+"):
        opened(make_dataset)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test-00000.parquet", b"hello"),
        ("test-00000.parquet", b""),
        ("test-00000.xyz", b"hello"),
        ("README.md", b"---\nconfigs: 3\n---\n"),
        ("README.md", b"---\nconfigs: [{\n---\n"),
        ("README.md", b"---\ndataset_info: 3\n---\n"),
        ("README.md", b"---\nconfigs:\n- config_name: x\n  data_files: absent.parquet\n---\n"),
        ("test.zip", b"hello"),
        ("test.tar", b"hello"),
        ("test.json", b"hello"),
    ],
)
def test_a_folder_that_the_library_cannot_read_is_refused_and_named(
    tmp_path: Path, make_dataset: MakeDataset, name: str, content: bytes
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_bytes(content)
    with pytest.raises(DataError, match=r"mine cannot be read by the datasets library; .* found \w+"):
        opened(make_dataset)


def test_a_full_disk_is_not_taken_for_damage(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise datasets.exceptions.DatasetGenerationError("An error occurred") from error

    monkeypatch.setattr(datasets, "load_dataset", full)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "test.parquet").touch()
    with pytest.raises(StorageError, match=r"No space left on device; free some space, or name .* HF_HOME"):
        opened(make_dataset)


# --------------------------------------------------------------------------------------------- the hub


def test_a_name_on_the_hub_is_asked_for_with_config_split_and_revision_and_no_code(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def load(path: str, **options: object) -> object:
        asked.append((path, options))
        return twelve()

    monkeypatch.setattr(datasets, "load_dataset", load)
    layout = {"repository": "owner/set", "config": "big", "revision": COMMIT, "split": "test"}
    assert contents(opened(make_dataset, layout)) == PICTURES
    assert asked == [("owner/set", {"name": "big", "split": "test", "revision": COMMIT})]


def test_a_library_that_could_run_a_dataset_s_code_is_told_not_to(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def load(path: str, *, trust_remote_code: bool | None = None, **options: object) -> object:
        asked.append(trust_remote_code)
        return twelve()

    monkeypatch.setattr(datasets, "load_dataset", load)
    opened(make_dataset, {"repository": "owner/set"})
    assert asked == [False]


@pytest.mark.usefixtures("offline")
def test_offline_an_uncached_name_fails_at_once_and_says_what_to_run(make_dataset: MakeDataset) -> None:
    layout = {"repository": "owner/absent", "config": "big", "revision": COMMIT}
    with pytest.raises(DataError, match="owner/absent cannot be had from the hub or the cache") as raised:
        opened(make_dataset, layout)
    assert raised.value.expected == "split 'test' of 'big'"
    assert "ConnectionError" in raised.value.found
    command = (
        "datasets.load_dataset('owner/absent', name='big', split='test', "
        "revision='0123456789abcdef0123456789abcdef01234567')"
    )
    assert command in raised.value.fix
    assert "point --data at" in raised.value.fix


def put_in_cache(folder: Path, data: Any, commit: str) -> None:
    """Lay a split into the library's cache as it does after a download."""
    place = folder / "owner___cached" / "default" / "0.0.0" / commit
    place.mkdir(parents=True)
    save(data, folder / "saved")
    info = datasets.DatasetInfo(
        features=data.features,
        config_name="default",
        dataset_name="cached",
        version="0.0.0",
        splits={"test": {"name": "test", "num_examples": 12, "dataset_name": "cached"}},
    )
    info.write_to_directory(str(place))
    (folder / "saved" / "data-00000-of-00001.arrow").rename(place / "cached-test.arrow")


@pytest.mark.usefixtures("offline")
def test_offline_a_cached_name_is_read_if_it_is_of_the_revision(make_dataset: MakeDataset) -> None:
    put_in_cache(Path(datasets.config.HF_DATASETS_CACHE), twelve(), COMMIT)
    for revision in (None, COMMIT):
        reader = opened(make_dataset, {"repository": "owner/cached", "revision": revision})
        assert contents(reader) == PICTURES
        assert [("a", "b", "c")[label] for label in reader.labels] == KEYS
        assert [path.parent.name for path in reader.files()] == [COMMIT]
    with pytest.raises(DataError, match=f"is of another revision; expected {OTHER_COMMIT}; found {COMMIT}"):
        opened(make_dataset, {"repository": "owner/cached", "revision": OTHER_COMMIT})


@pytest.mark.parametrize(
    "repository",
    ["parquet", "imagefolder", "/etc", "../x", "a/b/c", "buckets/owner", "hf://datasets/a/b", "a/"],
)
def test_what_is_no_name_on_the_hub_is_not_handed_to_the_library(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, repository: str
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", None)
    with pytest.raises(DataError, match="is no name on the hub; expected owner/name"):
        opened(make_dataset, {"repository": repository})


def test_a_folder_here_does_not_stand_in_for_a_name_on_the_hub(
    tmp_path: Path, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_parquet(tmp_path / "owner" / "set", twelve())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="there is a folder 'owner/set' here"):
        opened(make_dataset, {"repository": "owner/set"})


@pytest.mark.parametrize(
    "error",
    [
        datasets.exceptions.DatasetNotFoundError("Dataset 'owner/set' doesn't exist on the Hub"),
        FileNotFoundError("no such file"),
        ConnectionError("Couldn't reach 'owner/set'"),
        TimeoutError("timed out"),
        ValueError("BuilderConfig 'x' not found"),
        RuntimeError("Dataset scripts are no longer supported, but found set.py"),
        huggingface_hub.errors.OfflineModeIsEnabled("offline"),
        huggingface_hub.errors.HFValidationError("bad name"),
        huggingface_hub.errors.HfHubHTTPError.__bases__[0]("503 Service Unavailable"),
        pa.ArrowInvalid("bad file"),
        KeyError("image"),
        ImportError("to read HDF5 install h5py"),
    ],
)
def test_every_error_of_the_library_becomes_ours_with_its_reason(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match="owner/set cannot be had from the hub or the cache") as raised:
        opened(make_dataset, {"repository": "owner/set"})
    assert raised.value.found == f"{type(error).__name__}: {error}"
    assert raised.value.__cause__ is error


# ------------------------------------------------------------------------------------------------- quiet


def test_opening_says_nothing_and_leaves_the_library_as_it_was(
    tmp_path: Path,
    make_dataset: MakeDataset,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def load(*_: object, **__: object) -> object:
        logging.getLogger("datasets.load").error("a log line")
        logging.getLogger("huggingface_hub.file_download").error("a log line")
        warnings.warn("a warning", stacklevel=1)
        return real_load(*_, **__)

    real_load = datasets.load_dataset
    put_parquet(tmp_path / "mine", twelve())
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setitem(progress_bar_states, "huggingface_hub.snapshot_download", value=False)
    heard: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", heard.append)
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    for logger in loggers:
        monkeypatch.setattr(logger, "level", logging.INFO)
        monkeypatch.setattr(logger, "handlers", [handler])

    def state() -> list[object]:
        levels = [logger.level for logger in loggers]
        return [levels, are_progress_bars_disabled(), dict(progress_bar_states), list(warnings.filters)]

    before = state()
    opened(make_dataset)
    assert state() == before
    assert before[:2] == [[logging.INFO, logging.INFO], False]
    assert heard == []
    assert capfd.readouterr() == ("", "")
    logging.getLogger("datasets").error("a log line")
    assert len(heard) == 1


def test_what_was_quiet_before_stays_quiet_after_a_failure(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.utils.disable_progress_bars()
    try:
        monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            opened(make_dataset, {"repository": "owner/set"})
        assert are_progress_bars_disabled()
    finally:
        datasets.utils.enable_progress_bars()
