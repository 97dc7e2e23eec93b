"""The commands `rbs data`: what they print, write and return."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from robustbench_safety.cli.app import run
from robustbench_safety.data.builtin import DigitsReader
from robustbench_safety.demo import DEMO_MODELS
from robustbench_safety.files import resource_names
from tests.local_server import Answer, LocalServer

PLAIN = str(DEMO_MODELS[0].checkpoint)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(list(arguments)) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def digit_folders(root: Path, n: int = 3) -> Path:
    """The first ``n`` test scans of each digit, a folder a class."""
    reader = DigitsReader("test")
    for label in range(10):
        (root / str(label)).mkdir(parents=True)
        for i in np.flatnonzero(reader.labels == label)[:n]:
            indices = np.array([i])
            pixels = reader.block(indices, reader.stored(indices))[0]
            Image.fromarray(pixels).save(root / str(label) / f"{reader.sample_ids[i]}.png")
    return root


def test_the_list_names_every_dataset_and_whether_it_is_at_hand(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "data", "list", "--data", ".")
    for name in resource_names("data_manifests"):
        (row,) = (line for line in out.splitlines() if line.startswith(f"│ {name} "))
        expected = "built in" if "digits" in name or "noise" in name or "blobs" in name else "no"
        assert f"│ {expected} " in row


def test_the_list_tells_a_dataset_that_is_partly_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "imagenet-c" / "noise" / "gaussian_noise" / "3").mkdir(parents=True)
    (tmp_path / "imagenet-c" / "fog" / "1").mkdir(parents=True)
    out = said(capsys, "data", "list", "--data", ".")
    (row,) = (line for line in out.splitlines() if line.startswith("│ imagenet-c "))
    assert "2 of 95" in row


@pytest.mark.parametrize("name", resource_names("data_manifests"))
def test_show_says_everything_that_the_manifest_says(capsys: pytest.CaptureFixture[str], name: str) -> None:
    out = said(capsys, "data", "show", name)
    for field in ("licence", "citation", "conditions", "preprocessing", "archives", "not verified"):
        assert f"│ {field} " in out


def test_show_prints_archives_headline_and_what_is_not_verified_in_full(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flat = " ".join(said(capsys, "data", "show", "imagenet-c").replace("│", " ").split())
    for md5 in ("e80562d7f6c3f8834afb1ecf27252745", "d492dfba5fc162d8ec2c3cd8ee672984"):
        assert md5 in flat
    assert "published mean over gaussian_noise, shot_noise, impulse_noise" in flat
    sketch = " ".join(said(capsys, "data", "show", "imagenet-sketch").replace("│", " ").split())
    assert "50,889 or 50,000" in sketch


def test_images_of_one_s_own_are_described_verified_and_scored_without_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    digit_folders(tmp_path / "scans")
    out = said(capsys, "data", "new", "scans", "--name", "mine", "--label-space", "digits", "--out", "own")
    assert "wrote own/mine.yaml" in out
    assert "mine in" in said(capsys, "data", "verify", "own/mine.yaml", "--data", ".")
    said(capsys, "score", "digits:cnn", "--checkpoint", PLAIN, "--suite", "own/mine.yaml", "--data", ".")
    (path,) = Path("leaderboard/records/mine").glob("*.json")
    record = json.loads(path.read_text())
    assert record["scores"]["error"]["n"] == 30
    assert record["scores"]["error"]["value"] < 0.2
    with_reason = said(
        capsys, "data", "new", "scans", "--name", "mine", "--label-space", "digits", "--out", "own", code=2
    )
    assert "own/mine.yaml; expected no such file yet" in with_reason


def test_verify_ends_with_1_and_names_what_is_wrong(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = digit_folders(tmp_path / "scans")
    said(capsys, "data", "new", "scans", "--name", "mine", "--label-space", "digits")
    damaged = sorted((folder / "4").iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:60])
    assert "is whole" in said(capsys, "data", "verify", "mine.yaml", "--data", ".", "--quick")
    out = said(capsys, "data", "verify", "mine.yaml", "--data", ".", code=1)
    assert f"4/{damaged.name}" in out
    assert "not whole: 1 fault" in out
    damaged.unlink()
    out = said(capsys, "data", "verify", "mine.yaml", "--data", ".", "--quick", code=1)
    assert "29" in out


def test_sums_are_written_for_a_whole_tree_and_find_a_changed_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = digit_folders(tmp_path / "scans")
    said(capsys, "data", "new", "scans", "--name", "mine", "--label-space", "digits")
    verify = ["data", "verify", "mine.yaml", "--data", "."]
    assert "30 sha256 sums in sums.txt" in said(capsys, *verify, "--write-digests", "sums.txt")
    assert "is whole" in said(capsys, *verify, "--quick", "--digests", "sums.txt")
    changed = sorted((folder / "7").iterdir())[0]
    Image.new("RGB", (32, 32)).save(changed)
    out = said(capsys, *verify, "--quick", "--digests", "sums.txt", code=1)
    assert f"7/{changed.name}" in out


def published(folder: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.add(folder, arcname="scans")
    return out.getvalue()


def own_manifest(tmp_path: Path, server: LocalServer, content: bytes, **change: str) -> str:
    digest = hashlib.sha256(content).hexdigest()
    fields = {
        "archives": f"[{{file: scans.tar.gz, sha256: {digest}, address: '{server.address}'}}]",
        "licence": "ask before use",
    } | change
    lines = [
        "name: mine", "version: 1", "title: Mine", "role: clean", "layout: {type: image_folder}",
        "folder: scans", "conditions: [{kind: clean, names: [clean], levels: [0]}]", "label_space: digits",
        "samples: 30", "citation: none",
    ]  # fmt: skip
    lines += [f"{name}: {value}" for name, value in fields.items()]
    (tmp_path / "mine.yaml").write_text("\n".join(lines) + "\n")
    return "mine.yaml"


def test_fetch_says_the_licence_first_and_leaves_a_dataset_that_is_whole(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    content = published(digit_folders(tmp_path / "there"))
    with LocalServer(Answer(content=content)) as server:
        manifest = own_manifest(tmp_path, server, content)
        out = said(capsys, "data", "fetch", manifest, "--data", "root")
        assert out.index("licence: ask before use") < out.index(f"{len(content):,} bytes")
        assert "(checked), 30 files" in out
        assert "is whole" in out
        assert "nothing to fetch" in said(capsys, "data", "fetch", manifest, "--data", "root")
        assert len(server.asked) == 1
    assert (tmp_path / "root" / "scans" / "3").is_dir()


def test_fetch_ends_with_2_where_it_must_be_done_by_hand_and_says_how(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = said(capsys, "data", "fetch", "objectnet", "--data", "root", code=2)
    assert "objectnetisatestset" in out
    assert "cannot be fetched by a command" in out
    assert not Path("root").exists()


def test_fetch_ends_with_1_when_what_came_is_not_the_whole_dataset(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    content = published(digit_folders(tmp_path / "there", n=2))
    with LocalServer(Answer(content=content)) as server:
        out = said(capsys, "data", "fetch", own_manifest(tmp_path, server, content), "--data", "root", code=1)
    assert "not whole" in out


def test_generated_images_go_to_disk_and_are_scored_from_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = said(capsys, "data", "make", "digits-p", "--out", "made/clips", "--workers", "1")
    assert "made/digits-p-files.yaml" in out
    assert "is whole" in said(capsys, "data", "verify", "made/digits-p-files.yaml", "--data", "made")
    score = ["score", "digits:cnn", "--checkpoint", PLAIN, "--limit", "40", "--batch-size", "64"]
    said(capsys, *score, "--suite", "made/digits-p-files.yaml", "--data", "made")
    said(capsys, *score, "--suite", "digits-p")
    values = [
        json.loads(path.read_text())["scores"]["flip_rate"]["value"]
        for path in sorted(Path("leaderboard/records").rglob("*.json"))
    ]
    assert len(values) == 2
    assert values[0] == values[1]


def scans_to_corrupt(folder: Path) -> str:
    """Write manifests of thirty scans below ``published/val``, and of a set made of them; return that."""
    digit_folders(folder / "published" / "val")
    common = "version: 1\ntitle: T\nlabel_space: digits\nsamples: 30\nlicence: own\ncitation: own\n"
    (folder / "scans.yaml").write_text(
        f"name: scans\nrole: clean\n{common}layout: {{type: image_folder, path: val}}\nfolder: scans\n"
        "conditions: [{kind: clean, names: [clean], levels: [0]}]\n"
    )
    (folder / "mine.yaml").write_text(
        f"name: mine\nrole: corruption\n{common}layout: {{type: generated, source: scans, variant: tiny}}\n"
        "conditions: [{kind: corruption, names: [contrast, saturate], levels: [1]}]\n"
    )
    return "mine.yaml"


@pytest.mark.parametrize(
    "source", ["published", "published/val", "published/val/", "published/val/../val", "absolute"]
)
def test_clean_images_are_taken_from_the_published_folder_or_from_the_one_above(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, source: str
) -> None:
    mine = scans_to_corrupt(tmp_path)
    source = str(tmp_path / "published" / "val") if source == "absolute" else source
    said(capsys, "data", "make", mine, "--from", source, "--name", "contrast", "--out", "made")
    assert len(list((tmp_path / "made").rglob("*.JPEG"))) == 30


def test_advice_on_the_folder_of_clean_images_is_one_sentence_on_that_option(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mine = scans_to_corrupt(tmp_path)
    out = said(capsys, "data", "make", mine, "--from", "published/val/3", "--out", "made", code=2)
    assert out.strip().endswith(
        "; name with --from the folder that holds val; `rbs data show scans` says how to get it"
    )
    assert not Path("made").exists()


def test_conditions_are_made_by_name_one_after_another(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mine = scans_to_corrupt(tmp_path)
    for n, name in enumerate(("saturate", "contrast"), start=1):
        said(capsys, "data", "make", mine, "--from", "published", "--name", name, "--out", "made")
        check = ["--data", ".", "--digests", "made/SHA256SUMS"]
        assert f"({n} condition" in said(capsys, "data", "verify", "mine-files.yaml", *check)


def test_a_manifest_is_never_pointed_to_other_images(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mine = scans_to_corrupt(tmp_path)
    make = ["data", "make", mine, "--from", "published", "--seed"]
    said(capsys, *make, "0", "--out", "one")
    before = Path("mine-files.yaml").read_bytes()
    out = said(capsys, *make, "1", "--out", "two", code=2)
    assert "mine-files.yaml is the manifest of other images; expected OUT one" in out
    assert Path("mine-files.yaml").read_bytes() == before
    assert not Path("two").exists()
    said(capsys, *make, "0", "--out", "one")  # going on is no other folder
    said(capsys, *make, "1", "--out", "two-made/two")  # as advised


@pytest.mark.parametrize("name", ["digits-c", "imagenet-p-generated"])
def test_how_to_get_what_is_made_on_the_fly_is_the_command_that_writes_it(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = " ".join(said(capsys, "data", "show", name).replace("│", " ").split())
    source = {"digits-c": "digits"}.get(name, "imagenet-1k")
    assert f"made on the fly from {source}; `rbs data make {name} --out DIR` writes it to disk" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "imagenet"], "unknown dataset 'imagenet'; expected one like"),
        (["show", "absent.yaml"], "absent.yaml cannot be read"),
        (["show", "cifar-10.yml"], "a manifest whose name ends in .yaml"),
        (["verify", "absent/cifar-10.yaml"], "absent/cifar-10.yaml cannot be read"),
        (["verify", "cifar-10", "--workers", "0"], "--workers"),
        (["verify", "cifar-10", "--data", "absent"], "--data absent; expected a folder"),
        (["new", "absent", "--name", "mine"], "absent"),
        (["new", "scans", "--name", "../mine"], "--name; expected a name like my-images"),
        (["new", "scans", "--name", "Mine"], "found Mine"),
        (["new", "scans", "--name", "cifar-10"], "cifar-10 is the name of a shipped dataset"),
        (["make", "cifar-10", "--out", "x"], "cifar-10 is not made by the package"),
        (["make", "cifar10-c", "--from", "absent", "--out", "x"], "--from absent; expected a folder"),
        (["make", "imagenet-c", "--from", ".", "--out", "x"], "dataset imagenet-1k is not in"),
        (["make", "cifar-10", "--from", ".", "--out", "x"], "made from another's images; found cifar-10"),
        (["make", "digits-c", "--from", ".", "--out", "x"], "the package makes the clean images itself"),
        (["make", "digits-c", "--name", "jpeg", "--out", "x"], "expected one like jpeg_compression"),
        (["make", "digits-c", "--format", "mp4", "--out", "x"], "expected npy or jpeg"),
        (["fetch", "digits"], "the package makes it"),
    ],
)
def test_wrong_input_ends_with_2_and_a_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    digit_folders(tmp_path / "scans", n=1)
    out = said(capsys, "data", *arguments, code=2)
    assert message in out
    assert "Traceback" not in out


def test_a_suite_is_shown_for_every_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "suites", "show", "imagenet-a")
    for cell in ("error_200", "error_1000", "clean_error_200", "drop"):
        assert cell in out
    assert "suite of its own name" in said(capsys, "suites", "list")
