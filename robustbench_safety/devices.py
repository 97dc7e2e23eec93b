"""The machine: device, precision, threads, batch size, and what a record says of them."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import cast

import PIL
import torch
from torch import nn

from robustbench_safety.errors import UsageError
from robustbench_safety.records import Environment, Precision

__all__ = ["describe", "forward_context", "measured_batch_size", "select_device", "to_pixels"]

_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scipy", "pillow", "scikit-learn")
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}

#: Batch sizes tried, and the share of the best rate at which a smaller one is taken: timings differ by a few
#: percent from run to run, and a rule without slack would pick another size each time.
_CPU_SIZES = (16, 32, 64, 128, 256)
_GPU_SIZES = (32, 64, 128, 256, 512, 1024)
_GOOD_ENOUGH = 0.95
_MEASURE_SECONDS = 0.25


def select_device(name: str | None) -> torch.device:
    """Return the device called ``name``; None takes the first CUDA device, else the CPU.

    Raises:
        UsageError: There is no such device here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"--device {name}",
            expected="a device of this machine: cpu" + (", cuda" if torch.cuda.is_available() else ""),
            found=str(error).splitlines()[0],
        ) from error
    # A published number is a float32 number; TF32 moves the third digit of a logit.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return device


def forward_context(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context of a forward pass in the given precision."""
    dtype = _DTYPES.get(precision)
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def to_pixels(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return stored pixels as the network takes them.

    Args:
        images: [N, H, W, 3], uint8 or float32 in [0, 1].
        device: Where to.

    Returns:
        float32 [N, 3, H, W] in [0, 1], channels last in memory: about three times as fast on a CPU.
    """
    moved = images.to(device, non_blocking=True).permute(0, 3, 1, 2)
    if moved.dtype != torch.uint8:
        return moved.contiguous(memory_format=torch.channels_last)
    return moved.to(torch.float32, memory_format=torch.channels_last).div_(255)


def measured_batch_size(
    network: nn.Module, image: torch.Tensor, device: torch.device, precision: Precision
) -> int:
    """Return the smallest batch size that runs at nearly the best rate.

    Args:
        network: On the device, in eval mode.
        image: One stored image [H, W, 3].
        device: Where it will run.
        precision: In which it will run.
    """
    sizes = _CPU_SIZES if device.type == "cpu" else _GPU_SIZES
    runs: dict[int, Callable[[], None]] = {}
    for size in sizes:
        pixels = to_pixels(image.expand(size, *image.shape).contiguous(), device)

        def run(pixels: torch.Tensor = pixels) -> None:
            with torch.inference_mode(), forward_context(device, precision):
                network(pixels)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        try:
            run()
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        runs[size] = run
    if not runs:
        return 1
    # Rounds go over all sizes in turn, so that a disturbance hits them all alike.
    rates: dict[int, list[float]] = {size: [] for size in runs}
    started = time.perf_counter()
    while len(rates[sizes[0]]) < 3 or (
        time.perf_counter() - started < _MEASURE_SECONDS * len(runs) and len(rates[sizes[0]]) < 50
    ):
        for size, run in runs.items():
            before = time.perf_counter()
            run()
            rates[size].append(size / (time.perf_counter() - before))
    typical = {size: median(values) for size, values in rates.items()}
    best = max(typical.values())
    return min(size for size, rate in typical.items() if rate >= _GOOD_ENOUGH * best)


def describe(device: torch.device, precision: Precision, batch_size: int) -> Environment:
    """Return what a record says of this machine."""
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return Environment(
        package=metadata.version("robustbench-safety"),
        commit=_commit(),
        python=platform.python_version(),
        libraries=libraries,
        machine=f"{platform.system()} {platform.machine()}",
        device=str(device),
        device_name=name,
        precision=precision,
        tf32=False,
        threads=torch.get_num_threads(),
        batch_size=batch_size,
        decoder=f"pillow {PIL.__version__}",
    )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    """Return the commit of the checkout that this package runs from, None when it was installed."""
    checkout = Path(__file__).parent.parent
    if not (checkout / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return cast(str, done.stdout).strip()
