"""What it costs to make a record again: ``python -m benchmarks.rescore``.

Scored are summaries of 95 conditions of 10,000 images (950,000 rows) and one clean condition of 100 classes,
with the cells that a safety suite of CIFAR-100 has on them. The stored answers are drawn; their sizes and
columns are those of a run.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch

from robustbench_safety import aggregating
from robustbench_safety.data import DataRoot
from robustbench_safety.files import digest_of, read_json
from robustbench_safety.metrics import Interval
from robustbench_safety.predictions import PredictionsHeader, Values, read_header, written
from robustbench_safety.records import (
    Aggregate,
    Cell,
    Condition,
    RunInfo,
    Suite,
)
from robustbench_safety.runs import Run
from robustbench_safety.scoring import needed_conditions, score_predictions
from robustbench_safety.summary import summarize

#: A small run that lies in the repository, whose headers are changed for this one.
TEMPLATE = Path(__file__).parent.parent / "tests" / "golden" / "run"
N_CLASSES = 100
ROWS = 10_000
GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
FIFTEEN = tuple(name for names in GROUPS.values() for name in names)


def suite() -> Suite:
    """Return the cells of -C that a safety suite has."""
    corrupted = [Cell(id="c_error", dataset="cifar-100-c", conditions=FIFTEEN, metric="error_rate")]
    corrupted += [Cell(id="c19_error", dataset="cifar-100-c", metric="error_rate")]
    corrupted += [
        Cell(id=f"{name}_error", dataset="cifar-100-c", conditions=names, metric="error_rate")
        for name, names in GROUPS.items()
    ]
    corrupted += [
        Cell(id=f"c_{metric}", dataset="cifar-100-c", conditions=FIFTEEN, metric=metric)
        for metric in ("rms_calibration_error", "rms_calibration_error_hendrycks")
    ]
    clean = [
        Cell(id=f"clean_{metric}", dataset="cifar-100", metric=metric)
        for metric in ("error_rate", "rms_calibration_error", "brier_score", "negative_log_likelihood")
    ]
    aggregates = (
        Aggregate(id="corruptions", of=("c_error",), reduce="mean"),
        Aggregate(id="calibration", of=("c_rms_calibration_error",), reduce="mean"),
        Aggregate(id="worst", of=("c_error",), reduce="worst"),
    )
    return Suite(
        name="rescore", version=1, title="Cost of a record", label_space="cifar-100", seed=0,
        cells=(*corrupted, *clean), aggregates=aggregates, columns=("corruptions",))  # fmt: skip


def store_run(folder: Path, chosen: Suite) -> Run:
    """Write the predictions."""
    template = read_json(TEMPLATE / "run.json", RunInfo)
    model = template.model.model_copy(update={"label_space": "cifar-100"})
    info = template.model_copy(update={"model": model, "limit": None})
    run = Run.resume_or_start(folder, info)
    header = read_header(next(TEMPLATE.rglob("*.parquet")))
    labels = torch.arange(ROWS) % N_CLASSES
    ids = [f"{i:05d}" for i in range(ROWS)]
    for number, condition in enumerate(needed_conditions(chosen, DataRoot.default())):
        draws = torch.Generator().manual_seed(number)
        logits = torch.randn(ROWS, N_CLASSES, generator=draws)
        logits[torch.arange(ROWS), labels] += 4
        summary = condition.kind == "corruption"
        values: Values = summarize(logits, labels) if summary else {"logits": logits.numpy()}
        with written(run.path(condition), frames=1) as writer:
            writer.append(ids, labels.numpy(), values)
            writer.finish(
                _header(header, run, condition, writer.digest(), "summary" if summary else "logits")
            )
    return run


def _header(
    template: PredictionsHeader, run: Run, condition: Condition, digest: str, columns: str
) -> PredictionsHeader:
    changed = {
        "condition": condition, "columns": columns, "model_digest": digest_of(run.info.model),
        "seed": run.info.seed, "limit": None, "environment": run.info.environment, "frames": 1,
        "label_space": "cifar-100", "n": ROWS, "n_classes": N_CLASSES, "predictions_digest": digest,
        "attack": None,
    }  # fmt: skip
    return template.model_copy(update=changed)


def no_interval(interval: Callable[[], Interval]) -> None:
    """Stand for the making of an interval, so that the values are timed alone."""


def main() -> None:
    """Time the values, then values and intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true", help="print the functions that take longest")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    chosen = suite()
    with tempfile.TemporaryDirectory() as folder:
        run = store_run(Path(folder), chosen)
        rows = ROWS * len(needed_conditions(chosen, DataRoot.default()))
        profile = cProfile.Profile()
        with patch.object(aggregating, "where_defined", no_interval):
            started = time.perf_counter()
            score_predictions(run, chosen, DataRoot.default())
            values = time.perf_counter() - started
        started = time.perf_counter()
        if arguments.profile:
            profile.enable()
        score_predictions(run, chosen, DataRoot.default())
        profile.disable()
        both = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{rows:,} rows: values {values:.1f} s (goal 20), intervals {both - values:.1f} s more (goal 60), "
        f"peak {peak:.2f} GiB (goal 2)"
    )
    if arguments.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(30)


if __name__ == "__main__":
    main()
