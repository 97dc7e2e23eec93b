"""What every test may use: the real data where it is at hand, and small networks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parent.parent

#: Files of half a minute and more, the longest first. ``make test`` gives files to processes in this order:
#: no process is left alone with one of them at the end.
LONGEST = (
    "tests/test_realdata.py",
    "tests/corruptions/test_end_to_end.py",
    "tests/test_evaluation.py",
    "tests/docs/test_commands.py",
    "tests/test_run_settings.py",
    "tests/golden/test_cifar10_safety.py",
    "tests/models/test_efficientnet.py",
    "tests/models/graphs/test_same_weights.py",
    "tests/auditing/test_auditing.py",
    "tests/reporting/test_baselines.py",
    "tests/models/test_entry_point.py",
)

# One process a core, one thread a process. Fixtures of modules come before the one below.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and weights; the test is skipped, with the reason, where there is none."""
    folder = Path(os.environ.get("RBS_SHARED", REPOSITORY.parent / "shared")).resolve()
    if not (folder / "data" / "unpack.py").is_file():
        pytest.skip(
            f"real data are not at hand: no data/unpack.py in {folder}; name the folder in RBS_SHARED"
        )
    return folder


@pytest.fixture(scope="session")
def real_data(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real data laid out as published; a data root."""
    folder = tmp_path_factory.mktemp("real-data")
    subprocess.run(
        [sys.executable, str(shared / "data" / "unpack.py"), str(folder)], check=True, capture_output=True
    )
    return folder


@pytest.fixture(autouse=True)
def _same_threads_everywhere() -> None:
    """Keep results independent of what a test before has set."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, the others as they came."""
    rank = {REPOSITORY / file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
