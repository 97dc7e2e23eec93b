"""One page, run from its first block to its last in a folder of its own, as a reader would."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from robustbench_safety.cli.app import run
from robustbench_safety.reporting.leaderboard import build_tables
from tests.docs.command_lines import check_command, is_rbs, words
from tests.docs.pages import REPOSITORY, Block, blocks
from tests.docs.python_names import check_python
from tests.long_checks import LONG

#: Tables of the package that a page may add to while it is read.
_TABLES = (
    ("robustbench_safety.measures", "METRICS"),
    ("robustbench_safety.detection_measures", "DETECTION_METRICS"),
    ("robustbench_safety.detectors", "DETECTORS"),
    ("robustbench_safety.models.families", "FAMILIES"),
)


class PageRun:
    """Runs the blocks of a page one after another; what one leaves behind the next one finds."""

    def __init__(self, page: str, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.names: dict[str, object] = {"__name__": "__main__"}
        self.written: set[str] = set()
        self.said = ""
        (folder / ".venv").symlink_to(sys.prefix)

    def run(self) -> None:
        """Run everything; the first block that fails ends it."""
        for block in blocks(self.page):
            where = f"{self.page}, line {block.line}"
            assert block.fault is None, f"{where}: {block.fault}"
            try:
                self._run_block(block)
            except Exception as error:
                raise AssertionError(f"{where}: {error!r}\n{block.text}") from error

    def _run_block(self, block: Block) -> None:
        if block.file is not None:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            self.written.add(block.file)
            if path.suffix == ".py":
                importlib.invalidate_caches()
                compile(block.text, block.file, "exec")
        elif block.language == "sh":
            self.said = "".join(self._command(command, block) for command in block.commands)
        elif block.language in ("python", "pycon"):
            self._python(block)
        elif block.language == "yaml":
            yaml.safe_load(block.text)
        elif block.title == "prints":
            self._compare(block.text)

    def _command(self, command: str, block: Block) -> str:
        """Run or read one command; return what it printed."""
        if command.startswith("make "):
            _check_target(command)
            return ""
        expected = block.exit_code if command == block.commands[-1] else 0
        if is_rbs(command):
            if not block.is_run:
                check_command(command, self.folder, written=self.written)
                return ""
            arguments = words(command, self.folder)[1:]
            if arguments[0] == "demo" and self.page != DEMO_PAGE and not LONG:
                return file_demo(self.folder / (arguments[2] if len(arguments) > 1 else "rbs-demo"))
            said, errors = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
                code = run(arguments)
            assert code == expected, f"{command} ended with {code}: {errors.getvalue()}"
            return said.getvalue()
        if stand_in := STAND_INS.get(command.partition(" #")[0].strip()):
            return stand_in(self.folder)
        assert block.is_run, f"{command} is not one of ours: run it, or leave it out"
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expected, f"{command} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    def _python(self, block: Block) -> None:
        name = f"{self.page}:{block.line}"
        if not block.is_run:
            check_python(block.text, name)
            return
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            if block.language == "pycon":
                self._session(block, name)
            else:
                exec(compile(block.text, name, "exec"), self.names)  # noqa: S102  # the page's own code
        self.said = said.getvalue()

    def _session(self, block: Block, name: str) -> None:
        test = doctest.DocTestParser().get_doctest(block.text, self.names, name, self.page, block.line - 1)
        found: list[str] = []
        doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(
            test, out=found.append, clear_globs=False
        )
        assert not found, "".join(found)
        self.names.update(test.globs)

    def _compare(self, shown: str) -> None:
        """Fail unless every line that the page shows was printed; ``...`` stands for lines left out."""
        printed = [_plain(line) for line in self.said.splitlines()]
        for line in shown.splitlines():
            if _plain(line) not in ("", "..."):
                assert _plain(line) in printed, f"not printed: {line}\nprinted: {self.said}"


def _plain(line: str) -> str:
    """Return a line without the frames of tables and with one blank between words."""
    return " ".join(line.translate({ord(c): " " for c in "│┃"}).split())


def _check_target(command: str) -> None:
    """Make's targets install, and test everything: that they exist is all that can be said here."""
    target = command.split()[1]
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert f"\n{target}:" in text, f"the Makefile has no target {target}"


def install_package(folder: Path) -> str:
    """Build the package of a folder with its own backend and let this process find it, as an installer would.

    The environment of the tests stays as it is, and no index is asked for the backend.
    """
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    sys.path.insert(0, str(folder / "installed"))
    importlib.invalidate_caches()
    return ""


def file_demo(out: Path) -> str:
    """Put into a folder what `rbs demo` files there: its records, as they are committed, and their tables.

    One page runs it on a few images; the numbers that others speak of are those of all images.
    """
    leaderboard = out / "leaderboard"
    shutil.copytree(REPOSITORY / "leaderboard/records/digits-safety", leaderboard / "records/digits-safety")
    build_tables(leaderboard)
    return ""


#: The page that runs `rbs demo` itself.
DEMO_PAGE = "docs/quickstart.md"

#: Commands that would change the environment or ask an index, and what is done in their place.
STAND_INS: dict[str, Callable[[Path], str]] = {"pip install .": install_package}


@contextlib.contextmanager
def nothing_left_behind(folder: Path) -> Iterator[None]:
    """Undo what a page does to the process: tables, imported modules, the search path, the current folder."""
    tables = [getattr(importlib.import_module(module), name) for module, name in _TABLES]
    kept = [dict(table) for table in tables]
    path, modules, before = list(sys.path), set(sys.modules), Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))  # as Python does for a script there
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]
        for table, was in zip(tables, kept, strict=True):
            table.clear()
            table.update(was)


def supply(page: str, folder: Path) -> None:
    """Put into a page's folder what its reader has at hand: these pages speak of a clone."""
    if page in ("README.md", "docs/leaderboard.md"):
        shutil.copytree(REPOSITORY / "leaderboard", folder / "leaderboard")
