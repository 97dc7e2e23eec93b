"""Speed, memory and faithfulness of predicting CIFAR-10 with ResNet-20: ``make bench``.

Compared in one run, rounds interleaved, medians quoted:

* end to end: from the files to the stored predictions, at the batch size that the suite measures for
  itself (imports, model load, verification of the md5 and that measurement apart);
* raw: the same network on images that lie in memory as it takes them, at its best batch size and memory
  format.

Peak memory is that of processes of their own. The timing does not depend on the weights or the pixels, so
without ``--data`` (an unpacked CIFAR-10) random images of the same number are read from an npy stack.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
import torch
from torch import nn

from robustbench_safety.data import DataRoot, Dataset, load_dataset
from robustbench_safety.devices import describe, measured_batch_size
from robustbench_safety.files import digest_of
from robustbench_safety.jobs import prepare
from robustbench_safety.models import Model
from robustbench_safety.models.cifar import build
from robustbench_safety.models.classifier import Classifier
from robustbench_safety.models.model import Asked
from robustbench_safety.models.weights.strict import weights_digest
from robustbench_safety.predicting import first_images, predict
from robustbench_safety.records import CifarPickleLayout, DatasetManifest, ModelSpec, NpyLayout, RunInfo
from robustbench_safety.runs import Run

IMAGES = 10_000
ROUNDS = 7
SIZES = (32, 64, 128, 256)
CPU = torch.device("cpu")


def seeded_resnet20() -> Model:
    """Return ResNet-20 with seeded weights."""
    torch.manual_seed(0)
    built = build(Asked(architecture="resnet20", checkpoint=Path("none")))
    network = Classifier(built.network, built.preprocessing).eval().requires_grad_(requires_grad=False)
    network.to(memory_format=torch.channels_last)
    spec = ModelSpec(
        family="cifar",
        architecture="resnet20",
        checkpoint=None,
        weights_digest=weights_digest(built.network.state_dict()),
        parameters=sum(p.numel() for p in built.network.parameters()),
        label_space="cifar-10",
        preprocessing=built.preprocessing,
    )
    return Model(spec=spec, network=network, n_classes=10, name="resnet20")


def dataset(data: Path | None, scratch: Path, n: int = IMAGES) -> Dataset:
    """Return CIFAR-10 (the md5 left out: verification is timed apart), or random images of its size."""
    if data is not None:
        real = load_dataset("cifar-10", data=data)
        layout = CifarPickleLayout(type="cifar_pickle", files={"test_batch": None}, label_field="labels")
        return Dataset(
            manifest=real.manifest.model_copy(update={"layout": layout}), data=real.data, classes=real.classes
        )
    folder = scratch / f"random-{n}"
    if not folder.exists():
        folder.mkdir(parents=True)
        draws = np.random.default_rng(0)
        images = draws.integers(0, 256, size=(n, 32, 32, 3), dtype=np.uint8)
        np.save(folder / "images.npy", images)
        np.save(folder / "labels.npy", draws.integers(0, 10, size=n))
    known = load_dataset("cifar-10", data=scratch)
    manifest = known.manifest.model_copy(
        update={
            "layout": NpyLayout(type="npy", images="images.npy", labels="labels.npy"),
            "folder": folder.name,
            "samples": n,
        }
    )
    checked = DatasetManifest.model_validate_json(manifest.model_dump_json())
    return Dataset(manifest=checked, data=DataRoot(root=scratch), classes=known.classes)


def end_to_end(model: Model, source: Dataset, folder: Path, batch_size: int) -> float:
    """Return the seconds from the files to the stored predictions."""
    shutil.rmtree(folder, ignore_errors=True)
    info = RunInfo(
        schema_version=1,
        slug="bench",
        display_name="bench",
        model=model.spec,
        seed=0,
        limit=None,
        environment=describe(CPU, "float32", batch_size),
    )
    run = Run.resume_or_start(folder, info)
    started = time.perf_counter()
    job = prepare(source, source.manifest.all_conditions()[0], label_space=model.spec.label_space)
    predict(model, job, run, workers=os.cpu_count() or 1)
    return time.perf_counter() - started


def raw(network: nn.Module, batches: list[torch.Tensor]) -> float:
    """Return the seconds of the bare forward passes."""
    started = time.perf_counter()
    with torch.inference_mode():
        for batch in batches:
            network(batch)
    return time.perf_counter() - started


def in_memory(n: int, size: int, *, channels_last: bool) -> list[torch.Tensor]:
    """Return normalised images as the bare network takes them."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return [part.contiguous(memory_format=layout) for part in torch.split(images, size)]


def best_raw(bare: nn.Module) -> tuple[int, bool]:
    """Return the batch size and memory format at which the bare network is fastest."""
    times: dict[tuple[int, bool], list[float]] = {}
    for _ in range(3):
        for size in SIZES:
            for channels_last in (True, False):
                layout = torch.channels_last if channels_last else torch.contiguous_format
                bare.to(memory_format=layout)
                batches = in_memory(2048, size, channels_last=channels_last)
                times.setdefault((size, channels_last), []).append(raw(bare, batches))
    bare.to(memory_format=torch.channels_last)
    return min(times, key=lambda key: median(times[key]))


def compare_speed(source: Dataset, scratch: Path) -> dict[str, object]:
    """Time both, interleaved."""
    model = seeded_resnet20()
    bare = model.network.network
    assert isinstance(bare, nn.Module)  # noqa: S101  # nn.Module's attributes are untyped
    size = measured_batch_size(
        model.network,
        first_images(
            model, prepare(source, source.manifest.all_conditions()[0], label_space="cifar-10"), most=1
        )[0][0],
        CPU,
        "float32",
    )
    best_size, channels_last = best_raw(bare)
    batches = in_memory(IMAGES, best_size, channels_last=channels_last)
    if not channels_last:
        raise SystemExit("the bare network is fastest contiguous here; the suite always uses channels_last")
    runs: dict[str, Callable[[], float]] = {
        "raw": lambda: raw(bare, batches),
        "end to end": lambda: end_to_end(model, source, scratch / "run", size),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS + 1):
        for name, run in runs.items():
            seconds = run()
            if number:  # the first round warms up
                times[name].append(seconds)
    rates = {name: IMAGES / median(values) for name, values in times.items()}
    ratios = [r / e for r, e in zip(times["raw"], times["end to end"], strict=True)]
    return {
        "batch size, suite": size,
        "batch size, raw": best_size,
        "raw images/s": round(rates["raw"]),
        "end to end images/s": round(rates["end to end"]),
        "ratio of medians": round(rates["end to end"] / rates["raw"], 3),
        "median of paired ratios": round(median(ratios), 3),
    }


def peak_mebibytes(what: str, scratch: Path, n: int = IMAGES) -> int:
    """Return the peak resident memory of a process that does ``what``."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.predict",
        "--only",
        what,
        "--scratch",
        str(scratch),
        "--n",
        str(n),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.strip())


def only(what: Literal["bare", "predict"], scratch: Path, n: int) -> None:
    """Do one thing and print the peak resident memory of this process in MiB."""
    model = seeded_resnet20()
    if what == "bare":
        with torch.inference_mode():
            for _ in range(20):
                model.network(torch.rand(64, 3, 32, 32))
    else:
        end_to_end(model, dataset(None, scratch, n), scratch / f"run-{n}", 64)
    # Not getrusage: its peak begins with that of the process that started this one.
    status = Path("/proc/self/status").read_text()
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024)  # type: ignore[index]  # it is always there


def compare_memory(scratch: Path) -> dict[str, int]:
    """Compare the peak memory of predicting with that of bare forward passes at the same batch size."""
    for n in (IMAGES, 5 * IMAGES):
        dataset(None, scratch, n)  # written here, not in the process that is measured
    bare = peak_mebibytes("bare", scratch)
    peaks = {n: peak_mebibytes("predict", scratch, n) for n in (IMAGES, 5 * IMAGES)}
    return {"bare forward MiB": bare} | {f"predict {n:,} images MiB": peak for n, peak in peaks.items()}


def compare_rescore(scratch: Path) -> dict[str, object]:
    """Score the demo's first model, then again from its predictions: the records must be equal."""
    from robustbench_safety.demo import DEMO_MODELS, DEMO_SUITE
    from robustbench_safety.evaluation import rescore, score

    model = DEMO_MODELS[0]
    first = score(model.model, suite=DEMO_SUITE, checkpoint=model.checkpoint, predictions=scratch / "demo")
    started = time.perf_counter()
    again = rescore(first.run_folder, suite=DEMO_SUITE)
    return {
        "rescore seconds": round(time.perf_counter() - started, 1),
        "rescored record": digest_of(again.record.digested_fields())[:8],
        "equal": digest_of(again.record.digested_fields()) == digest_of(first.record.digested_fields()),
    }


def main() -> None:
    """Run all comparisons, print them, and keep them in bench-results/predict.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("RBS_DATA"), help="root of an unpacked CIFAR-10"
    )
    parser.add_argument("--only", choices=("bare", "predict"), help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, default=IMAGES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        only(arguments.only, arguments.scratch, arguments.n)
        return
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        data = Path(arguments.data) if arguments.data else None
        results = {
            "source": "CIFAR-10 test_batch" if data else "random images in an npy stack",
            "speed": compare_speed(dataset(data, scratch), scratch),
            "memory": compare_memory(scratch),
            "rescore": compare_rescore(scratch),
        }
    text = json.dumps(results, indent=1)
    print(text)
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    (folder / "predict.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
