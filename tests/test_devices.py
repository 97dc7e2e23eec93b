"""Device, batch size, pixels, and what a record says of the machine."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_safety import devices
from robustbench_safety.devices import (
    describe,
    forward_context,
    measured_batch_size,
    select_device,
    to_pixels,
)
from robustbench_safety.errors import UsageError
from robustbench_safety.records import Environment

CPU = torch.device("cpu")


def test_the_cpu_is_taken_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert select_device(None) == CPU
    assert select_device("cpu") == CPU


@pytest.mark.parametrize("name", ["gpu", "", "cuda:99", "meta", "mps:7", "cpu:x", "hip"])
def test_a_device_that_is_not_here_is_refused_and_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"--device {name}; expected a device of this machine: cpu"):
        select_device(name)


def test_tf32_is_off_once_a_device_is_chosen() -> None:
    torch.backends.cudnn.allow_tf32 = True
    select_device("cpu")
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_float32_runs_without_autocast_and_bfloat16_with() -> None:
    layer, x = nn.Linear(4, 4), torch.ones(1, 4)
    with torch.inference_mode(), forward_context(CPU, "float32"):
        assert layer(x).dtype == torch.float32
    with torch.inference_mode(), forward_context(CPU, "bfloat16"):
        assert layer(x).dtype == torch.bfloat16


def test_all_256_values_become_exactly_x_over_255_in_float32() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(2, 16, 16, 3)
    expected = np.arange(256, dtype=np.float32) / np.float32(255)
    pixels = to_pixels(images, CPU)
    for channel in range(3):
        assert pixels[1, channel].flatten().tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pixels_are_nchw_in_channels_last_memory(dtype: torch.dtype) -> None:
    images = (torch.rand(4, 5, 6, 3) * 255).to(dtype) / (1 if dtype == torch.uint8 else 255)
    pixels = to_pixels(images.to(dtype), CPU)
    assert pixels.shape == (4, 3, 5, 6)
    assert pixels.dtype == torch.float32
    assert pixels.is_contiguous(memory_format=torch.channels_last)


def test_the_stored_images_are_left_as_they_are() -> None:
    images = torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)
    to_pixels(images, CPU)
    assert images.eq(255).all()


def test_float_images_pass_unchanged() -> None:
    images = torch.rand(2, 4, 4, 3)
    assert torch.equal(to_pixels(images, CPU), images.permute(0, 3, 1, 2))


class Clock:
    """Time that passes only when a network takes some."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


class Slow(nn.Module):
    """Takes as long as it is told, and notes the sizes that it met."""

    def __init__(self, clock: Clock, *, fixed: float = 0.0, each: float = 0.0) -> None:
        super().__init__()
        self.clock, self.fixed, self.each, self.sizes = clock, fixed, each, set[int]()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.sizes.add(len(images))
        self.clock.seconds += self.fixed + self.each * len(images)
        return images


IMAGE = torch.zeros(4, 4, 3, dtype=torch.uint8)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(devices, "time", clock)
    return clock


def test_the_batch_size_is_one_of_those_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_MEASURE_SECONDS", 0.0)
    assert measured_batch_size(nn.Flatten(), IMAGE, CPU, "float32") in {16, 32, 64, 128, 256}


def test_where_each_image_costs_the_same_the_usual_batch_is_taken(clock: Clock) -> None:
    assert measured_batch_size(Slow(clock, each=0.0005), IMAGE, CPU, "float32") == 64


def test_where_a_pass_costs_the_same_the_largest_batch_is_taken(clock: Clock) -> None:
    assert measured_batch_size(Slow(clock, fixed=0.02), IMAGE, CPU, "float32") == 256


def test_the_usual_batch_at_nearly_the_best_rate_is_taken(clock: Clock) -> None:
    # Images a second: 64 / 0.068 = 941, 128 / 0.132 = 970, 256 / 0.26 = 985; 985 / 941 = 1.047
    assert measured_batch_size(Slow(clock, fixed=0.004, each=0.001), IMAGE, CPU, "float32") == 64


def test_a_slow_network_is_not_tried_on_ever_larger_batches(clock: Clock) -> None:
    network = Slow(clock, each=0.05)
    measured_batch_size(network, IMAGE, CPU, "float32")
    assert network.sizes == {16, 32}, "32 images take 1.6 seconds, and that ends the search"
    assert clock.seconds < 30


def test_a_batch_that_does_not_fit_ends_the_search(clock: Clock) -> None:
    class Small(Slow):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if len(images) > limit:
                raise torch.cuda.OutOfMemoryError
            return super().forward(images)

    limit = 64
    assert measured_batch_size(Small(clock, fixed=0.005), IMAGE, CPU, "float32") == 64
    limit = 1
    assert measured_batch_size(Small(clock, fixed=0.005), IMAGE, CPU, "float32") == 1


def test_what_a_record_says_of_the_machine_goes_through_json() -> None:
    found = describe(CPU, "bfloat16", 64)
    assert (found.device, found.precision, found.batch_size, found.tf32) == ("cpu", "bfloat16", 64, False)
    assert found.threads == torch.get_num_threads()
    assert found.libraries["torch"] == metadata.version("torch")
    assert Environment.model_validate_json(found.model_dump_json()) == found


def test_the_libraries_of_a_family_are_described_beside_the_usual_ones() -> None:
    more = describe(CPU, "float32", 1, libraries=("onnxruntime",)).libraries
    assert more == describe(CPU, "float32", 1).libraries | {"onnxruntime": metadata.version("onnxruntime")}


def test_two_descriptions_of_one_machine_are_equal() -> None:
    assert describe(CPU, "float32", 1) == describe(CPU, "float32", 1)


def test_threads_are_described_as_they_are_now() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        assert describe(CPU, "float32", 1).threads == before + 1
    finally:
        torch.set_num_threads(before)
