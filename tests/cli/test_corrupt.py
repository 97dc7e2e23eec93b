"""``rbs corrupt``: the contact sheet of a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from robustbench_safety import corruptions
from robustbench_safety.cli.app import run
from robustbench_safety.cli.corrupt import contact_sheet
from robustbench_safety.data.source_sizes import sized


@pytest.fixture
def photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """A photograph in photograph.png of the current folder, where no data are at hand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RBS_DATA", str(tmp_path / "absent"))
    pixels = np.asarray(load_sample_images().images[0], dtype=np.uint8)
    Image.fromarray(pixels).save("photograph.png")
    return pixels


def test_the_sheet_holds_the_clean_picture_and_five_severities_in_every_row(
    photograph: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["contrast", "shot_noise"]
    arguments = [part for name in names for part in ("--name", name)]
    code = run(["corrupt", "photograph.png", "--out", "sheet.png", "--variant", "tiny", *arguments])
    assert code == 0
    assert "wrote sheet.png: 2 corruptions, variant tiny, seed 0" in capsys.readouterr().out
    sheet = np.asarray(Image.open("sheet.png"))
    clean = sized(photograph, "tiny")
    margin, top, step = sheet.shape[1] - 6 * 134, sheet.shape[0] - 2 * 134, 134  # 64 px twice as large
    for row, name in enumerate(names):
        for column in range(6):
            y, x = top + row * step, margin + column * step
            shown = sheet[y : y + 128 : 2, x : x + 128 : 2]
            expected = clean
            if column:
                expected = corruptions.corrupt(clean[None], name, column, variant="tiny")[0]
            assert np.array_equal(shown, expected), (name, column)


def test_a_label_stands_left_of_every_row_and_over_every_column() -> None:
    grey = np.full((96, 96, 3), 128, dtype=np.uint8)
    sheet = contact_sheet({"a_b": [grey, grey], "c": [grey, grey]}, ["one", "two"])
    margin, top, step = sheet.shape[1] - 2 * 102, sheet.shape[0] - 2 * 102, 102
    for row in range(2):
        assert (sheet[top + row * step : top + row * step + 96, :margin] < 100).any()
    for column in range(2):
        assert (sheet[:top, margin + column * step : margin + column * step + 96] < 100).any()
    assert (sheet[:top, :margin] == 255).all()


def test_a_sheet_of_all_goes_without_what_lacks_its_data_and_says_how_to_get_them(
    photograph: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["corrupt", "photograph.png", "--out", "sheet.jpg", "--variant", "cifar"]) == 0
    said = capsys.readouterr()
    assert "left out: frost" in said.err
    assert "rbs data fetch frost-textures" in said.err
    assert f"{len(corruptions.corruption_names('cifar')) - 1} corruptions" in said.out
    with Image.open("sheet.jpg") as sheet:
        assert sheet.format == "JPEG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photograph.png", "--out", "sheet.gif"], "--out sheet.gif; expected a name that ends in .png"),
        (["photograph.png", "--out", "s.png", "--name", "contrst"], "unknown corruption 'contrst'"),
        (["photograph.png", "--out", "s.png", "--name", "jpeg"], "expected one like jpeg_compression"),
        (
            ["photograph.png", "--out", "s.png", "--variant", "imagenet", "--name", "ripple"],
            "corruption 'ripple' is not made at this size; expected variant cifar, which has it",
        ),
        (
            ["photograph.png", "--out", "s.png", "--variant", "imagnet"],
            "unknown corruption variant 'imagnet'",
        ),
        (["photograph.png", "--out", "s.png", "--name", "frost"], "rbs data fetch frost-textures"),
        (["absent.png", "--out", "s.png"], "absent.png cannot be read"),
        (["words.png", "--out", "s.png"], "words.png cannot be decoded"),
    ],
)
def test_wrong_input_ends_with_a_sentence_and_no_sheet(
    photograph: NDArray[np.uint8],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    Path("words.png").write_text("words")
    assert run(["corrupt", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not Path("s.png").exists()


def test_the_photograph_is_never_written_over(
    photograph: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("photograph.png").read_bytes()
    assert run(["corrupt", "photograph.png", "--out", "./photograph.png", "--name", "contrast"]) == 2
    assert "expected another file than the photograph" in capsys.readouterr().err
    assert Path("photograph.png").read_bytes() == before


def test_advice_on_a_photograph_is_not_that_on_a_dataset(
    photograph: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(photograph[..., 0].astype(np.uint16) * 257).save("deep.png")
    assert run(["corrupt", "deep.png", "--out", "sheet.png"]) == 2
    told = capsys.readouterr().err
    assert "8 bits a channel; found mode I;16; give a JPEG" in told.replace("\n", " ")
    assert "archive" not in told


@pytest.mark.usefixtures("photograph")
def test_one_of_c_bar_is_shown_when_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--variant", "cifar", "--name", "checkerboard_cutout"]
    assert run(["corrupt", "photograph.png", "--out", "sheet.png", *arguments]) == 0
    assert "wrote sheet.png: 1 corruption, variant cifar" in capsys.readouterr().out
