"""Run code that is not ours, and say in one line what went wrong in it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from robustbench_safety.errors import ModelError, RobustbenchSafetyError

__all__ = ["describe_failure", "foreign_code"]


@contextmanager
def foreign_code(
    what: str,
    *,
    raising: type[RobustbenchSafetyError] = ModelError,
    expected: str = "",
    fix: str = "",
    show_place: bool = False,
) -> Iterator[None]:
    """Turn whatever the block raises into one clear error.

    The one broad ``except`` outside the command line: a user's own network, or a parser that is fed a hostile
    file, may raise anything at all, and none of it is a defect of this package.

    Args:
        what: What failed, in a few words.
        raising: The error to raise instead.
        expected: What would have been right.
        fix: What the user can do.
        show_place: Whether to say in which file and line it was raised: for code that the user wrote.
    """
    try:
        yield
    except RobustbenchSafetyError:
        raise
    except (Exception, SystemExit) as error:
        raise raising(
            what, expected=expected, found=describe_failure(error, show_place=show_place), fix=fix
        ) from error


def describe_failure(error: BaseException, *, show_place: bool = False) -> str:
    """Return an exception as one line: type, message and, if asked for, the place it was raised at."""
    message = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__) if show_place else []
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    shown = message if len(message) <= 300 else f"{message[:297]}..."
    return f"{type(error).__name__}{': ' if shown else ''}{shown}{place}"
