"""Names, templates, and the cache of text features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from robustbench_safety.errors import FileFormatError, ModelError, UsageError
from robustbench_safety.labels import class_digest, load_label_space
from robustbench_safety.models.clip.zero_shot import (
    PLAIN,
    Prompts,
    cache_folder,
    choose_prompts,
    text_features,
)
from robustbench_safety.records import ZeroShotFile

PUBLISHED = {"openai-80": ("a bad photo of a {}.", "a {} in a video game."), "openai-7": ("itap of a {}.",)}
SHAPE = (2, 3)
KEY = {"weights": "w", "names": "n", "templates": "t"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RBS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def chosen(space: str, wanted: ZeroShotFile | None = None, *, folder: Path | None = None) -> Prompts:
    return choose_prompts(wanted, load_label_space(space), folder=folder or Path(), published=PUBLISHED)


def test_what_is_not_asked_for_is_openai_80_for_imagenet_and_plain_elsewhere() -> None:
    assert chosen("imagenet-1k").templates_source == "openai-80"
    assert chosen("imagenet-1k").templates == PUBLISHED["openai-80"]
    assert chosen("imagenet-1k").names[:2] == ("tench", "goldfish")
    prompts = chosen("cifar-100")
    assert (prompts.templates_source, prompts.templates) == ("plain", PLAIN)
    assert prompts.names_source == "the keys of the label space"
    assert "aquarium fish" in prompts.names


def test_a_record_tells_names_and_templates_by_source_and_digest() -> None:
    recorded = chosen("cifar-10", ZeroShotFile(templates="openai-7")).recorded(
        logit_scale=100.0, logit_bias=0.0
    )
    assert (recorded.templates, recorded.logit_scale) == ("openai-7", 100.0)
    assert recorded.templates_digest == class_digest(["itap of a {}."])
    assert recorded.names_digest == class_digest(load_label_space("cifar-10").classes)
    assert "logit_bias" not in recorded.model_dump()


def test_files_of_names_and_templates_lie_beside_the_model_file(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a {} and {{braces}} {0}\n\n  {}, {}  \n")
    (tmp_path / "n.txt").write_text("".join(f"name {i}\n" for i in range(10)))
    prompts = chosen("cifar-10", ZeroShotFile(templates="t.txt", names="n.txt"), folder=tmp_path)
    assert [write("x{}") for write in prompts.writers()] == ["a x{} and {{braces}} {0}", "x{}, x{}"]
    assert (prompts.names[9], prompts.names_source, prompts.templates_source) == ("name 9", "n.txt", "t.txt")


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (
            ZeroShotFile(templates="openai-81"),
            UsageError,
            "no set 'openai-81'; expected one of openai-7, openai-80",
        ),
        (
            ZeroShotFile(templates="short.txt"),
            FileFormatError,
            r"one a line, with \{\} where.*found 'a photo'",
        ),
        (ZeroShotFile(templates="empty.txt"), FileFormatError, "found an empty file"),
        (ZeroShotFile(templates="plain", names="gone.txt"), UsageError, "zero_shot.names: there is no file"),
        (
            ZeroShotFile(templates="plain", names="short.txt"),
            FileFormatError,
            "expected 10 names, .*; found 2",
        ),
    ],
)
def test_wrong_files_are_refused(
    tmp_path: Path, wanted: ZeroShotFile, error: type[Exception], message: str
) -> None:
    (tmp_path / "short.txt").write_text("a {}\na photo\n")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(error, match=message):
        chosen("cifar-10", wanted, folder=tmp_path)


def once(values: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Return a function that gives the values the first time and fails the second."""
    left = [values]
    return lambda: left.pop()


def test_text_features_are_made_once_and_are_then_the_same_bit_for_bit(cache: Path) -> None:
    made = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    make = once(made)
    assert torch.equal(text_features(KEY, shape=SHAPE, make=make), made)
    assert torch.equal(text_features(KEY, shape=SHAPE, make=make), made)
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]


@pytest.mark.parametrize("field", ["weights", "names", "templates"])
def test_another_key_is_another_entry(cache: Path, field: str) -> None:
    text_features(KEY, shape=SHAPE, make=lambda: torch.zeros(SHAPE))
    other = text_features({**KEY, field: "other"}, shape=SHAPE, make=lambda: torch.ones(SHAPE))
    assert torch.equal(other, torch.ones(SHAPE))
    assert len(list(cache.iterdir())) == 2


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # of a value: shape, type and finiteness stay
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def scribble(path: Path) -> None:
    path.write_bytes(b"no safetensors at all")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def drop_metadata(path: Path) -> None:
    save_file(load_file(path), path)


def take_another_shape(path: Path) -> None:
    save_file({"text": torch.zeros(4, 3)}, path, metadata={"key": path.stem})


def take_another_entry(path: Path) -> None:
    other = text_features({**KEY, "weights": "other"}, shape=SHAPE, make=lambda: torch.zeros(SHAPE))
    assert torch.equal(other, torch.zeros(SHAPE))
    (source,) = (one for one in path.parent.iterdir() if one != path)
    source.replace(path)


@pytest.mark.parametrize(
    "damage", [flip_a_bit, cut, scribble, empty, drop_metadata, take_another_shape, take_another_entry]
)
def test_a_damaged_or_foreign_file_is_ignored_and_made_again(
    cache: Path, damage: Callable[[Path], None]
) -> None:
    made = torch.ones(SHAPE)
    text_features(KEY, shape=SHAPE, make=lambda: made)
    (path,) = cache.iterdir()
    damage(path)
    make = once(made)
    assert torch.equal(text_features(KEY, shape=SHAPE, make=make), made)
    assert torch.equal(text_features(KEY, shape=SHAPE, make=make), made)


def test_a_cache_that_cannot_be_written_costs_time_only(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert torch.equal(text_features(KEY, shape=SHAPE, make=lambda: torch.ones(SHAPE)), torch.ones(SHAPE))


@pytest.mark.parametrize("made", [torch.full(SHAPE, torch.nan), torch.ones(3, 3)])
def test_what_is_no_text_feature_is_an_error_and_not_kept(cache: Path, made: torch.Tensor) -> None:
    with pytest.raises(ModelError, match=r"does not give text features; expected finite numbers \[2, 3\]"):
        text_features(KEY, shape=SHAPE, make=lambda: made)
    assert not cache.exists()


def test_the_cache_lies_beside_the_data_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RBS_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("RBS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/robustbench-safety/text-features")
