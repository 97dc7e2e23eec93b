"""How long a leaderboard of many records takes: ``python -m benchmarks.leaderboard [--records N]``.

The records are those that are filed here, again and again under other names and with scores a little changed,
so that rows have an order; their digests hold. Timed are the tables and the site, each in a process of its
own, with the peak of its memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from robustbench_safety.files import digest_of, slugify

COMMITTED = Path(__file__).parent.parent / "leaderboard" / "records"
#: Share of itself by which a score is moved at most.
SPREAD = 0.2

TIMED = {
    "tables": "from robustbench_safety.reporting.leaderboard import build_tables as build",
    "site": "from robustbench_safety.reporting.pages.site import build_site as build",
}


def make(
    folder: Path, n: int, *, suite: str = "cifar10-safety-generated", kinds: Sequence[str] = ()
) -> list[Path]:
    """Write a leaderboard of ``n`` records and return their paths.

    Args:
        folder: The leaderboard.
        n: Records.
        suite: Whose filed records are taken.
        kinds: "verified", "recomputed" or "self-reported", in turn; empty for those that the records have.
    """
    templates = [(path, json.loads(path.read_text())) for path in sorted((COMMITTED / suite).glob("*.json"))]
    paths = []
    for i in range(n):
        path, fields = templates[i % len(templates)]
        paths.append(write(folder, _changed(fields, i, kinds)))
        companion = paths[-1].with_suffix(".parquet")
        companion.unlink(missing_ok=True)
        try:
            os.link(path.with_suffix(".parquet"), companion)
        except OSError:
            shutil.copyfile(path.with_suffix(".parquet"), companion)
    return paths


def write(folder: Path, fields: Mapping[str, object]) -> Path:
    """File the plain fields of a record as ``write_record`` would: the file is named by their digest."""
    digested = json.loads(json.dumps(fields))
    del digested["timings"], digested["verification"]["at"]
    name = f"{digested['slug']}--{digest_of(digested)[:8]}.json"
    path = folder / "records" / str(digested["suite"]["name"]) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields, sort_keys=True, indent=1, ensure_ascii=False) + "\n")
    return path


def _changed(fields: Mapping[str, object], i: int, kinds: Sequence[str]) -> dict[str, object]:
    rng = random.Random(i)  # noqa: S311  # not for secrets
    changed: dict[str, object] = {**fields, "display_name": f"{fields['display_name']} {i:04d}"}
    changed["slug"] = slugify(f"{changed['display_name']}")
    scores = changed["scores"] = json.loads(json.dumps(fields["scores"]))
    for score in scores.values():
        if score["value"] is None or score["unit"] != "fraction":
            continue
        factor = 1 + SPREAD * rng.uniform(-1, 1)
        score["value"] = round(min(1.0, score["value"] * factor), 10)
        for end in ("low", "high") if score["interval"] else ():
            score["interval"][end] = round(min(1.0, score["interval"][end] * factor), 10)
    if kinds:
        verification = json.loads(json.dumps(fields["verification"]))
        changed["verification"] = {**verification, "kind": kinds[i % len(kinds)]}
    return changed


def timed(folder: Path, what: str) -> str:
    """Build once and say how long it took and how much memory."""
    code = (
        f"import resource, sys, time; from pathlib import Path; {TIMED[what]}; "
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF); "
        "before, start, cpu = used().ru_maxrss / 2**10, time.perf_counter(), time.process_time(); "
        "files = build(Path(sys.argv[1])); peak = used().ru_maxrss / 2**10; "
        "wall, cpu = time.perf_counter() - start, time.process_time() - cpu; "
        "print(f'{len(files)} files in {wall:.1f} s, {cpu:.1f} s of processor time; '"
        "f'peak {peak:.0f} MiB, {before:.0f} before')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def main() -> None:
    """Make the records, time both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="folder to make the leaderboard in, and to leave it there")
    parser.add_argument("--only", choices=sorted(TIMED))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.keep or Path(temporary) / "leaderboard"
        start = time.perf_counter()
        make(folder, chosen.records)
        print(f"{chosen.records} records made in {time.perf_counter() - start:.1f} s")
        for what in [chosen.only] if chosen.only else list(TIMED):
            print(f"{what}: {timed(folder, what)}")


if __name__ == "__main__":
    main()
