"""The safety suites at work: what the commands say of them, and a network scored on one."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.cli.app import run
from robustbench_safety.data import DataRoot, load_manifest
from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.files import resource_names
from robustbench_safety.suites import load_suite
from tests.long_checks import LONG

FIVE = ("corruptions", "consistency", "adversaries", "calibration", "anomaly")


@pytest.mark.parametrize("name", resource_names("suites"))
def test_a_suite_is_shown_with_its_sentence_columns_and_all_of_its_cells(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = load_suite(name)
    assert run(["suites", "show", name]) == 0
    out = capsys.readouterr().out
    assert f"{name}, version {suite.version}" in out
    assert f"columns  {', '.join(suite.columns)}\n" in out
    assert not suite.beside or f"beside   {', '.join(suite.beside)}\n" in out
    for cell in suite.cells:
        assert cell.id in out
    assert ("temperature=" in "".join(out.split())) == any(cell.temperature for cell in suite.cells)


def test_the_page_for_users_names_every_suite_and_every_column() -> None:
    page = (Path(__file__).parents[2] / "docs" / "suites.md").read_text()
    for name in resource_names("suites"):
        suite = load_suite(name)
        for one in (name, *suite.columns, *suite.beside):
            assert f"`{one}`" in page, (name, one)


@pytest.mark.realdata
def test_with_cifar_10_alone_the_whole_list_of_what_is_missing_is_told_before_any_image(
    shared: Path, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    (root / "cifar-10-batches-py").symlink_to(real_data / "cifar-10-batches-py")
    checkpoint = shared / "data" / "checkpoints" / "resnet20-12fca82f.th"
    arguments = ["score", "cifar:resnet20", "--checkpoint", str(checkpoint), "--suite", "cifar10-safety"]
    assert run([*arguments, "--data", str(root), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "suite cifar10-safety lacks data of 6 datasets" in said
    for name, how in (
        ("cifar-10-c", "`rbs data fetch cifar-10-c`"),
        ("cifar-10-p", "`rbs data fetch cifar-10-p`"),
        ("textures", "`rbs data fetch textures`"),
        ("svhn", "by hand, as `rbs data show svhn` says"),
        ("lsun", "by hand, as `rbs data show lsun` says"),
        ("places69", "by hand, as `rbs data show places69` says"),
    ):
        assert f"{name}: {how}" in said
    assert "--skip-missing" in said
    assert not Path("predictions").exists()


# --------------------------------------------------------------------------------------------- end to end

#: Of 8 images all but calibration is defined; 100 (RBS_LONG=1) fill the five columns.
LIMIT = 100 if LONG else 8


@pytest.fixture(scope="module")
def generated(shared: Path, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A published network on the suite for those who have CIFAR-10 and the frost textures alone."""
    textures = shared / "data" / "samples" / "frost"
    return score(
        "cifar:resnet20", suite="cifar10-safety-generated",
        checkpoint=shared / "data" / "checkpoints" / "resnet20-12fca82f.th",
        data=DataRoot(root=real_data, folders={"frost-textures": textures}),
        predictions=tmp_path_factory.mktemp("run"), batch_size=64, device="cpu", limit=LIMIT)  # fmt: skip


@pytest.mark.realdata
def test_cifar_10_alone_fills_the_columns(generated: Evaluation) -> None:
    record = generated.record
    for column in FIVE:
        found = record.scores[column]
        if column == "calibration" and not LONG:
            assert found.value is None
            assert "too few images to bin; expected at least 100; found 8" in str(found.reason)
            continue
        assert found.value is not None, found.reason
        assert found.interval is not None
        assert found.interval.low <= found.value <= found.interval.high
        assert 0 < found.value <= 1
    assert record.scores["worst_corruption"].worst in load_manifest("cifar-10-c-generated").headline
    assert record.kind == "partial"
    assert {name for name, found in record.scores.items() if found.value is None} == (
        {"c_rms_hendrycks", "clean_rms_hendrycks", "clean_mad_hendrycks"} if LONG
        else {name for name in record.scores if name.endswith(("rms", "mad", "hendrycks", "_scaled"))}
        | {"calibration"}
    )  # fmt: skip


@pytest.mark.realdata
def test_every_image_is_predicted_once_for_all_columns(generated: Evaluation) -> None:
    # A source image is shown clean; in 15 x 5 corruptions; in 11 sequences, nine of 31 frames, motion blur of
    # 21 and translate of 16; in 20 steps of PGD and once more; and there are three sets of noise.
    each = 1 + 75 + (9 * 31 + 21 + 16) + 21 + 3
    assert each == 416
    assert generated.record.forward_passes == each * LIMIT
