"""Say what a pull request adds to the leaderboard, and refuse what a submission does not touch.

python .github/submitted_files.py CHANGED CHECKOUT SENDER

CHANGED holds what `git diff --no-renames --name-status -z` prints, CHECKOUT is the tree with the change, and
SENDER is how the sender is associated with the repository. Nothing of the change is run. Returns 1 where
something is refused.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

#: Who keeps the leaderboard: may file rows as verified, and change other files in the same pull request.
KEEPERS = ("OWNER", "MEMBER", "COLLABORATOR")
RECORD = re.compile(r"leaderboard/records/[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*\.(?:json|parquet)")
TABLE = re.compile(r"leaderboard/tables/[a-z0-9][a-z0-9._-]*\.(?:csv|md|parquet)", re.IGNORECASE)
#: Bytes of a record.
LARGEST = 64 * 2**20


def changes(text: str) -> Iterator[tuple[str, str]]:
    """Yield the letter of each change and the path it is of."""
    parts = text.split("\0")
    yield from zip(parts[0:-1:2], parts[1:-1:2], strict=True)


def refusals(letter: str, path: str, *, keeper: bool) -> Iterator[str]:
    """Yield why a change has no place in a submission."""
    if path.startswith("leaderboard/records/"):
        if letter != "A":
            yield "a filed record is never changed: a correction is a new record"
        elif not RECORD.fullmatch(path):
            yield "is neither a record nor its companion: leaderboard/records/SUITE/NAME.json or .parquet"
    elif not TABLE.fullmatch(path) and not keeper:
        yield "a submission adds records and rebuilds tables, and nothing else"


def described(path: Path, *, keeper: bool) -> tuple[str, str | None]:
    """Return what a record says of itself, and why it is refused; `rbs leaderboard verify` does the rest."""
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST:
            return "", "is a link, or too large for a record"
        record = json.loads(path.read_bytes())
        kind = record["verification"]["kind"]
        told = f"{record['display_name']!r} on {record['suite']['name']!r}, {kind!r}"
        if record.get("supersedes"):
            told += f", in the place of {record['supersedes'][:8]!r}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return "", f"is no record: {type(error).__name__}"
    if kind != "self-reported" and not keeper:
        return told, "says more than its sender can: file it with `rbs leaderboard add`, as self-reported"
    return told, None


def main(changed: str, checkout: str, sender: str) -> int:
    """Print a line for each change; return 1 where one is refused."""
    keeper, refused = sender in KEEPERS, 0
    for letter, path in changes(Path(changed).read_text(encoding="utf-8", errors="backslashreplace")):
        why = list(refusals(letter, path, keeper=keeper))
        told = ""
        if letter == "A" and path.endswith(".json") and RECORD.fullmatch(path):
            told, more = described(Path(checkout) / path, keeper=keeper)
            why += [more] if more else []
        refused += len(why)
        # As ASCII: a name with a line feed could begin a line that the runner takes for a command.
        for line in (f"{letter} {path} {told}", *(f"  refused: {one}" for one in why)):
            sys.stdout.write(ascii(line)[1:-1] + "\n")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
