"""Speed of verifying 50,000 small JPEGs in 1,000 class folders: ``python -m benchmarks.verify``.

Printed are the seconds of ``quick`` and full as medians of three runs, and beside them the bare decode rate:
the same files read and decoded by the same number of threads with nothing else done.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from robustbench_safety.data import DataRoot, Dataset
from robustbench_safety.data.pictures import decode_image
from robustbench_safety.data.verifying.verify import verify_dataset
from robustbench_safety.records import DatasetManifest

CLASSES, EACH, SIZE = 1000, 50, 64
ROUNDS = 3


def make(root: Path) -> Dataset:
    """Write random smooth images of 64 px, JPEG quality 85, some 2 KB each."""
    draws = np.random.default_rng(0)
    keys = tuple(f"n{number:08d}" for number in range(CLASSES))
    for key in keys:
        (root / "speed" / key).mkdir(parents=True)
        for number in range(EACH):
            coarse = Image.fromarray(draws.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            image = coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            image.save(root / "speed" / key / f"{key}_{number}.JPEG", quality=85)
    manifest = DatasetManifest.model_validate(
        {
            "name": "speed",
            "version": 1,
            "title": "Small JPEGs",
            "role": "clean",
            "layout": {"type": "image_folder"},
            "folder": "speed",
            "conditions": [{"kind": "clean", "names": ["clean"], "levels": [0]}],
            "label_space": "speed",
            "samples": CLASSES * EACH,
            "samples_per_class": EACH,
            "image_size": [SIZE, SIZE],
            "licence": "none",
            "citation": "none",
        },
        strict=False,
    )
    return Dataset(manifest=manifest, data=DataRoot(root=root), classes=keys)


def seconds(run: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def decode(paths: list[Path], workers: int) -> None:
    """Read and decode every file; nothing else."""
    blocks = [paths[start : start + 64] for start in range(0, len(paths), 64)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda some: [decode_image(path.read_bytes(), path).shape for path in some], blocks))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    workers: int = parser.parse_args().workers
    with tempfile.TemporaryDirectory() as scratch:
        dataset = make(Path(scratch))
        paths = sorted((Path(scratch) / "speed").rglob("*.JPEG"))
        size = sum(path.stat().st_size for path in paths) / len(paths)
        print(f"{len(paths):,} JPEGs of {size:,.0f} bytes, {workers} threads, median of {ROUNDS} runs")
        runs: dict[str, Callable[[], object]] = {
            "quick": lambda: verify_dataset(dataset, quick=True, workers=workers),
            "full": lambda: verify_dataset(dataset, workers=workers),
            "bare decoding": lambda: decode(paths, workers),
        }
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):  # interleaved, so that a slow minute falls on all
            for name, run in runs.items():
                taken[name].append(seconds(run))
        for name, found in taken.items():
            print(f"{name:>14}: {median(found):6.2f} s, {len(paths) / median(found):9,.0f} images/s")


if __name__ == "__main__":
    main()
