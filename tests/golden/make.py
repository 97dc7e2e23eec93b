"""Make the golden run and record anew, after a change that moves a score on purpose.

python -m tests.golden.make
"""

from __future__ import annotations

import shutil
from pathlib import Path

from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.files import write_json

HERE = Path(__file__).parent
SUITE = HERE / "golden.yaml"
RUN = HERE / "run"
RECORD = HERE / "record.json"
LIMIT = 240


def score_tiny(predictions: Path) -> Evaluation:
    """Score the tiny network on the golden suite."""
    return score(
        "python:tests.golden.tiny:build", suite=SUITE, name="tiny", predictions=predictions,
        limit=LIMIT, batch_size=64, device="cpu")  # fmt: skip


def main() -> None:
    scratch = HERE / "scratch"
    shutil.rmtree(RUN, ignore_errors=True)
    try:
        evaluation = score_tiny(scratch)
        shutil.move(evaluation.run_folder, RUN)
        write_json(RECORD, evaluation.record)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
