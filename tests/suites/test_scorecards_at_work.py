"""The safety suites at work: what the commands and the page for users say of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustbench_safety.cli.app import run
from robustbench_safety.files import resource_names
from robustbench_safety.suites import load_suite


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
