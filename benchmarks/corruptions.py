"""Speed of the corruptions: ours against ``imagecorruptions`` 1.1.2, and the time of a whole CIFAR-10-C.

``make bench-peers`` builds the environment of the other package in benchmarks/.peers and runs this.

Both work on one core on the same 224 px crops of photographs at severity 3, ROUNDS times; quoted is the
median of the rounds' ratios of images a second of processor time, which other work on the machine moves less
than the clock (both have one thread). Ours takes a batch, theirs one image at a time, as each is made for. A
corruption that crashes there has no ratio.

CIFAR-10-C complete (19 x 5 x 10,000 images) is extrapolated from N_SAMPLES images of every cell, made by as
many processes as there are cores, as ``rbs data make`` does it; loading the libraries is not counted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import geometric_mean, median

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from robustbench_safety import corruptions
from robustbench_safety.corruptions.severities import SIDES
from robustbench_safety.errors import DataError

SEVERITY, ROUNDS, BATCH = 3, 3, 16
#: Seconds that each side works on a corruption in a round.
LEAST = 0.3
N_SAMPLES = 2_000
PEERS = Path(__file__).parent / ".peers" / "bin" / "python"
#: The requirement: at least this many times the other's images a second.
WANTED = {"pixelate": 0.4}


def at_hand(variant: str, textures: Path | None) -> tuple[str, ...]:
    """Return the corruptions of a variant, frost only where its pictures are."""
    names = corruptions.corruption_names(variant)
    try:
        corruptions.corrupt(crops(1, SIDES[variant]), "frost", 1, variant=variant, textures=textures)
    except DataError as error:
        print(f"without frost: {error}")
        return tuple(name for name in names if name != "frost")
    return names


def crops(n: int, side: int) -> NDArray[np.uint8]:
    """Return seeded crops of two photographs: uint8 [n, side, side, 3]."""
    draws = np.random.default_rng(0)
    pictures = load_sample_images().images
    out = []
    for i in range(n):
        picture = pictures[i % 2]
        top, left = (int(draws.integers(0, room - side)) for room in picture.shape[:2])
        out.append(picture[top : top + side, left : left + side])
    return np.stack(out).astype(np.uint8)


def ours(images: NDArray[np.uint8], name: str, variant: str, textures: Path | None) -> float:
    """Return our milliseconds an image."""
    corruptions.corrupt(images[:1], name, SEVERITY, variant=variant, textures=textures)
    started, n = time.process_time(), 0
    while time.process_time() - started < LEAST:
        corruptions.corrupt(images, name, SEVERITY, variant=variant, textures=textures)
        n += len(images)
    return 1e3 * (time.process_time() - started) / n


def theirs(file: Path, names: tuple[str, ...]) -> dict[str, float | None]:
    """Return their milliseconds an image, None where they crash."""
    command = [str(PEERS), str(Path(__file__).with_name("peer_times.py")), str(file), str(SEVERITY)]
    one_core = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(LEAST), *names], check=True, capture_output=True, text=True, env=one_core
    )
    found: dict[str, float | None] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(textures: Path | None) -> dict[str, dict[str, float | None]]:
    """Time both on every corruption."""
    torch.set_num_threads(1)
    images = crops(BATCH, 224)
    names = at_hand("imagenet", textures)
    times: dict[str, list[tuple[float, float | None]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "images.npy"
        np.save(file, images)
        for _ in range(ROUNDS):
            # Theirs loads its libraries for seconds, so a round is all of theirs and then all of ours.
            other = theirs(file, names)
            for name in names:
                times[name].append((ours(images, name, "imagenet", textures), other[name]))
    rows: dict[str, dict[str, float | None]] = {}
    for name, pairs in times.items():
        ratios = [peer / own for own, peer in pairs if peer is not None]
        rows[name] = {
            "ours ms": round(median(own for own, _ in pairs), 3),
            "theirs ms": round(median(peer for _, peer in pairs if peer is not None), 3) if ratios else None,
            "ratio": round(median(ratios), 2) if ratios else None,
        }
    return rows


def cell_seconds(name: str, severity: int, n: int, textures: Path | None) -> float:
    """Return the processor seconds that ``n`` images of one cell of CIFAR-10-C take in this process."""
    torch.set_num_threads(1)
    images = crops(n, 32)
    corruptions.corrupt(images[:1], name, severity, textures=textures)
    started = time.process_time()
    corruptions.corrupt(images, name, severity, textures=textures)
    return time.process_time() - started


def whole_cifar(textures: Path | None, n: int) -> dict[str, object]:
    """Return the time of CIFAR-10-C complete on all cores, extrapolated from ``n`` images of each cell."""
    names = at_hand("cifar", textures)
    cells = [(name, severity) for name in names for severity in range(1, 6)]
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(cell_seconds, ["contrast"] * workers, [1] * workers, [1] * workers, [None] * workers))
        started = time.perf_counter()
        futures = [pool.submit(cell_seconds, name, severity, n, textures) for name, severity in cells]
        seconds = {cell: future.result() for cell, future in zip(cells, futures, strict=True)}
        whole = time.perf_counter() - started
    return {
        "corruptions": len(names),
        "images of a cell": n,
        "processes": workers,
        "seconds by the clock, 10,000 images a cell": round(whole * 10_000 / n, 1),
        "seconds of each processor": round(sum(seconds.values()) * 10_000 / n / workers, 1),
        "microseconds an image": {
            name: round(1e6 * sum(seconds[name, severity] for severity in range(1, 6)) / (5 * n))
            for name in names
        },
    }


def main() -> None:
    """Run the comparisons, print them, and keep them in bench-results/corruptions.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--textures", type=Path, help="folder of the frost textures")
    parser.add_argument("--samples", type=int, default=N_SAMPLES, help="images of each cell of CIFAR-10-C")
    parser.add_argument("--only", choices=("peers", "cifar"))
    given = parser.parse_args()
    results: dict[str, object] = {}
    if given.only != "cifar":
        if not PEERS.exists():
            raise SystemExit(f"{PEERS} is missing: run make bench-peers")
        rows = compare(given.textures)
        ratios = {name: row["ratio"] for name, row in rows.items() if row["ratio"] is not None}
        results["224 px, severity 3, one core"] = rows
        results["geometric mean of the ratios"] = round(geometric_mean(ratios.values()), 2)
        results["slower than wanted"] = [
            name for name, ratio in ratios.items() if ratio < WANTED.get(name, 0.9) or math.isnan(ratio)
        ]
    if given.only != "peers":
        results["CIFAR-10-C"] = whole_cifar(given.textures, given.samples)
    text = json.dumps(results, indent=1)
    print(text)
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    (folder / "corruptions.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
