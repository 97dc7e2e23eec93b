"""The numbers of all sequences, what they start from, and what holds for the clips of every variant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from robustbench_safety.corruptions import SEQUENCES, clips, n_frames, parts, sequence, sequence_names
from robustbench_safety.corruptions.draws import TorchDraws
from robustbench_safety.corruptions.framing import framed
from robustbench_safety.corruptions.sequence_settings import PUBLISHED_SEQUENCES, SEQUENCE_SETTINGS
from robustbench_safety.corruptions.severities import SIDES
from robustbench_safety.errors import UsageError

Images = NDArray[np.uint8]

#: Protocols 2.6 and the authors' four scripts: imagenet, inception, tiny, cifar.
WRITTEN_DOWN: dict[str, Any] = {
    "gaussian_noise": [(0.03, 0.05, 0.08), (0.035, 0.055, 0.085), (0.025, 0.05, 0.075), (0.02, 0.04, 0.06)],
    "shot_noise": [(300, 120, 60), (250, 100, 50), (500, 250, 125), (700, 400, 200)],
    "speckle_noise": [(0.05, 0.1, 0.15), (0.06, 0.11, 0.16), (0.05, 0.1, 0.15), (0.05, 0.07, 0.1)],
    "motion_blur": [(10, 3, 30, 4), (13, 3, 30, 4), (14, 3, 30, 5), (6, 1.8, 20, 9)],
    "zoom_blur": [(0.004,)] * 4,
    "snow": [
        (0.05, 0.3, 3, 0.5, 14, 4, 0.85),
        (0.05, 0.3, 3, 0.5, 14, 4, 0.85),
        (0.05, 0.28, 2, 0.5, 10, 2.5, 0.85),
        (0.05, 0.3, 2, 0.5, 10, 2, 0.85),
    ],
    "brightness": [(15, 2), (15, 2), (15, 2), (15, 1.5)],
    "translate": [(20,), (20,), (15,), (7,)],
    "rotate": [(15,)] * 4,
    "tilt": [(15, 1), (15, 1), (15, 1), (15, 0.75)],
    "scale": [(40, 2.5), (40, 2.5), (40, 2.5), (70, 2)],
    "gaussian_blur": [(0.25, 0.035, 6), (0.35, 0.035, 6), (0.35, 0.014, 7), (0.3, 0.015, 7)],
    "spatter": [
        (0.65, 0.27, 3.7, 0.69, 0.6, 0.05, 0.1, 0.15, 0.7),
        (0.65, 0.3, 4, 0.69, 0.6, 0.05, 0.1, 0.15, 0.7),
        (0.6, 0.25, 1.75, 0.7, 0.6, 0.2, 0.8),
        (0.6, 0.265, 1.75, 0.7, 0.6, 0.2, 0.8),
    ],
    "shear": [(15,)] * 4,
}
NOISES = {"gaussian_noise", "shot_noise", "speckle_noise"}


def picture(variant: str, name: str, n: int = 1) -> Images:
    """Random pixels that the sequence can start from."""
    side = SIDES[variant]
    shape = (side, side)
    if SEQUENCE_SETTINGS[name][variant].whole:
        shape = {"imagenet": (256, 300), "inception": (260, 310), "tiny": (80, 80)}[variant]
    return np.random.default_rng(1).integers(0, 256, (n, *shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", PUBLISHED_SEQUENCES)
def test_the_numbers_are_those_of_the_authors_scripts(name: str) -> None:
    for variant, numbers in zip(SIDES, WRITTEN_DOWN[name], strict=True):
        expected = tuple((level,) for level in numbers) if name in NOISES else (numbers,)
        assert SEQUENCE_SETTINGS[name][variant].difficulties == expected


def test_all_fourteen_are_made_in_every_size_in_the_order_of_the_paper() -> None:
    assert tuple(SEQUENCES) == PUBLISHED_SEQUENCES
    for variant in SIDES:
        assert sequence_names(variant) == PUBLISHED_SEQUENCES


def test_all_have_31_frames_but_translate_and_the_motion_blur_of_cifar() -> None:
    others = {
        (variant, name): n_frames(name, variant)
        for variant in SIDES
        for name in PUBLISHED_SEQUENCES
        if n_frames(name, variant) != 31
    }
    assert others == {
        ("imagenet", "translate"): 41,
        ("inception", "translate"): 41,
        ("cifar", "translate"): 16,
        ("cifar", "motion_blur"): 21,
    }


@pytest.mark.parametrize("name", PUBLISHED_SEQUENCES)
def test_clips_have_the_published_axes_and_their_clean_frame_in_its_place(name: str) -> None:
    for variant in ("tiny", "cifar"):
        images = picture(variant, name, 2)
        found = sequence(images, name, variant=variant)
        side = SIDES[variant]
        assert found.shape == (2, n_frames(name, variant), side, side, 3)
        # Frame of the clean image; brightness and tilt pass near it, the others never come by.
        is_clean = (found == framed(torch.from_numpy(images), variant).numpy()[:, None]).all(
            axis=(0, 2, 3, 4)
        )
        expected = {
            "translate": 15 if variant == "tiny" else 7,
            "rotate": 15,
            "scale": 24 if variant == "tiny" else 15,
            "shear": 15,
        } | dict.fromkeys((*NOISES, "zoom_blur"), 0)
        # The narrowest Gaussian blur takes less than a level from flat regions alone.
        assert np.flatnonzero(is_clean).tolist() == ([expected[name]] if name in expected else [])


def test_the_middle_frame_of_tilt_is_a_little_smaller_than_the_clean_image() -> None:
    # The picture lies one pixel behind the point it turns about: f / (f + 1) with f = 32 * sqrt(2) is 0.978,
    # so a disk of radius 12 loses 4.3 % of its area.
    y, x = np.mgrid[:32, :32] - 15.5
    disk = np.repeat(((x**2 + y**2 < 144) * 255).astype(np.uint8)[None, ..., None], 3, axis=3)
    middle = sequence(disk, "tilt")[0, 15]
    assert middle.sum() / disk.sum() == pytest.approx((45.2548 / 46.2548) ** 2, abs=0.005)


def test_shear_moves_the_upper_edge_right_against_the_lower() -> None:
    line = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    line[0, :, 15:17] = 255
    for index, frame in enumerate(sequence(line, "shear")[0, ..., 0].astype(np.float64)):
        rows = frame[[6, 26]]
        upper, lower = (rows * np.arange(32)).sum(axis=1) / rows.sum(axis=1)
        angle = np.deg2rad(index - 15)
        assert upper - lower == pytest.approx(20 * np.tan(angle), abs=0.1)


def test_scale_starts_with_a_small_picture_on_black() -> None:
    white = np.full((1, 32, 32, 3), 255, dtype=np.uint8)
    lit = (sequence(white, "scale")[0, ..., 0] > 0).mean(axis=(1, 2))
    # Side 0.7 * 32 = 22.4 pixels in frame 0, one of fewer than 32 up to frame 14, all of them after.
    assert lit[0] == pytest.approx((22.4 / 32) ** 2, abs=0.05)
    assert (np.diff(lit) >= 0).all()
    assert (lit[15:] == 1).all()


@pytest.mark.parametrize("name", PUBLISHED_SEQUENCES)
def test_the_imagenet_clip_of_a_cut_picture_is_that_of_the_whole_one_where_nothing_moves(name: str) -> None:
    whole = np.random.default_rng(1).integers(0, 256, (1, 257, 256, 3), dtype=np.uint8)
    cut = whole[:, 16:240, 16:240]
    if SEQUENCE_SETTINGS[name]["imagenet"].whole:
        with pytest.raises(UsageError, match="resize the shorter side to 256"):
            sequence(cut, name, variant="imagenet")
    elif name == "brightness":
        found = sequence(whole, name, variant="imagenet")
        np.testing.assert_array_equal(found, sequence(cut, name, variant="imagenet"))


@pytest.mark.parametrize(
    ("variant", "name", "shape", "fix"),
    [
        ("imagenet", "rotate", (255, 300), "resize the shorter side to 256"),
        ("imagenet", "shot_noise", (224, 300), "resize the shorter side to 256"),
        ("inception", "shear", (299, 299), "give the photograph as it is"),
        ("tiny", "motion_blur", (64, 80), "cut the image to a square"),
        ("tiny", "motion_blur", (63, 63), "square of at least 64 pixels"),
        ("tiny", "rotate", (80, 80), "no variant is of this size"),
        ("cifar", "rotate", (64, 64), "choose variant .tiny."),
    ],
)
def test_images_that_a_sequence_cannot_start_from_are_refused(
    variant: str, name: str, shape: tuple[int, int], fix: str
) -> None:
    with pytest.raises(UsageError, match=fix) as caught:
        sequence(np.zeros((1, *shape, 3), dtype=np.uint8), name, variant=variant)
    assert repr(variant) in str(caught.value.expected)
    assert caught.value.found == str((1, *shape, 3))


def test_photographs_of_any_size_become_299_pixels() -> None:
    grey = np.full((1, 40, 60, 3), 77, dtype=np.uint8)
    for name in ("translate", "brightness"):
        frames = sequence(grey, name, variant="inception")[0]
        assert frames.shape[1:] == (299, 299, 3)
        middle = {"translate": 20, "brightness": 15}[name]
        assert np.abs(frames[middle].astype(int) - 77).max() <= 1


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "speckle_noise", "snow", "spatter"])
def test_the_draws_of_another_device_give_clips_of_the_same_kind(name: str, photos: Images) -> None:
    def made(first: int, n: int) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in range(first, first + n)]
        draws = TorchDraws(lambda: generators, torch.device("cpu"))
        settings = SEQUENCE_SETTINGS[name]["cifar"]
        images = torch.from_numpy(photos[first : first + n])
        frames = SEQUENCES[name](images, settings.difficulties[0], settings.n_frames, draws)
        return torch.stack(list(frames), dim=1)

    whole, alone = made(0, 3), made(2, 1)
    torch.testing.assert_close(alone, whole[2:], rtol=0, atol=0)
    by_numpy = sequence(torch.from_numpy(photos[:3]), name)
    assert whole.float().mean().item() == pytest.approx(by_numpy.float().mean().item(), abs=3)
    assert (whole != by_numpy).any()


def test_memory_beyond_the_clips_does_not_grow_with_the_number_of_images(
    photos: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_PART", 4 * photos[0].size)
    seen = []

    def recorded(images: torch.Tensor, *_rest: object) -> Iterator[torch.Tensor]:
        seen.append(len(images))
        for _ in range(31):
            yield images

    monkeypatch.setitem(clips.SEQUENCES, "rotate", recorded)  # type: ignore[arg-type,unused-ignore]
    sequence(np.concatenate([photos] * 5)[:98], "rotate")
    assert seen == [4] * 24 + [2]
