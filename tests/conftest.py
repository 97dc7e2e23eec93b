"""What every test may use: the real data where it is at hand, and small networks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parent.parent


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
    torch.set_num_threads(2)
