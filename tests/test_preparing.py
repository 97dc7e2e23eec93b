"""What is missing is said before any forward pass, all at once, with the way to get each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robustbench_safety.data import DataRoot
from robustbench_safety.errors import DataError
from robustbench_safety.evaluation import rescore, score
from robustbench_safety.models import load_model
from robustbench_safety.preparing import prepare_jobs
from robustbench_safety.records import Cell, ModelSpec, Suite
from tests.test_evaluation import TINY

#: Twenty datasets, none of which is there: to be fetched, to be got by hand, made from others.
ABSENT = (
    "cifar-10", "cifar-10-c", "cifar-10-c-bar", "cifar-10-p", "cifar-10.1-v4", "cifar-10.1-v6", "cifar-10h",
    "textures", "svhn", "lsun-crop", "lsun-resize", "isun", "mnist", "cifar-10-c-generated",
    "cifar-10-p-generated", "openood-cifar10-mnist", "openood-cifar10-svhn", "openood-cifar10-tin",
    "openood-cifar10-texture", "openood-cifar10-places365",
)  # fmt: skip


def metric_for(name: str) -> str:
    return "flip_rate" if name.removesuffix("-generated").endswith("-p") else "error_rate"


def suite_of(names: tuple[str, ...], label_space: str = "cifar-10") -> Suite:
    cells = tuple(Cell(id=f"error-{name}", dataset=name, metric=metric_for(name)) for name in names)
    ids = tuple(cell.id for cell in cells)
    return Suite(
        name="twenty", version=1, title="T", label_space=label_space, seed=0, cells=cells, columns=ids
    )


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_model(TINY).spec.model_copy(update={"label_space": "cifar-10"})


def prepared(suite: Suite, root: Path, spec: ModelSpec, *, skip_missing: bool = False) -> list[str]:
    _, told = prepare_jobs(
        suite, DataRoot(root=root), spec, n_classes=10, seed=0, limit=None, skip_missing=skip_missing
    )
    return told


def test_one_error_lists_all_of_twenty_missing_datasets_and_how_to_get_each(
    tmp_path: Path, spec: ModelSpec
) -> None:
    with pytest.raises(DataError) as caught:
        prepared(suite_of(ABSENT), tmp_path, spec)
    text = str(caught.value)
    assert text.startswith(f"suite twenty lacks data of 20 datasets; expected each under {tmp_path}")
    lines = text.splitlines()[1:-1]
    # Made from CIFAR-10, which is one of the twenty; so are the labels of CIFAR-10H.
    made = "cifar-10-c-generated, cifar-10-p-generated"
    assert f"  cifar-10: `rbs data fetch cifar-10` (for {made})" in lines
    assert "  cifar-10-c: `rbs data fetch cifar-10-c`" in lines
    assert "  cifar-10-c-bar: by hand, as `rbs data show cifar-10-c-bar` says" in lines
    named = {line.split(":")[0].strip() for line in lines}
    assert named == set(ABSENT) - {"cifar-10-c-generated", "cifar-10-p-generated"}
    assert "--data NAME=DIR" in text.splitlines()[-1]
    assert "--skip-missing" in text.splitlines()[-1]
    # The command line shows this many characters of a message.
    assert len(text) < 4000


def test_a_dataset_of_which_a_part_is_there_says_how_much_is_not(tmp_path: Path, spec: ModelSpec) -> None:
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    # No pixel is read, so that the file may have holes where they would be.
    np.lib.format.open_memmap(folder / "fog.npy", mode="w+", dtype=np.uint8, shape=(50_000, 32, 32, 3))
    np.save(folder / "labels.npy", np.tile(np.arange(10_000) % 10, 5))
    with pytest.raises(DataError) as caught:
        prepared(suite_of(("cifar-10-c", "svhn")), tmp_path, spec)
    (line,) = (line for line in str(caught.value).splitlines() if "cifar-10-c" in line)
    assert line == "  cifar-10-c: `rbs data fetch cifar-10-c` (90 of 95 conditions are not there)"


def test_of_one_missing_dataset_the_error_is_its_own(tmp_path: Path, spec: ModelSpec) -> None:
    with pytest.raises(
        DataError, match=r"^dataset cifar-10-c is not in .*; expected .*rbs data fetch cifar-10-c"
    ):
        prepared(suite_of(("cifar-10-c",)), tmp_path, spec)


def test_with_nothing_at_hand_skipping_all_is_the_same_error(tmp_path: Path, spec: ModelSpec) -> None:
    with pytest.raises(DataError, match="suite twenty lacks data of 20 datasets"):
        prepared(suite_of(ABSENT), tmp_path, spec, skip_missing=True)


def test_skipping_says_one_line_a_dataset_and_makes_null_every_cell_that_needs_it(tmp_path: Path) -> None:
    suite = suite_of(("digits", "cifar-10", "cifar-10-c", "svhn"), label_space="digits")
    evaluation = score(
        TINY, suite=suite, data=tmp_path, predictions=tmp_path / "p", limit=30, batch_size=16, device="cpu",
        skip_missing=True)  # fmt: skip
    first = [line.partition(": ")[0] for line in evaluation.skipped]
    assert first == ["cifar-10/clean/clean-0", "cifar-10-c, 95 of 95 conditions", "svhn/clean/clean-0"]
    scores, because = evaluation.record.scores, evaluation.record.partial_because
    assert scores["error-digits"].value is not None
    assert scores["error-cifar-10"].reason == "no predictions on cifar-10/clean/clean-0"
    assert scores["error-svhn"].reason == "no predictions on svhn/clean/clean-0"
    reason = scores["error-cifar-10-c"].reason
    assert reason == "no predictions on cifar-10-c/corruption/gaussian_noise-1"
    assert because[:3] == tuple(f"{name}: {scores[name].reason}" for name in suite.columns[1:])
    assert evaluation.record.kind == "partial"
    again = rescore(evaluation.run_folder, suite=suite).record
    assert again.partial_because == because
