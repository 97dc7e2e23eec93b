"""Where the files of a condition lie below the dataset's folder, and what is said when they do not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from robustbench_safety.data.base import Place
from robustbench_safety.errors import DataError
from robustbench_safety.files import reads
from robustbench_safety.records import expanded

__all__ = ["below", "globbed", "located"]

#: Neighbours named where a path is missing.
_SHOWN = 5


def below(place: Place, template: str) -> Path:
    """Return the path that a template stands for; it need not exist."""
    return place.folder / expanded(template, place.condition.name, place.condition.level)


def located(place: Place, template: str, groups: Mapping[str, Sequence[str]] | None = None) -> Path:
    """Return the path that a template stands for, also where it lies below one of the optional ``groups``.

    Raises:
        DataError: It is in neither place; what stands there instead is named.
    """
    condition = place.condition
    relative = expanded(template, condition.name, condition.level)
    tried = [relative]
    tried += [f"{group}/{relative}" for group, names in (groups or {}).items() if condition.name in names]
    for path in tried:
        with reads(place.folder / path):
            if (place.folder / path).exists():
                return place.folder / path
    what = (
        f"{condition.name} of "
        if condition.level == 0
        else f"{condition.name} at level {condition.level} of "
    )
    raise DataError(
        f"{'' if condition.name == 'clean' else what}dataset {place.manifest.name} is not in {place.folder}",
        expected=" or ".join(tried),
        found=_what_is_there(place.folder, tried[0]),
        fix="give the folder its published name, or unpack the archive that holds it",
    )


def globbed(place: Place, pattern: str) -> list[Path]:
    """Return the files that match, in the order of their names.

    Raises:
        DataError: None does.
    """
    with reads(place.folder):
        # A Mac leaves ._ files behind.
        seen = (path for path in place.folder.glob(pattern) if not path.name.startswith("."))
        found = sorted(path for path in seen if path.is_file())
    if not found:
        raise DataError(
            f"{place.manifest.name} is not in {place.folder}",
            expected=f"files like {pattern}",
            found=_what_is_there(place.folder, pattern),
            fix="unpack the published archive again",
        )
    return found


def _what_is_there(folder: Path, relative: str) -> str:
    """Name what stands where the first missing part of a path should be, the most alike first."""
    at = folder
    for part in Path(relative).parts:
        if (at / part).exists():
            at = at / part
            continue
        if not at.is_dir():
            return f"no folder {at}"
        names = sorted(entry.name for entry in at.iterdir() if not entry.name.startswith("."))
        near = difflib.get_close_matches(part, names, n=_SHOWN, cutoff=0.4) or names[:_SHOWN]
        more = f" and {len(names) - len(near)} more" if len(names) > len(near) else ""
        where = "there" if at == folder else f"in {at}"
        return f"no {part} {where}, but {', '.join(near)}{more}" if near else f"nothing {where}"
    return f"{at}, which is something else"
