"""The machine: device, precision, threads, batch size, and what a record says of them."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median

import PIL
import torch
from torch import nn

from robustbench_safety.batches import is_out_of_memory
from robustbench_safety.errors import UsageError
from robustbench_safety.models.classifier import Classifier, Disagreeing
from robustbench_safety.models.foreign import foreign_code
from robustbench_safety.records import Environment, Precision

__all__ = [
    "compile_network",
    "describe",
    "forward_context",
    "measured_batch_size",
    "select_device",
    "to_pixels",
]

_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scipy", "pillow", "scikit-learn")
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}

#: Batch sizes tried, the usual one (by whether the device is a CPU), and how many times as fast another must
#: be to be worth it. Without an anchor two runs of one model would differ in their batch size, and so in the
#: last bits of their logits: medians of a small network on a busy CPU were seen to differ by over a quarter.
_CPU_SIZES = (16, 32, 64, 128, 256)
_GPU_SIZES = (32, 64, 128, 256, 512, 1024)
_USUAL_SIZE = {True: 64, False: 256}
_WORTH_IT = {True: 1.5, False: 1.05}
_MEASURE_SECONDS = 0.25
_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 50
#: Seconds. Where a pass takes longer, a larger batch gains nothing more, and trying it costs minutes.
_LONGEST_PASS = 1.0


def select_device(name: str | None, *, tf32: bool = False) -> torch.device:
    """Return the device called ``name``; None takes the first CUDA device, else the CPU.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` ...
        tf32: Whether float32 products may be taken with 10 bits, which CUDA devices do faster.

    Raises:
        UsageError: There is no such device here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    here = "a device of this machine: cpu" + (", cuda" if torch.cuda.is_available() else "")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    # torch raises all of these, the last for a backend that it was built without.
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise UsageError(
            f"--device {name}", expected=here, found=str(error).splitlines()[0], fix="name another device"
        ) from error
    if device.type == "meta":
        raise UsageError(
            f"--device {name}", expected=here, found="one that holds no values", fix="name another device"
        )
    # A published number is a float32 number; TF32 moves the third digit of a logit.
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    return device


def compile_network(network: Classifier) -> None:
    """Let torch.compile translate a network when it is first called; of an ensemble, each member.

    Raises:
        UsageError: torch.compile does not work here.
    """
    inner = network.network
    members = inner.members if isinstance(inner, Disagreeing) else [network]
    for member in members:
        with foreign_code("--compile", raising=UsageError, fix="leave --compile out"):
            member.compile()


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
    whole = moved.to(torch.float32, memory_format=torch.channels_last)
    # By a tensor: CUDA multiplies by the reciprocal of a plain number, which moves the last bit.
    return whole.div_(torch.full((), 255.0, device=device))


def measured_batch_size(
    network: nn.Module, image: torch.Tensor, device: torch.device, precision: Precision
) -> int:
    """Return the usual batch size, or the fastest one where that is clearly faster.

    Args:
        network: On the device, in eval mode.
        image: One stored image [H, W, 3].
        device: Where it will run.
        precision: In which it will run.

    Returns:
        One of the sizes tried; 1 where not even the smallest fits into memory.
    """
    runs: dict[int, partial[float]] = {}
    for size in _CPU_SIZES if device.type == "cpu" else _GPU_SIZES:
        pixels = to_pixels(image.expand(size, *image.shape).contiguous(), device)
        run = partial(_timed_pass, network, pixels, device, precision)
        try:
            run()  # the first pass chooses kernels and is not counted
            runs[size] = run
            if run() > _LONGEST_PASS:
                break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if device.type != "cpu":
                torch.accelerator.empty_cache()
            break
    if not runs:
        return 1
    # Rounds go over all sizes in turn, so that a disturbance hits them all alike.
    seconds: dict[int, list[float]] = {size: [] for size in runs}
    until = time.perf_counter() + _MEASURE_SECONDS * len(runs)
    for n in range(_MOST_ROUNDS):
        if n >= _FEWEST_ROUNDS and time.perf_counter() > until:
            break
        for size, run in runs.items():
            seconds[size].append(run())
    rates = {size: size / median(values) for size, values in seconds.items()}
    best, usual = max(rates, key=rates.__getitem__), _USUAL_SIZE[device.type == "cpu"]
    worth_it = _WORTH_IT[device.type == "cpu"]
    return usual if usual in rates and rates[best] <= worth_it * rates[usual] else best


def _timed_pass(
    network: nn.Module, pixels: torch.Tensor, device: torch.device, precision: Precision
) -> float:
    """Return the seconds that one forward pass takes."""
    started = time.perf_counter()
    with torch.inference_mode(), forward_context(device, precision):
        network(pixels)
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - started


def describe(
    device: torch.device,
    precision: Precision,
    batch_size: int,
    *,
    tf32: bool = False,
    compiled: bool = False,
    libraries: Sequence[str] = (),
) -> Environment:
    """Return what a record says of this machine and of how the network runs on it.

    Args:
        device: Where it runs.
        precision: In which it runs.
        batch_size: Images that go through at a time.
        tf32: Whether float32 products are taken with 10 bits.
        compiled: Whether torch.compile has translated it.
        libraries: Packages that it depends on, beside those that every network does.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return Environment(
        package=metadata.version("robustbench-safety"),
        commit=_commit(),
        python=platform.python_version(),
        libraries={name: metadata.version(name) for name in (*_LIBRARIES, *libraries)},
        machine=f"{platform.system()} {platform.machine()}",
        device=str(device),
        device_name=name,
        precision=precision,
        tf32=tf32,
        compiled=compiled,
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
    return done.stdout.strip()
