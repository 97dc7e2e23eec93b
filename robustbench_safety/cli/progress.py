"""Progress on the terminal: a bar with images/s and time left, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from robustbench_safety.engines.local import Progress

__all__ = ["shown_progress"]

#: Seconds between two lines where there is no terminal.
_EVERY = 5.0


class _Rate(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} images/s")


class _Bar:
    """On a terminal."""

    def __init__(self, bar: RichProgress, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(title, total=None)
        self._title = title

    def begin(self, images: int) -> None:
        self._bar.update(self._task, total=images)

    def condition(self, name: str) -> None:
        self._bar.update(self._task, description=f"{self._title} {name}")

    def advance(self, images: int) -> None:
        self._bar.advance(self._task, images)

    def say(self, message: str) -> None:
        self._bar.console.print(message, markup=False, soft_wrap=True)


class _Lines:
    """In a log."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._done = self._total = 0
        self._name = ""
        self._started = self._said = time.monotonic()

    def begin(self, images: int) -> None:
        self._total = images
        self._started = self._said = time.monotonic()
        self._console.print(f"{self._title}: {images:,} images", highlight=False, markup=False)

    def condition(self, name: str) -> None:
        self._name = name

    def say(self, message: str) -> None:
        self._console.print(f"{self._title}: {message}", highlight=False, markup=False, soft_wrap=True)

    def advance(self, images: int) -> None:
        self._done += images
        now = time.monotonic()
        if now - self._said < _EVERY and self._done < self._total:
            return
        self._said = now
        rate = self._done / max(now - self._started, 1e-9)
        left = (self._total - self._done) / max(rate, 1e-9)
        self._console.print(
            f"{self._title}: {self._done:,} of {self._total:,} images, {rate:,.0f} images/s, "
            f"{left:.0f} s left ({self._name})",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


@contextmanager
def shown_progress(console: Console, title: str) -> Iterator[Progress]:
    """Give a progress that the console shows while the block runs."""
    if not console.is_terminal:
        yield _Lines(console, title)
        return
    # Names are text, never markup.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console) as bar:
        yield _Bar(bar, title)
