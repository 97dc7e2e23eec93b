"""`rbs report`: one page that needs nothing else, figures as PNG, and no file where something is wrong."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from robustbench_safety.cli import report as report_module
from robustbench_safety.cli.app import run
from robustbench_safety.files import read_json, write_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.charts.shapes import Cloud, Histogram, Line, Point, Quantity, Scatter
from robustbench_safety.reporting.figures import drawing
from robustbench_safety.reporting.figures.canvas import drawable, png_of, style
from robustbench_safety.reporting.figures.drawing import figures_of
from robustbench_safety.reporting.figures.of_field import scatter_figure
from robustbench_safety.reporting.figures.of_record import histogram_figure
from robustbench_safety.reporting.filing import file_of
from robustbench_safety.reporting.pages.model_page import shelf_of
from robustbench_safety.reporting.rows import boards
from tests.golden.make import RECORD
from tests.reporting.pages.page_checks import check_page

LEADERBOARD = Path(__file__).parents[2] / "leaderboard"
HOSTILE = "</title><script>alert(1)</script> $\\frac{1}{0}$ =1+1 [b] 日本 \x1b[31m" + "w" * 5000


def record_at(suite: str, slug: str) -> Path:
    (path,) = (LEADERBOARD / "records" / suite).glob(f"{slug}--*.json")
    return path


@pytest.fixture(scope="module")
def figures() -> dict[str, bytes]:
    """The figures of a record whose name is hostile, among the rows of its suite."""
    board = next(one for one in boards(LEADERBOARD) if one.suite.name == "digits-safety")
    shelf, row = shelf_of(board), board.rows[0]
    record = file_of(row.path).record.model_copy(update={"display_name": HOSTILE})
    return figures_of(record, row, shelf.field, shelf.suite)


@pytest.fixture
def free(tmp_path: Path) -> Path:
    """A small record that lies in no leaderboard."""
    path = tmp_path / "free.json"
    shutil.copy(record_at("cifar10-clean", "cifar-resnet20"), path)
    return path


def pixels(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.01)
        assert set(image.info) == {"dpi"}  # no date, no version
        return np.asarray(image.convert("RGB"))


def test_every_figure_is_a_picture_that_is_not_blank(figures: dict[str, bytes]) -> None:
    assert set(figures) == {
        "heat_map_c_error.png", "reliability_clean_rms.png", "risk_coverage_clean_rms.png",
        "ood_scores_msp.png", "profile.png", "shift_corruptions.png", "pareto.png",
    }  # fmt: skip
    for content in figures.values():
        drawn = pixels(content)
        assert min(drawn.shape[:2]) >= 500
        assert 0.005 < (drawn != 255).any(axis=2).mean() < 0.9
        assert len({tuple(one) for one in drawn[::5, ::5].reshape(-1, 3).tolist()}) > 20
        # Nothing is cut off: the outermost pixels are paper.
        assert (drawn[0] == 255).all()
        assert (drawn[-1] == 255).all()
        assert (drawn[:, -1] == 255).all()


def test_a_name_in_a_figure_is_text_of_some_length() -> None:
    assert drawable("a $x_1$ \\frac") == "a $x_1$ \\frac"
    assert drawable("日本\x1b[31m") == "□□ [31m"
    assert len(drawable("w" * 5000)) == 48


def scatter(x: float) -> Scatter:
    accuracy = Quantity(title="accuracy", unit="fraction", direction="higher")
    points = tuple(Point(name=str(i), x=0.4 + i / 50, y=0.2 + i / 60, front=i == 3) for i in range(20))
    curve = tuple((p, p * 0.8, p * 0.75, p * 0.85) for p in (0.3, 0.5, 0.7, 0.9))
    return Scatter(
        cell="r", x=accuracy, y=accuracy, stretch="probit", field=Cloud(points=points),
        own=Point(name="$a$", x=x, y=0.4), line=Line(curve=curve, n_models=4), above="So far above.",
    )  # fmt: skip


def test_the_same_numbers_make_the_same_bytes_and_others_other_ones() -> None:
    def drawn(shape: Scatter) -> bytes:
        with style():
            return png_of(scatter_figure(shape, "a name"))

    first = drawn(scatter(0.6))
    assert drawn(scatter(0.6)) == first
    assert drawn(scatter(0.7)) != first
    assert drawn(replace(scatter(0.6), line=None)) != first
    pixels(first)


def test_scores_that_are_all_equal_have_a_figure_too() -> None:
    equal = Histogram(
        cell="x", dataset="blobs", detector="msp", low=-1, high=-1, inside=(5, 0), outside=(5, 0), auroc=0.5
    )
    with style():
        pixels(png_of(histogram_figure([equal], "a name")))


def test_no_figure_goes_by_the_global_state_of_pyplot() -> None:
    for path in Path(drawing.__file__).parent.glob("*.py"):
        assert "pyplot" not in path.read_text(encoding="utf-8")


def test_what_the_user_has_set_up_for_matplotlib_is_left_as_it_is() -> None:
    before = dict(matplotlib.rcParams)
    with style():
        assert matplotlib.rcParams["text.parse_math"] is False
    assert dict(matplotlib.rcParams) == before


def test_the_page_and_the_figures_lie_where_it_is_said(
    free: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "mine.html"
    assert run(["report", str(free), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert str(out) in said
    assert "mine_figures (2 PNG)" in said
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["mine.html", "mine_figures"]
    assert sorted(path.name for path in (tmp_path / "new" / "mine_figures").iterdir()) == [
        "reliability_rms.png",
        "risk_coverage_rms.png",
    ]
    first = out.read_bytes()
    page = check_page(first.decode())
    assert not page.attributes("link") or all(
        attributes["href"].startswith("data:") for attributes in page.attributes("link")
    )
    assert not [attributes for attributes in page.attributes("script") if "src" in attributes]
    assert "no leaderboard was named, and the record lies in none." in page.text
    assert len(page.attributes("svg")) == 2
    assert run(["report", str(free), "-o", str(out), "--png", str(tmp_path / "png")]) == 0
    assert out.read_bytes() == first
    assert len(list((tmp_path / "png").iterdir())) == 2


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "find_spec", lambda name: None)


@pytest.mark.usefixtures("no_matplotlib")
def test_without_matplotlib_the_page_is_written_and_the_extra_named(
    free: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    assert run(["report", str(free), "--out", str(out)]) == 0
    assert "robustbench-safety[plots]" in capsys.readouterr().err
    assert out.is_file()
    assert not (tmp_path / "report_figures").exists()
    assert run(["report", str(free), "--out", str(out), "--png", str(tmp_path / "png")]) == 2
    assert "--png needs the extra 'plots'" in capsys.readouterr().err


@pytest.mark.usefixtures("no_matplotlib")
def test_a_record_is_shown_among_the_rows_of_its_leaderboard_or_of_another(
    tmp_path: Path, free: Path
) -> None:
    out, leaderboard = tmp_path / "report.html", tmp_path / "leaderboard"
    filed = leaderboard / "records" / "cifar10-clean"
    filed.mkdir(parents=True)
    for slug in ("cifar-resnet20", "cifar-resnet32"):
        shutil.copy(record_at("cifar10-clean", slug), filed)
    assert run(["report", str(next(filed.glob("cifar-resnet20*"))), "-o", str(out)]) == 0
    assert "rank 1–2 of 2" in check_page(out.read_text(encoding="utf-8")).text
    assert run(["report", str(free), "-o", str(out), "--leaderboard", str(leaderboard)]) == 0
    assert "rank 1–2 of 2" in check_page(out.read_text(encoding="utf-8")).text
    # A record that is not on the leaderboard has a place in the field, and no rank.
    record = read_json(free, ScoreRecord).model_copy(update={"display_name": "a candidate"})
    write_json(free, record)
    assert run(["report", str(free), "-o", str(out), "--leaderboard", str(leaderboard)]) == 0
    text = check_page(out.read_text(encoding="utf-8")).text
    assert "Profile against the field" in text
    assert "rank 1–2 of 2" not in text
    assert "This row is not ranked." in text
    write_json(free, read_json(RECORD, ScoreRecord))
    assert run(["report", str(free), "-o", str(out), "--leaderboard", str(leaderboard)]) == 0
    assert "the leaderboard has no row on golden." in check_page(out.read_text(encoding="utf-8")).text


@pytest.mark.usefixtures("no_matplotlib")
def test_a_hostile_name_stays_text_in_the_page(tmp_path: Path, free: Path) -> None:
    write_json(free, read_json(free, ScoreRecord).model_copy(update={"display_name": HOSTILE}))
    out = tmp_path / "report.html"
    assert run(["report", str(free), "-o", str(out)]) == 0
    page = check_page(out.read_text(encoding="utf-8"))
    assert len(page.attributes("script")) == 1
    assert "<script>alert(1)</script>" in page.text


def leaderboard_with_a_changed_record(tmp_path: Path) -> Path:
    source = record_at("cifar10-clean", "cifar-resnet20")
    path = tmp_path / "records" / "cifar10-clean" / source.name
    path.parent.mkdir(parents=True)
    write_json(path, read_json(source, ScoreRecord).model_copy(update={"seed": 7}))
    return path


@pytest.mark.usefixtures("no_matplotlib")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.json"], "nowhere.json cannot be read"),
        (["."], ". is a folder; expected a record"),
        (["text.json"], "text.json is not valid JSON"),
        (["other.json"], "other.json"),
        (["free.json", "-o", "free.json"], "--out free.json is the record itself"),
        (["free.json", "-o", "link.html"], "--out link.html is the record itself"),
        (["free.json", "-o", "folder"], "--out folder is a folder"),
        (["free.json", "-o", "free.parquet"], "expected a name that ends in .html; found .parquet"),
        (["free.json", "-o", "free.json/report.html"], "cannot be written"),
        (["free.json", "--leaderboard", "folder"], "folder is not a leaderboard"),
        (["records/cifar10-clean/*"], "was changed after it was written"),
    ],
)
def test_wrong_input_ends_with_a_sentence_and_no_page(
    arguments: list[str], said: str, free: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    changed = leaderboard_with_a_changed_record(tmp_path)
    (tmp_path / "text.json").write_text("not a record", encoding="utf-8")
    (tmp_path / "other.json").write_text('{"schema_version": 1}', encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.html").hardlink_to(free)
    before = free.read_bytes()
    given = [str(changed) if one.endswith("*") else one for one in arguments]
    assert run(["report", *given]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
    assert free.read_bytes() == before
    assert list(tmp_path.rglob("*.part")) == []


@pytest.mark.usefixtures("no_matplotlib")
def test_no_page_is_put_among_the_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(LEADERBOARD / "records" / "cifar10-clean", tmp_path / "records" / "cifar10-clean")
    path = next((tmp_path / "records" / "cifar10-clean").glob("*.json"))
    assert run(["report", str(path), "-o", str(path.parent / "report.html")]) == 2
    assert "lies among the records" in capsys.readouterr().err


def test_a_folder_of_figures_that_is_a_file_leaves_no_page(
    free: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.html"
    assert run(["report", str(free), "-o", str(out), "--png", str(free)]) == 2
    assert "is a file; expected a folder for the figures" in capsys.readouterr().err
    assert not out.exists()
