"""Folders in the hub's layout: what is read, what is refused, and how the hub is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from robustbench_safety.errors import CheckpointError, FileFormatError, RobustbenchSafetyError
from robustbench_safety.models.hf.files import Source, locate, read_config, read_preprocessor, read_weights
from robustbench_safety.models.model import Asked, Trust
from robustbench_safety.records import CheckpointInfo, ModelFile

TENSORS = {f"net.block.{i}.weight": torch.full((3, 2), float(i)) for i in range(4)}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def ask(architecture: str, *, folder: Path | None = None, pickle: bool = False, **more: Path) -> Asked:
    return Asked(
        architecture=architecture,
        file=ModelFile(model=f"hf:{architecture}"),
        folder=folder or Path(),
        trust=Trust(pickle=pickle),
        checkpoint=more.get("checkpoint"),
    )


def weights(
    folder: Path, *, pickle: bool = False, checkpoint: Path | None = None
) -> tuple[dict[str, object], CheckpointInfo, str]:
    asked = ask("net", pickle=pickle, **({} if checkpoint is None else {"checkpoint": checkpoint}))
    return read_weights(asked, Source(folder=folder), names=set(TENSORS))


def save_shards(folder: Path, *, ending: str = "safetensors") -> Path:
    """Save two tensors to a file, as transformers does for large networks."""
    prefix = {"safetensors": "model", "bin": "pytorch_model"}[ending]
    weight_map: dict[str, str] = {}
    for number in (1, 2):
        shard = f"{prefix}-0000{number}-of-00002.{ending}"
        part = dict(list(TENSORS.items())[2 * number - 2 : 2 * number])
        if ending == "bin":
            torch.save(part, folder / shard)
        else:
            save_file(part, folder / shard)
        weight_map |= dict.fromkeys(part, shard)
    index = folder / f"{prefix}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 96}, "weight_map": weight_map}))
    return index


def test_shards_are_put_together_and_digested_with_their_index(tmp_path: Path) -> None:
    index = save_shards(tmp_path)
    values, info, path = weights(tmp_path)
    assert path == str(index)
    assert values.keys() == TENSORS.keys()
    assert (info.file, info.format, info.unwrapped) == (index.name, "safetensors", ("shards:2",))
    second = tmp_path / "model-00002-of-00002.safetensors"
    save_file(dict(list(TENSORS.items())[2:]), second, metadata={"format": "pt"})
    other = weights(tmp_path)[1].sha256
    index.write_text(index.read_text() + "\n")
    assert len({info.sha256, other, weights(tmp_path)[1].sha256}) == 3


def test_a_shard_whose_names_share_a_wrappers_prefix_keeps_it(tmp_path: Path) -> None:
    save_file({"model.a": torch.ones(1)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"head.a": torch.ones(1)}, tmp_path / "model-00002-of-00002.safetensors")
    weight_map = {"model.a": "model-00001-of-00002.safetensors", "head.a": "model-00002-of-00002.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert weights(tmp_path)[0].keys() == {"model.a", "head.a"}


@pytest.mark.parametrize(
    "name", ["../out.safetensors", "/etc/out.safetensors", "..", ".safetensors", "a/b.safetensors",
             "a\\b.safetensors", "c:out.safetensors", "code.py", "", "nul\0.safetensors"]
)  # fmt: skip
def test_a_shard_that_is_no_file_beside_its_index_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    save_file(TENSORS, tmp_path / "out.safetensors")
    index = save_shards(tmp_path / "in")
    index.write_text(json.dumps({"weight_map": dict.fromkeys(TENSORS, name)}))
    with pytest.raises(CheckpointError, match="is no file beside it"):
        weights(tmp_path / "in")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "model-00001-of-00002.safetensors"])
def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    save_shards(folder)
    save_file(dict(list(TENSORS.items())[:2]), tmp_path / "out")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "out")
    with pytest.raises(CheckpointError, match=rf"{name} leads out of its folder; .*copy the file"):
        read_config(Source(folder=folder)) if name == "config.json" else weights(folder)


def test_the_links_of_the_hubs_own_cache_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "models--a--b" / "snapshots" / COMMIT
    blobs = tmp_path / "models--a--b" / "blobs"
    folder.mkdir(parents=True)
    blobs.mkdir()
    save_file(TENSORS, blobs / "123")
    (folder / "model.safetensors").symlink_to(blobs / "123")
    assert weights(folder)[0].keys() == TENSORS.keys()


def test_missing_and_wrong_shards_are_named(tmp_path: Path) -> None:
    index = save_shards(tmp_path)
    second = tmp_path / "model-00002-of-00002.safetensors"
    save_file({"net.block.2.weight": torch.ones(1), "more": torch.ones(1)}, second)
    with pytest.raises(
        CheckpointError,
        match=r"00002-of-00002.safetensors does not hold the tensors that model.safetensors.index.json "
        r"lists; .*found 1 missing, e.g. net.block.3.weight; 1 more, e.g. more",
    ):
        weights(tmp_path)
    second.write_bytes(second.read_bytes()[:-2])
    with pytest.raises(CheckpointError, match=r"00002-of-00002.safetensors is damaged"):
        weights(tmp_path)
    second.unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002.safetensors is missing; expected it, as"):
        weights(tmp_path)
    index.write_text('{"weight_map": {}}')
    with pytest.raises(CheckpointError, match="lists no tensors"):
        weights(tmp_path)


def test_pickles_are_taken_only_when_trusted_and_that_is_recorded(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        CheckpointError,
        match=r"no weights that can be read; expected model.safetensors or .*; found pytorch_model.bin; .*"
        r"only unless --trust-pickle",
    ):
        weights(tmp_path)
    _, info, _ = weights(tmp_path, pickle=True)
    assert (info.file, info.unwrapped) == ("pytorch_model.bin", ("trusted:pickle",))
    save_file(TENSORS, tmp_path / "model.safetensors")
    assert weights(tmp_path, pickle=True)[1].unwrapped == ()


def test_a_pickle_that_is_handed_in_is_refused_by_what_it_is_and_not_by_its_name(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "a.bin")
    with pytest.raises(CheckpointError, match=r"a.bin is a pickle; expected safetensors; .*--trust-pickle"):
        weights(tmp_path, checkpoint=tmp_path / "a.bin")
    assert weights(tmp_path, pickle=True, checkpoint=tmp_path / "a.bin")[1].unwrapped == ("trusted:pickle",)


def test_pickles_in_several_files_are_trusted_as_one(tmp_path: Path) -> None:
    save_shards(tmp_path, ending="bin")
    values, info, _ = weights(tmp_path, pickle=True)
    assert values.keys() == TENSORS.keys()
    assert (info.format, info.unwrapped) == ("torch", ("trusted:pickle", "shards:2"))


def test_a_pickle_among_safetensors_shards_is_refused(tmp_path: Path) -> None:
    index = save_shards(tmp_path)
    torch.save(TENSORS, tmp_path / "all.bin")
    index.write_text(json.dumps({"weight_map": dict.fromkeys(TENSORS, "all.bin")}))
    with pytest.raises(CheckpointError, match=r"all.bin is a pickle"):
        weights(tmp_path)


def test_a_checkpoint_may_be_a_folder_of_its_own(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save_shards(other)
    assert weights(tmp_path, checkpoint=other)[0].keys() == TENSORS.keys()
    with pytest.raises(CheckpointError, match=r"holds no weights that can be read; .*found none"):
        weights(tmp_path, checkpoint=tmp_path)


def test_configurations_are_objects_of_bounded_size(tmp_path: Path) -> None:
    source = Source(folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"holds no config.json; .*found nothing"):
        read_config(source)
    path = tmp_path / "config.json"
    for content in ("{", "[]", "null", '{"a": 1, "a": 2}', "[" * 100_000, "\xff"):
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(FileFormatError, match=r"config.json"):
            read_config(source)
    with path.open("wb") as handle:
        handle.truncate(2**30)
    with pytest.raises(FileFormatError, match=r"config.json is too large"):
        read_config(source)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "code.Config"}}),
        ("preprocessor_config.json", {"auto_map": {"AutoImageProcessor": "code.Processor"}}),
        ("processor_config.json", {"image_processor": {"auto_map": {}}}),
    ],
)
def test_a_folder_that_brings_code_is_refused(tmp_path: Path, name: str, content: dict[str, object]) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "code.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(
        CheckpointError, match=rf"{name} asks for code of its own \(auto_map\), which is never"
    ):
        (read_config if name == "config.json" else read_preprocessor)(Source(folder=tmp_path))


def test_the_image_processor_inside_a_processor_goes_first_as_in_transformers(tmp_path: Path) -> None:
    source = Source(folder=tmp_path)
    assert read_preprocessor(source) is None
    (tmp_path / "preprocessor_config.json").write_text('{"size": 1}')
    (tmp_path / "processor_config.json").write_text('{"processor_class": "Any"}')
    assert read_preprocessor(source) == {"size": 1}
    (tmp_path / "processor_config.json").write_text('{"image_processor": {"size": 2}}')
    assert read_preprocessor(source) == {"size": 2}


def test_a_folder_is_relative_to_the_model_file_and_goes_before_the_hub(tmp_path: Path) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert locate(ask("org/name", folder=tmp_path)) == Source(folder=tmp_path / "org" / "name")


@pytest.mark.parametrize(
    "name", ["nets", "./nets", "/a/b", "../a", "a/b/c", "org/name@", "org/name@v 1", "-a/b"]
)
def test_what_is_neither_a_folder_nor_a_hub_name_never_reaches_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("asked the hub"))
    with pytest.raises(
        CheckpointError, match=r"names no model; expected a folder with a config.json, or a name"
    ):
        locate(ask(name, folder=tmp_path))


class Hub:
    """Stands for the hub: remembers what was asked and gives the files that match."""

    def __init__(self, folder: Path, offered: dict[str, bytes]) -> None:
        self.folder, self.offered = folder / "snapshots" / COMMIT, offered
        self.asked: list[tuple[str, str | None]] = []

    def __call__(
        self, repo: str, *, revision: str | None, allow_patterns: Sequence[str], **options: object
    ) -> str:
        self.asked.append((repo, revision))
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in self.offered:
            if not any(fnmatch(name, pattern) for pattern in allow_patterns):
                continue
            (self.folder / name).write_bytes(self.offered[name])
        return str(self.folder)


def test_a_hub_name_brings_only_the_files_that_are_read_and_its_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = ["config.json", "preprocessor_config.json", "model.safetensors.index.json"]
    wanted += ["model-00001-of-00002.safetensors"]
    others = [
        "pytorch_model.bin",
        "tf_model.h5",
        "code.py",
        "README.md",
        "training_args.bin",
        "x.safetensors",
    ]
    hub = Hub(tmp_path, dict.fromkeys(wanted + others, b"{}"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    source = locate(ask("org/name@v1.0", folder=tmp_path, pickle=True))
    assert source == Source(folder=hub.folder, hub=f"org/name@{COMMIT}")
    assert sorted(path.name for path in hub.folder.iterdir()) == sorted(wanted)
    assert hub.asked == [("org/name", "v1.0")]


def test_pickles_are_fetched_only_where_trusted_and_nothing_else_is_offered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = Hub(tmp_path, {"config.json": b"{}", "pytorch_model.bin": b"x", "other.bin": b"x"})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    locate(ask("org/name", folder=tmp_path))
    assert [path.name for path in hub.folder.iterdir()] == ["config.json"]
    locate(ask("org/name", folder=tmp_path, pickle=True))
    assert sorted(path.name for path in hub.folder.iterdir()) == ["config.json", "pytorch_model.bin"]
    assert hub.asked[1:] == [("org/name", None), ("org/name", COMMIT)]


def test_with_a_checkpoint_only_the_configuration_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub = Hub(tmp_path, {"config.json": b"{}", "model.safetensors": b"x"})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    locate(ask("org/name", folder=tmp_path, pickle=True, checkpoint=tmp_path / "mine.safetensors"))
    assert [path.name for path in hub.folder.iterdir()] == ["config.json"]


def test_where_the_hub_cannot_be_reached_the_cause_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*args: object, **options: object) -> str:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(
        RobustbenchSafetyError,
        match=r"hf:org/name could not be fetched from the hub; expected .* or its cache; "
        r"found ConnectionError: Name or service not known; correct the name",
    ):
        locate(ask("org/name", folder=tmp_path))
