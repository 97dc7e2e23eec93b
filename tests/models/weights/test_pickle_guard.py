"""The sizes in an archive where torch's own reader does not tell them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from robustbench_safety.models.weights.pickle_guard import OddPickleError, _record_sizes


class OldReader:
    """The reader of torch 2.11: it tells names and places, and no sizes."""

    def __init__(self, path: Path) -> None:
        self._reader = torch._C.PyTorchFileReader(str(path))

    def get_all_records(self) -> list[str]:
        return list(self._reader.get_all_records())

    def get_record_header_offset(self, name: str) -> int:
        return int(self._reader.get_record_header_offset(name))  # type: ignore[attr-defined]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save({"a": torch.zeros(300), "b": torch.ones(2)}, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def test_an_older_torch_gives_the_same_sizes(checkpoint: Path) -> None:
    reader = OldReader(checkpoint)
    sizes = _record_sizes(checkpoint, reader)  # type: ignore[arg-type]
    assert sizes == {name: len(reader._reader.get_record(name)) for name in reader.get_all_records()}
    assert sizes["data/0"] == 1200


def test_with_an_older_torch_an_archive_that_two_readers_see_differently_is_refused(checkpoint: Path) -> None:
    reader = OldReader(checkpoint)
    with zipfile.ZipFile(checkpoint, "a") as archive:
        archive.writestr("a/data/2", b"more")
    with pytest.raises(OddPickleError, match="two readers read differently"):
        _record_sizes(checkpoint, reader)  # type: ignore[arg-type]
