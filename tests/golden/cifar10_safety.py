"""Score the shared CIFAR-10 checkpoints on cifar10-safety-generated, in full: hours on two cores.

python -m tests.golden.cifar10_safety [NAME ...]       compare with the records on the leaderboard
python -m tests.golden.cifar10_safety --file [NAME ...]    and file those that are not there
python -m tests.golden.cifar10_safety --partial         make the record of 240 images that CI compares with

Interrupted, the same command goes on. RBS_SHARED names the folder of weights and data.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from robustbench_safety.data import DataRoot
from robustbench_safety.evaluation import Evaluation, score
from robustbench_safety.files import write_json
from robustbench_safety.records import ScoreRecord
from robustbench_safety.reporting.filing import read_records, write_record
from tests.models.graphs.exporting import PREPROCESSING
from tests.models.test_small_nets import NETWORKS

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
SUITE = "cifar10-safety-generated"
#: What CI compares with: a network that is broken by some attacks and withstands others, on the first images.
#: A core takes 9,300 images of it in the time of 380 of ResNet-20.
PARTIAL, PARTIAL_NAME, LIMIT = HERE / "resnet4b-240.json", "ResNet-4b, PGD", 240
#: Images in a batch of the whole sets, and of the first images.
BATCH, PARTIAL_BATCH = 128, 64
MODULE = "published_cifar_nets"

USUAL = [0.4914, 0.4822, 0.4465]
#: Name shown -> family and name, or factory in MODULE; weights; mean and std where no family knows them.
CHECKPOINTS = {
    "conv-small, PGD": ("small", "cifar_conv_small_pgd.pth", USUAL, [0.2023, 0.1994, 0.2010]),
    "conv-wide, provably robust": ("wide", "cifar_wide.pth", [0.485, 0.456, 0.406], [0.225] * 3),
    "conv-marabou": ("marabou", "cifar_marabou_medium.pth", [0.0] * 3, [1.0] * 3),
    "ResNet-4b, PGD": ("ResNet4b", "resnet4b.pth", USUAL, [0.2471, 0.2435, 0.2616]),
    "ResNet-20": ("cifar:resnet20", "resnet20-12fca82f.th", None, None),
    "ResNet-32": ("cifar:resnet32", "resnet32-d509ac18.th", None, None),
}  # fmt: skip


def score_checkpoint(name: str, shared: Path, root: Path, scratch: Path, *, limit: int | None) -> Evaluation:
    """Score one of CHECKPOINTS.

    Args:
        name: Of the checkpoint.
        shared: Folder of weights and frost textures.
        root: Data root that holds CIFAR-10.
        scratch: Where model files and predictions go.
        limit: Images taken of each dataset.
    """
    network, file, mean, std = CHECKPOINTS[name]
    weights = shared / "data" / "checkpoints" / file
    model, checkpoint = network, weights if mean is None else None
    if mean is not None:
        scratch.mkdir(parents=True, exist_ok=True)
        (scratch / f"{MODULE}.py").write_text(NETWORKS)
        sys.path.insert(0, str(scratch))
        model_file = scratch / f"{weights.stem}.yaml"
        model_file.write_text(
            f"model: python:{MODULE}:{network}\ncheckpoint: {weights}\nlabel_space: cifar-10\n"
            f"preprocessing: {PREPROCESSING % (32, 32, mean, std)}\n"
        )
        model = str(model_file)
    data = DataRoot(root=root, folders={"frost-textures": shared / "data" / "samples" / "frost"})
    return score(
        model, suite=SUITE, checkpoint=checkpoint, name=name, data=data, predictions=scratch / "predictions",
        device="cpu", batch_size=BATCH if limit is None else PARTIAL_BATCH, limit=limit,
        trust_code=mean is not None)  # fmt: skip


def differences(kept: ScoreRecord, found: ScoreRecord) -> list[str]:
    """Return the scores that moved by more than the rounding of another machine can make.

    An image whose two highest logits lie within the tolerance may change sides: of the 10,000 of each
    condition a few do, so a share may move by 2e-4 in the mean; of 240 images, one in one condition.
    """
    tolerance = 2e-4 if kept.limit is None else 1.5 / kept.limit
    moved = []
    for name, before in kept.scores.items():
        after = found.scores[name].value
        if before.value is None or after is None:
            same = before.value is after
        else:
            same = abs(after - before.value) <= tolerance
        if not same:
            moved.append(f"{name}: {before.value} before, {after} now")
    return moved


def main() -> int:
    """Score, compare, file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*CHECKPOINTS, []], help="checkpoints; all by default")
    parser.add_argument("--file", action="store_true", help="file records that the leaderboard lacks")
    parser.add_argument("--partial", action="store_true", help=f"make {PARTIAL.name} anew")
    given = parser.parse_args()
    shared = Path(os.environ.get("RBS_SHARED", REPOSITORY.parent / "shared")).resolve()
    scratch = REPOSITORY / "build" / "golden"
    root = scratch / "data"
    if not root.exists():
        unpack = shared / "data" / "unpack.py"
        subprocess.run([sys.executable, str(unpack), str(root)], check=True, stdout=subprocess.DEVNULL)
    if given.partial:
        record = score_checkpoint(PARTIAL_NAME, shared, root, scratch, limit=LIMIT).record
        write_json(PARTIAL, record)
        return 0
    leaderboard = REPOSITORY / "leaderboard"
    kept = {record.display_name: record for record in read_records(leaderboard) if record.suite.name == SUITE}
    moved = []
    for name in given.names or CHECKPOINTS:
        found = score_checkpoint(name, shared, root, scratch, limit=None)
        if name in kept:
            moved += [f"{name}: {line}" for line in differences(kept[name], found.record)]
        elif given.file:
            sys.stdout.write(f"{write_record(leaderboard, found.record, found.companion)}\n")
        else:
            moved.append(f"{name}: no record on the leaderboard")
    sys.stdout.write("\n".join(moved) + "\n" if moved else "no score has moved\n")
    return bool(moved)


if __name__ == "__main__":
    raise SystemExit(main())
