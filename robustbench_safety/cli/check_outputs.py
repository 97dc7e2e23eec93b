"""Where ``rbs check`` writes its report, and in which forms."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import typer

from robustbench_safety.errors import UsageError
from robustbench_safety.files import write_bytes
from robustbench_safety.records import CheckReport
from robustbench_safety.reporting.gate.output import annotations_of, json_of, junit_of, markdown_of

__all__ = ["CheckOutputs"]

#: Standard output, in place of the table.
_SCREEN = Path("-")
_FORMS = {"json": json_of, "junit": junit_of, "markdown": markdown_of, "annotations": annotations_of}


@dataclass(frozen=True, kw_only=True)
class CheckOutputs:
    """A file for each form; None for none, ``-`` for standard output."""

    json: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None
    annotations: Path | None = None

    @property
    def takes_the_screen(self) -> bool:
        """Whether standard output belongs to one form, so that a program can read it.

        Raises:
            UsageError: To several.
        """
        there = [one.name for one in fields(self) if getattr(self, one.name) == _SCREEN]
        if len(there) > 1:
            raise UsageError(
                " and ".join(f"--{name} -" for name in there),
                expected="one form on standard output",
                fix="name files for the others",
            )
        return bool(there)

    def refuse_clash(self, *read: Path | None) -> None:
        """Refuse to write over a file that is read, or two forms into one file.

        Args:
            read: Files that the check reads; None where there is none.

        Raises:
            UsageError: There is such a file.
        """
        taken = {one.resolve() for one in read if one is not None}
        for one in fields(self):
            path: Path | None = getattr(self, one.name)
            if path is None or path == _SCREEN:
                continue
            if path.resolve() in taken:
                raise UsageError(
                    f"--{one.name} {path}", expected="a file of its own", found="one that is used already"
                )
            if path.is_dir():
                raise UsageError(f"--{one.name} {path}", expected="the name of a file", found="a folder")
            if path.suffix == ".parquet" or path.with_suffix(".parquet").exists():
                raise UsageError(
                    f"--{one.name} {path}", expected="a file of its own", found="a record or a companion"
                )
            taken.add(path.resolve())

    def write(self, report: CheckReport) -> None:
        """Write every form that was asked for.

        Raises:
            StorageError: A file cannot be written.
        """
        for name, form in _FORMS.items():
            path: Path | None = getattr(self, name)
            if path == _SCREEN:
                typer.echo(form(report), nl=False)
            elif path is not None:
                write_bytes(path, form(report).encode())
