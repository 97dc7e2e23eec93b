"""Every block of code in the documentation: run from top to bottom, or, where its data are not at hand, read.

``make demo`` and ``make test`` are not run here: the first is what ``rbs demo`` runs below, behind an
installation of several minutes, and the second is what runs this file.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from robustbench_safety.evaluation import score
from tests.docs import pages
from tests.docs.command_lines import check_command, check_mention
from tests.docs.page_runs import PageRun, nothing_left_behind, supply
from tests.docs.pages import PAGES, blocks, inline_commands
from tests.long_checks import LONG

#: Images of each dataset in `rbs demo`, which has no such option: all of them take a minute or two.
_DEMO_IMAGES = 6


@pytest.fixture(autouse=True)
def _a_short_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    if not LONG:
        short = functools.partial(score, limit=_DEMO_IMAGES)
        monkeypatch.setattr("robustbench_safety.cli.commands.score", short)


@pytest.mark.timeout(1800 if LONG else 300)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_every_block_of_the_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    supply(page, tmp_path)
    with nothing_left_behind(tmp_path):
        PageRun(page, tmp_path).run()


@pytest.mark.parametrize("page", PAGES)
def test_no_command_stands_in_an_indented_block_that_would_not_be_run(page: str) -> None:
    text = (pages.REPOSITORY / page).read_text(encoding="utf-8")
    for block in blocks(page):
        text = text.replace(block.text, "")
    starts = ("    rbs ", "    .venv/bin/", "    make ")
    assert not [line for line in text.splitlines() if line.startswith(starts)]


@pytest.mark.parametrize("page", [page for page in PAGES if inline_commands(page)])
def test_every_command_within_a_sentence_exists(page: str) -> None:
    for command in inline_commands(page):
        check_mention(command)


# ------------------------------------------------------------------------ whether these tests can fail at all


def failure(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return how a page fails."""
    monkeypatch.setattr(pages, "REPOSITORY", folder)
    (folder / "page.md").write_text(text)
    (folder / "work").mkdir()
    with nothing_left_behind(folder / "work"), pytest.raises(AssertionError) as caught:
        PageRun("page.md", folder / "work").run()
    return str(caught.value)


NEEDS_DATA = 'sh title="needs data"'
NEEDS_DATA_IN_PYTHON = 'python title="needs data"'


@pytest.mark.parametrize(
    ("language", "code", "message"),
    [
        ("sh", "rbs score digits:cnn --suite no-such-suite", "unknown suite"),
        ("sh", "rbs score cifar:resnet20 --checkpoint F --suite cifar10-clean", "ended with 2"),
        ("sh", "false", "page.md, line 2"),
        ("sh", "make coffee", "no target coffee"),
        (NEEDS_DATA, "rbs score timm:resnet50 --suit imagenet-a", "--suit"),
        (NEEDS_DATA, "rbs score timm:resnet50 --suite imagenet-b", "there is no imagenet-b"),
        (NEEDS_DATA, "rbs score timm:resnet51 --suite imagenet-a", "has no resnet51"),
        (NEEDS_DATA, "rbs score tinm:resnet50 --suite imagenet-a", "no family tinm"),
        (NEEDS_DATA, "rbs score mine --suite imagenet-a", "neither family:name nor a model file"),
        (NEEDS_DATA, "rbs data show imagenet-b", "there is no imagenet-b"),
        (NEEDS_DATA, "rbs data get imagenet-a", "there is no command get"),
        (NEEDS_DATA, "rm -r data", "not one of ours"),
        ('sh title="not run"', "rbs demo", "no block may be called 'not run'"),
        ("console", "rbs demo", "this is console"),
        ("", "rbs demo", "this is none"),
        ("python", "import robustbench_safety as rbs\nrbs.scores", "no attribute"),
        (NEEDS_DATA_IN_PYTHON, "if", "SyntaxError"),
        (NEEDS_DATA_IN_PYTHON, "rbs.scores(1)", "rbs has no scores"),
        (NEEDS_DATA_IN_PYTHON, "rbs.score(1, suit=2)", "rbs.score has no suit"),
        (NEEDS_DATA_IN_PYTHON, "from robustbench_safety.metrics import auc", "has no auc"),
        ("pycon", ">>> 1 + 1\n3", "Expected:"),
        ("yaml", "a: [1", "expected ',' or ']'"),
        ("sh", 'echo one\n```\n\n```text title="prints"\ntwo', "not printed: two"),
        ("text", "without an end\n~~~", "has no end"),
    ],
)
def test_a_page_with_a_fault_fails(
    language: str, code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = "" if code.endswith("~~~") else "```\n"
    assert message in failure(f"```{language}\n{code}\n{end}", tmp_path, monkeypatch)


@pytest.mark.parametrize("command", ["rbs scores", "rbs score --limits 3", "rbs leaderboard build|check"])
def test_a_sentence_with_a_command_that_there_is_not_fails(command: str) -> None:
    with pytest.raises(AssertionError, match="there is no"):
        check_mention(command)


def test_a_marked_command_with_a_file_of_the_page_is_read(tmp_path: Path) -> None:
    check_command("rbs score mine.yaml --suite own.yaml", tmp_path, written={"own.yaml"})
    with pytest.raises(AssertionError, match=r"no block of the page writes own\.yaml"):
        check_command("rbs score mine.yaml --suite own.yaml", tmp_path, written=())
